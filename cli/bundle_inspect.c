/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bundle/bundle.h"
#include "cli/bundle.h"

#define JSON_MAX (64u << 20) /* twice the largest document of a bundle */

static const char about[] = "\n"
			    "Of a file all headers are looked at, of standard input only the "
			    "document.  The digest is what bundle apply --digest wants.  What is "
			    "in the members is verified when it is applied.\n"
			    "\n"
			    "Examples:\n"
			    "  k3simg bundle inspect web.bundle\n";

struct sum {
	size_t n;
	uint64_t bytes;
};

static void count(const struct bundle_doc *d, struct sum out[BUNDLE_TAR + 1])
{
	for (size_t i = 0; i < d->n; i++) {
		struct sum *s = &out[d->members[i].kind];

		s->n++;
		s->bytes += d->members[i].size;
	}
}

static void print_text(const struct bundle *b)
{
	static const char *const what[] = {
		[BUNDLE_DOCUMENT] = "documents",
		[BUNDLE_LAYER] = "layers",
		[BUNDLE_TAR] = "decompressed layers",
	};
	char text[OCI_DIGEST_TEXT_MAX], platform[3 * OCI_PLATFORM_PART_MAX + 3], size[16];
	const struct bundle_doc *d = bundle_doc(b);
	struct sum sums[BUNDLE_TAR + 1] = { 0 };

	oci_digest_format(bundle_digest(b), text);
	oci_platform_format(&d->platform, platform, sizeof(platform));
	printf("%s  %s\n", text, platform);
	count(d, sums);
	for (size_t i = 0; i < K3_ARRAY_LEN(sums); i++) {
		cli_size(sums[i].bytes, size, sizeof(size));
		printf("%zu %s  %s\n", sums[i].n, what[i], size);
	}
	for (size_t i = 0; i < d->nimages; i++) {
		oci_digest_format(&d->images[i].target.digest, text);
		printf("%s  %s\n", d->images[i].name, text);
	}
}

static void json_sum(struct k3_jw *w, const char *key, const struct sum *s)
{
	k3_jw_obj(w, key);
	k3_jw_u64(w, "count", s->n);
	k3_jw_u64(w, "bytes", s->bytes);
	k3_jw_close_obj(w);
}

static int print_json(const struct bundle *b)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	char text[OCI_DIGEST_TEXT_MAX], platform[3 * OCI_PLATFORM_PART_MAX + 3];
	const struct bundle_doc *d = bundle_doc(b);
	struct sum sums[BUNDLE_TAR + 1] = { 0 };
	struct k3_jw w = K3_JW(&out);

	count(d, sums);
	oci_digest_format(bundle_digest(b), text);
	oci_platform_format(&d->platform, platform, sizeof(platform));
	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "digest", text);
	k3_jw_u64(&w, "formatVersion", BUNDLE_VERSION);
	k3_jw_str(&w, "platform", platform);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < d->nimages; i++) {
		oci_digest_format(&d->images[i].target.digest, text);
		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "name", d->images[i].name);
		k3_jw_str(&w, "digest", text);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	json_sum(&w, "documents", &sums[BUNDLE_DOCUMENT]);
	json_sum(&w, "layers", &sums[BUNDLE_LAYER]);
	json_sum(&w, "tars", &sums[BUNDLE_TAR]);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

static int inspect(const struct words *args, const char *output, const struct cli *c)
{
	struct bundle_opts o = { .cancel = c->cancel };
	bool json = !strcmp(output, "json");
	struct bundle *b;
	struct k3_err e;
	int rc = 0;

	if (args->n != 1) {
		k3_fail(&e, K3_USAGE, args->n ? "one bundle at a time" : "no bundle was named");
		return cli_error(&e);
	}
	o.path = args->items[0];
	if (bundle_open(&o, &b, &e))
		return cli_error(&e);
	if (json)
		rc = print_json(b);
	else
		print_text(b);
	bundle_free(b);
	return cli_finish(rc);
}

int bundle_inspect(const struct cli *c, const struct command *cmd, int argc, char **argv)
{
	const char *output = "text";
	struct words args = { 0 };
	struct k3_err e;
	bool help;
	const struct opt opts[] = {
		{ "output", 'o', OPT_CHOICE, "text|json", "how it is shown (default: text)",
		  &output },
		{ 0 },
	};
	int status;

	if (opts_parse(opts, argc, argv, &args, &help, &e)) {
		status = cli_error(&e);
	} else if (help) {
		cli_help(cmd, about, opts);
		status = cli_finish(0);
	} else {
		status = inspect(&args, output, c);
	}
	words_release(&args);
	return status;
}
