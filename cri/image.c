/* SPDX-License-Identifier: Apache-2.0 */
#include "cri/cri.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cri/answer.h"

#define ASK_MS 10000u /* for a question that costs containerd nothing */
#define STEP_MS 50u   /* between two tries */
#define ANSWER_MAX (8u << 20)

int cri_image_status(struct grpc *g, const char *ref, struct cri_image *out, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	K3_AUTO_BUF struct k3_buf answer = K3_BUF(ANSWER_MAX);
	size_t spec = grpc_open(&m, 1);

	*out = (struct cri_image){ 0 };
	grpc_put_str(&m, 1, ref);
	grpc_close(&m, spec);
	grpc_put_u64(&m, 2, true); /* verbose: the chain ID */
	if (grpc_call(g, "/runtime.v1.ImageService/ImageStatus", &m, &answer, ASK_MS, NULL, e))
		return -1;
	struct grpc_val v = { answer.p, answer.len };

	if (grpc_check(v, e) || grpc_check(grpc_get(v, 1), e))
		return k3_wrap(e, "ImageStatus");
	cri_image_parse(v, out);
	return 0;
}

void cri_image_release(struct cri_image *im)
{
	free(im->id);
	free(im->chain_id);
	*im = (struct cri_image){ 0 };
}

/* A daemon that has the socket open already may not have loaded its images yet. */
static int not_up(enum grpc_code code, struct k3_err *e)
{
	if (code == GRPC_UNIMPLEMENTED) {
		k3_fail(e, K3_UNSUPPORTED, "this containerd has no CRI (runtime.v1)");
		return k3_hint(e, "CRI may be among disabled_plugins in its configuration");
	}
	if (strstr(e->msg, "not initialized"))
		e->code = K3_BUSY;
	return -1;
}

int cri_version(struct grpc *g, struct cri_version *out, struct k3_err *e)
{
	static const char service[] = "/runtime.v1.RuntimeService/";
	K3_AUTO_FREE char *version = k3_xasprintf("%sVersion", service);
	K3_AUTO_FREE char *status = k3_xasprintf("%sStatus", service);
	K3_AUTO_BUF struct k3_buf answer = K3_BUF(ANSWER_MAX);
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	enum grpc_code code;

	*out = (struct cri_version){ 0 };
	/* Version answers at once; Status only when the rest does. */
	if (grpc_call(g, status, &m, &answer, ASK_MS, &code, e) ||
	    grpc_call(g, version, &m, &answer, ASK_MS, &code, e))
		return not_up(code, e);
	struct grpc_val v = { answer.p, answer.len };

	if (grpc_check(v, e))
		return k3_wrap(e, "Version");
	out->runtime = grpc_get_str(v, 2);
	out->version = grpc_get_str(v, 3);
	return 0;
}

void cri_version_release(struct cri_version *v)
{
	free(v->runtime);
	free(v->version);
	*v = (struct cri_version){ 0 };
}

int cri_wait_ready(struct grpc *g, unsigned ms, struct k3_cancel *cancel, struct k3_err *e)
{
	uint64_t end = k3_now_ms() + ms;
	struct k3_err ignored;

	for (;;) {
		struct cri_version v;
		int rc = cri_version(g, &v, e);

		cri_version_release(&v);
		if (!rc)
			return 0;
		if (e->code != K3_BUSY || k3_now_ms() >= end)
			return -1;
		if (k3_cancel_sleep(cancel, STEP_MS, &ignored))
			return k3_cancel_check(cancel, e);
	}
}
