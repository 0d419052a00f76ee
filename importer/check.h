/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that check a store share. */
#ifndef K3_IMPORTER_CHECK_H
#define K3_IMPORTER_CHECK_H

#include "importer/view.h"

struct check {
	struct imp_view *v;
	const struct imp_sink *sink;
	const struct oci_platform *want;
	struct imp_checked *out;
	/* Documents of this image that were read: an index may name one any number of times. */
	struct imp_digests seen;
};

/* Buckets that a snapshot's records are in. */
struct check_space {
	const char *ns;
	struct bolt_bucket *chains; /* of that namespace */
};

/* Tells a finding; the path is as printf makes it from `path` and its arguments. */
K3_MUST int check_tell(struct check *c, enum imp_trouble kind, const struct oci_digest *d,
		       const char *path, struct k3_err *e, const char *fmt, ...) K3_PRINTF(6, 7);
/* "meta.db/v1/<ns>/<what>/<key>", as new memory. */
char *check_record_path(const char *ns, const char *what, const char *key);

/*
 * The record of snapshot `key` and what it hangs together with in metadata.db and on disk.
 * chain: the same as a digest, or NULL when it is no chain ID.  committed: it must be.
 */
K3_MUST int check_snapshot(struct check *c, const struct check_space *in, const char *key,
			   const struct oci_digest *chain, bool committed, struct k3_err *e);
/*
 * Snapshots of an image.  labelled: its config keeps the top one; holder: path of the config's
 * record.  Sets va->unpacked.
 */
K3_MUST int check_snapshots(struct check *c, struct imp_variant *va, bool labelled,
			    const char *holder, struct k3_err *e);
/*
 * Whether the record has a label `prefix`, alone or followed by '.' or '/' and anything, with
 * this value: a reference of containerd's collector.
 */
K3_MUST int check_refers(struct bolt_bucket *rec, const char *prefix, const char *value, bool *yes,
			 struct k3_err *e);
#define CHECK_GC_CONTENT "containerd.io/gc.ref.content"

#endif
