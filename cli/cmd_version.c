/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/json.h"
#include "cli/cli.h"

#ifdef K3_HAVE_ISAL
#define GZIP_DECODER "isa-l"
#else
#define GZIP_DECODER "zlib"
#endif

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static int print_json(void)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(64u << 10);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "version", K3_VERSION);
	k3_jw_str(&w, "compiler", COMPILER);
	k3_jw_str(&w, "gzip", GZIP_DECODER);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

int cmd_version(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	const char *format = "text";
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "output", 'o', OPT_CHOICE, "text|json", "how it is printed (default: text)",
		  &format },
		{ 0 },
	};
	(void)c;

	if (opts_parse(opts, argc, argv, &args, &help, &e))
		return cli_error(&e);
	size_t extra = args.n;

	words_release(&args);
	if (help) {
		cli_help(cmd, "", opts);
		return cli_finish(0);
	}
	if (extra) {
		k3_fail(&e, K3_USAGE, "version takes no arguments but -o text or -o json");
		return cli_error(&e);
	}
	if (!strcmp(format, "json"))
		return cli_finish(print_json());
	printf("k3simg %s\ngzip by %s, compiled with %s\n", K3_VERSION, GZIP_DECODER, COMPILER);
	return cli_finish(0);
}
