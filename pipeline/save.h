/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one pl_save, shared by its stages.  Private to pipeline/. */
#ifndef K3_PIPELINE_SAVE_H
#define K3_PIPELINE_SAVE_H

#include "archive/archive.h"
#include "base/mem.h"
#include "pipeline/pipeline.h"
#include "pipeline/source.h"

/* Documents of one image with all its platforms: the largest official ones have some 40. */
#define SAVE_DOCS_MAX 1000u
#define SAVE_BLOBS_MAX 20000u

struct descs {
	struct oci_desc *items;
	size_t n, cap;
};

struct save_image {
	size_t index;
	const struct pl_request *req;
	struct pl_result *res;
	struct oci_desc target;
	struct descs docs;  /* written by the resolver: indexes, manifests, a config */
	struct descs blobs; /* to fetch, each once */
	/* below: under the monitor */
	bool wrote;     /* something of it had to be written */
	size_t missing; /* blobs that are not there yet */
	bool finished;  /* whole or failed */
};

/* Once per digest over all images. */
struct save_blob {
	const struct oci_desc *desc;
	struct save_image **users; /* in request order: each names a repository */
	size_t nusers, cap_users;
	bool left_out; /* foreign, and not there; under the monitor */
};

struct save {
	const struct pl_save_opts *o;
	struct k3_cancel *stop;
	struct layout *layout;
	struct fetch *fetch;
	struct fetch_session *sessions[PL_TRANSFERS_MAX];
	struct k3_monitor *mon;
	uint64_t start_ms;
	struct save_image *images;
	size_t nimages;
	struct save_blob **blobs;
	size_t nblobs, cap_blobs;
	struct oci_map map;
	/* below: under the monitor */
	size_t next_image, next_blob; /* first ones nobody has taken */
};

/* Worker slot i's way to registries. */
struct source_link save_link(struct save *s, size_t slot);
/* save_resolve.c: documents into the layout; fills target, docs and blobs of the image. */
K3_MUST int save_resolve(struct save *s, struct save_image *im, size_t slot, struct k3_err *e);
/* save_blob.c: one transfer worker; returns when nothing is left for it. */
void save_blobs(struct save *s, size_t slot);
/* Marks an image as failed, once.  Inside the monitor. */
void save_fail_locked(struct save *s, struct save_image *im, const struct k3_err *why);
/* A blob of this image is there; with the last one it is whole.  Inside the monitor. */
void save_got_locked(struct save *s, struct save_image *im);
/* Inside the monitor. */
void save_event_locked(struct save *s, const struct pl_event *ev);
/* Tells about a blob of every image that uses it.  Inside the monitor. */
void save_blob_event_locked(struct save *s, const struct save_blob *b, enum pl_phase phase,
			    uint64_t done);

#endif
