/* SPDX-License-Identifier: Apache-2.0 */
#include "cri/cri.h"
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
int cri_image_status(struct grpc *g, const char *ref, struct cri_image *out, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	K3_AUTO_BUF struct k3_buf a = K3_BUF(GRPC_ANSWER_MAX);
	*out = (struct cri_image){ 0 };
	size_t at = grpc_open(&m, 1);
	grpc_put_str(&m, 1, ref);
	grpc_close(&m, at);
	grpc_put_u64(&m, 2, 1);
	if (grpc_call(g, "/runtime.v1.ImageService/ImageStatus", &m, &a, 10000, NULL, e))
		return -1;
	struct grpc_val v = { a.p, a.len };
	if (grpc_check(v, e))
		return -1;
	out->found = grpc_has(v, 1);
	struct grpc_val im = grpc_get(v, 1);
	out->id = grpc_get_str(im, 1);
	out->pinned = grpc_get_u64(im, 8);
	return 0;
}
void cri_image_release(struct cri_image *im) { free(im->id); free(im->chain_id); }
int cri_version(struct grpc *g, struct cri_version *out, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	*out = (struct cri_version){ 0 };
	return grpc_call(g, "/runtime.v1.RuntimeService/Version", &m, NULL, 10000, NULL, e);
}
void cri_version_release(struct cri_version *v) { free(v->runtime); free(v->version); }
int cri_wait_ready(struct grpc *g, unsigned ms, struct k3_cancel *c, struct k3_err *e)
{
	(void)g; (void)ms; (void)c;
	return k3_fail(e, K3_BUG, "stub");
}
