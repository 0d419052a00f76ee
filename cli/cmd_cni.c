/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "setup/setup.h"

#define ANSWER_MAX (1u << 20)

static const char about[] =
	"\n"
	"containerd calls it, as k3simg-cni and as loopback, by the configuration that k3simg "
	"setup writes.  CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS, VERSION) and the other variables "
	"of the CNI specification tell what to do, standard input has the network configuration; "
	"the answer is JSON, and errors too, with exit status 1.  A pod gets an address that no "
	"other pod here has, and its loopback device; it reaches nothing outside.\n"
	"\n"
	"Fields:\n"
	"  subnet    where addresses are taken from; default: 10.88.0.0/16\n"
	"  stateDir  who has which; default: /run/k3simg/cni\n";

/* What does not fit fails as what is no JSON. */
static int read_config(struct k3_buf *text)
{
	struct k3_err ignored;
	uint8_t chunk[4096];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		if (k3_buf_add(text, chunk, (size_t)n, &ignored))
			break;
	return n ? -1 : 0;
}

int cmd_cni(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	static const struct opt none[] = { { 0 } };
	struct setup_cni_env env = {
		.command = getenv("CNI_COMMAND"),
		.container = getenv("CNI_CONTAINERID"),
		.netns = getenv("CNI_NETNS"),
		.ifname = getenv("CNI_IFNAME"),
	};
	K3_AUTO_BUF struct k3_buf config = K3_BUF(SETUP_CNI_CONFIG_MAX), out = K3_BUF(ANSWER_MAX);
	struct words words = { 0 };
	struct k3_err e;
	bool help = false;

	(void)c;
	if (cmd && opts_parse(none, argc, argv, &words, &help, &e)) {
		words_release(&words);
		return cli_error(&e);
	}
	words_release(&words);
	if (help || (cmd && !env.command)) {
		cli_help(cmd, about, none);
		return cli_finish(help ? 0 : 2);
	}
	/* DEL has to work whatever the configuration is; it says so itself. */
	bool cut = read_config(&config);
	int status = setup_cni(&env, config.p, cut ? 0 : config.len, &out);

	fwrite(out.p, 1, out.len, stdout);
	return cli_finish(status);
}
