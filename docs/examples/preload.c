/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloads one image into a containerd root, as `k3simg preload` does, and lists what is there.
 *
 *   cc preload.c $(pkg-config --cflags --libs k3simg) -o preload
 *   ./preload /var/lib/containerd nginx:alpine
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "pipeline/pipeline.h"

#define NAMESPACE "k8s.io"

static int fail(const char *what, const struct k3_err *e)
{
	fprintf(stderr, "%s: %s\n", what, e->msg);
	if (e->hint[0])
		fprintf(stderr, "hint: %s\n", e->hint);
	return k3_exit_status(e->code);
}

/* Errors of the run itself and of its only image come out the same way. */
static int preload(const char *root, const char *name, struct k3_err *e)
{
	struct imp_config config;
	struct pl_request request = { 0 };
	struct pl_result result;

	/* Also says behind which socket the containerd of this root listens, if one runs. */
	if (imp_config_load(root, NULL, &config, e))
		return -1;
	if (oci_ref_parse(name, &request.ref, e)) {
		imp_config_release(&config);
		return -1;
	}
	struct pl_opts o = {
		.root = root,
		.ns = NAMESPACE,
		.address = config.address,
		.pin = true,
		.limits = unpack_limits_default,
	};
	struct k3_cancel *stop = k3_cancel_new();

	oci_platform_host(&o.platform);
	int rc = pl_run(&o, &request, 1, stop, &result, e);

	if (!rc && result.rc) {
		*e = result.err;
		rc = -1;
	}
	if (!rc)
		printf("%s: %s, %" PRIu64 " bytes fetched, %zu layers\n", name,
		       result.changed ? "preloaded" : "up to date", result.fetched, result.layers);
	k3_cancel_free(stop);
	oci_ref_release(&request.ref);
	imp_config_release(&config);
	return rc;
}

static int print(void *arg, const struct imp_record *r, struct k3_err *e)
{
	char digest[OCI_DIGEST_TEXT_MAX], name[K3_ERR_MSG_MAX];

	(void)arg;
	(void)e;
	oci_digest_format(&r->target.digest, digest);
	/* What a store says may hold anything: escaped, it cannot drive a terminal. */
	k3_escape(name, sizeof(name), r->name);
	printf("%s  %s%s\n", name, digest, r->pinned ? "  pinned" : "");
	return 0;
}

static int list(const char *root, struct k3_err *e)
{
	const struct imp_opts o = { .root = root, .ns = NAMESPACE };
	struct imp_view *view;
	struct imp *imp;
	int rc;

	if (imp_open(&o, &imp, e))
		return -1;
	rc = imp_view_open(imp, &view, e);
	if (!rc) {
		rc = imp_view_images(view, print, NULL, e);
		imp_view_close(view);
	}
	imp_close(imp, false);
	return rc;
}

int main(int argc, char **argv)
{
	struct k3_err e;

	if (argc != 3) {
		fprintf(stderr, "usage: %s ROOT IMAGE\n", argc ? argv[0] : "preload");
		return 2;
	}
	/* Modes of everything that is written are given exactly. */
	umask(0);
	if (preload(argv[1], argv[2], &e))
		return fail("preload", &e);
	return list(argv[1], &e) ? fail("list", &e) : 0;
}
