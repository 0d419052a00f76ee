/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/results.h"

#include "base/json.h"
#include "cli/cli.h"

#define JSON_MAX (64u << 20) /* of the results: some 100,000 images */

void results_text(const struct results *out)
{
	for (size_t i = 0; i < out->n; i++) {
		const struct pl_result *r = &out->res[i];
		char digest[OCI_DIGEST_TEXT_MAX], platform[3 * OCI_PLATFORM_PART_MAX + 3];
		char size[16], time[16];

		if (r->rc)
			continue;
		oci_digest_format(&r->target, digest);
		oci_platform_format(&r->platform, platform, sizeof(platform));
		cli_size(r->compressed, size, sizeof(size));
		cli_duration(r->ms, time, sizeof(time));
		/* 19 bytes: the algorithm and twelve digits, as crictl shows them */
		printf("%s  %s  %.19s  %zu layer%s  %s  %s%s%s%s  %s\n", out->names[i], platform,
		       digest, r->layers, r->layers == 1 ? "" : "s", size, out->snapshots,
		       out->pinned ? "  pinned" : "", r->live ? "  live" : "",
		       r->changed ? "" : "  up to date", time);
	}
}

void results_json_error(struct k3_jw *w, const struct k3_err *e)
{
	k3_jw_obj(w, "error");
	k3_jw_str(w, "code", k3_code_name(e->code));
	k3_jw_str(w, "message", e->msg);
	k3_jw_str(w, "hint", e->hint[0] ? e->hint : NULL);
	k3_jw_close_obj(w);
}

static void json_image(struct k3_jw *w, const struct results *all, size_t i)
{
	const struct pl_result *r = &all->res[i];
	char text[OCI_DIGEST_TEXT_MAX];

	k3_jw_obj(w, NULL);
	k3_jw_str(w, "name", all->names[i]);
	k3_jw_str(w, "status", r->rc ? "failed" : r->changed ? "imported" : "up-to-date");
	if (r->rc) {
		results_json_error(w, &r->err);
		k3_jw_close_obj(w);
		return;
	}
	oci_digest_format(&r->target, text);
	k3_jw_str(w, "digest", text);
	oci_digest_format(&r->config, text);
	k3_jw_str(w, "id", text);
	oci_platform_format(&r->platform, text, sizeof(text));
	k3_jw_str(w, "platform", text);
	k3_jw_str(w, "mode", r->live ? "live" : "offline");
	k3_jw_u64(w, "layers", r->layers);
	k3_jw_u64(w, "compressedBytes", r->compressed);
	k3_jw_u64(w, "fetchedBytes", r->fetched);
	k3_jw_u64(w, "treeBytes", r->tree_bytes);
	losses_json(all->losses, i, w);
	k3_jw_u64(w, "milliseconds", r->ms);
	k3_jw_close_obj(w);
}

int results_json(const struct results *r)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(JSON_MAX);
	struct k3_jw w = K3_JW(&out);

	k3_jw_obj(&w, NULL);
	k3_jw_u64(&w, "schemaVersion", CLI_SCHEMA_VERSION);
	k3_jw_str(&w, "root", r->root);
	k3_jw_str(&w, "namespace", r->ns);
	k3_jw_str(&w, "snapshots", r->snapshots);
	k3_jw_bool(&w, "pinned", r->pinned);
	k3_jw_arr(&w, "images");
	for (size_t i = 0; i < r->n; i++)
		json_image(&w, r, i);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return cli_put_json(&w);
}

int results_status(const struct results *r, size_t asked)
{
	size_t failed = 0, failed_asked = 0;
	const struct pl_result *first = NULL;

	for (size_t i = 0; i < r->n; i++) {
		if (!r->res[i].rc)
			continue;
		failed++;
		failed_asked += i < asked;
		if (!first)
			first = &r->res[i];
	}
	if (!failed)
		return 0;
	return failed_asked == asked ? k3_exit_status(first->err.code) : CLI_PARTIAL_EXIT;
}

size_t results_whole(const struct results *r)
{
	size_t whole = 0;

	for (size_t i = 0; i < r->n; i++)
		whole += !r->res[i].rc;
	return whole;
}
