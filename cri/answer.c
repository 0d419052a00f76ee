/* SPDX-License-Identifier: Apache-2.0 */
#include "cri/answer.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"

char *cri_info_string(struct grpc_val info, const char *key)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err ignored;
	const char *value;

	if (!info.n || k3_json_parse(info.p, info.n, &doc, &ignored))
		return NULL;
	value = k3_json_str(k3_json_get(k3_json_root(doc), key));
	return value && *value ? k3_xstrdup(value) : NULL;
}

/* ---- images ------------------------------------------------------------------------- */

void cri_image_parse(struct grpc_val answer, struct cri_image *out)
{
	struct grpc_val image = grpc_get(answer, 1);
	bool told;

	*out = (struct cri_image){ .found = grpc_has(answer, 1) };
	if (!out->found)
		return;
	out->id = grpc_get_str(image, 1);
	out->pinned = grpc_get_u64(image, 8);
	out->chain_id = cri_info_string(grpc_get_pair(answer, 2, "info", &told), "chainID");
	if (!out->chain_id)
		out->chain_id = k3_xstrdup("");
}

/* ---- the runtime -------------------------------------------------------------------- */

static void parse_conditions(struct grpc_val status, struct cri_runtime *out)
{
	struct grpc_val it = status, c;

	while (grpc_each(&it, 1, &c)) {
		if (!grpc_eq(grpc_get(c, 1), "NetworkReady"))
			continue;
		out->network_ready = grpc_get_u64(c, 2);
		free(out->network_message);
		out->network_message = out->network_ready ? NULL : grpc_get_str(c, 4);
	}
}

static void parse_config(struct grpc_val config, struct cri_runtime *out)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const struct k3_json *root, *containerd, *runtime;
	const char *name;
	struct k3_err ignored;

	out->pause = cri_info_string(config, "sandboxImage");
	if (!config.n || k3_json_parse(config.p, config.n, &doc, &ignored))
		return;
	root = k3_json_root(doc);
	containerd = k3_json_get(root, "containerd");
	name = k3_json_str(k3_json_get(containerd, "defaultRuntimeName"));
	if (!name)
		return;
	runtime = k3_json_get(k3_json_get(containerd, "runtimes"), name);
	/* The first is the old switch for all runtimes. */
	out->systemd_cgroup =
		k3_json_true(k3_json_get(root, "systemdCgroup")) ||
		k3_json_true(k3_json_get(k3_json_get(runtime, "options"), "SystemdCgroup"));
}

void cri_runtime_parse(struct grpc_val answer, struct cri_runtime *out)
{
	bool told;

	*out = (struct cri_runtime){ 0 };
	parse_conditions(grpc_get(answer, 1), out);
	parse_config(grpc_get_pair(answer, 2, "config", &told), out);
}

void cri_runtime_release(struct cri_runtime *r)
{
	free(r->network_message);
	free(r->pause);
	*r = (struct cri_runtime){ 0 };
}

/* ---- containers --------------------------------------------------------------------- */

void cri_container_parse(struct grpc_val answer, struct cri_container *out)
{
	struct grpc_val status = grpc_get(answer, 1);
	uint64_t state = grpc_get_u64(status, 3);

	*out = (struct cri_container){
		.state = state < CRI_UNKNOWN ? (enum cri_state)state : CRI_UNKNOWN,
		.exit_code = (int)(int32_t)grpc_get_u64(status, 7),
		.reason = grpc_get_str(status, 10),
		.message = grpc_get_str(status, 11),
	};
	if (!grpc_has(answer, 1))
		out->state = CRI_UNKNOWN;
}

void cri_container_release(struct cri_container *c)
{
	free(c->reason);
	free(c->message);
	*c = (struct cri_container){ 0 };
}
