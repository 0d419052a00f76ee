/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running containerd, by its API: the few calls that live mode makes.
 *
 * Paths and field numbers: containerd api/services/{content,images,leases,snapshots,version}/v1,
 * the same in 1.6 to 2.3.  A daemon belongs to one thread.
 */
#ifndef K3_IMPORTER_DAEMON_H
#define K3_IMPORTER_DAEMON_H

#include "grpc/grpc.h"
#include "importer/imp.h"
#include "importer/labels.h"

struct imp_daemon;

/*
 * Connects to the containerd behind `socket` and asks for its version.  K3_BUSY: nobody answers
 * there.
 */
K3_MUST int imp_daemon_open(const char *socket, const char *ns, struct k3_cancel *cancel,
			    struct imp_daemon **out, struct k3_err *e);
/* Whether it still answers.  K3_BUSY when not. */
K3_MUST int imp_daemon_ping(struct imp_daemon *d, struct k3_err *e);
void imp_daemon_close(struct imp_daemon *d); /* NULL is a no-op */
/* Borrowed; its metadata are those of our namespace and, once there is one, our lease. */
struct grpc *imp_daemon_channel(struct imp_daemon *d);
const char *imp_daemon_version(const struct imp_daemon *d);

/* ---- leases ------------------------------------------------------------------------- */

/*
 * Makes a lease that ends by itself after IMP_LEASE_HOURS; all later calls are made under it.
 */
#define IMP_LEASE_HOURS 24
#define IMP_LEASE_PREFIX "k3simg-"
K3_MUST int imp_daemon_lease(struct imp_daemon *d, struct k3_err *e);
const char *imp_daemon_lease_id(const struct imp_daemon *d); /* NULL = none */
/* Keeps a blob, or the snapshot of a chain, for as long as the lease lives; it may be absent. */
K3_MUST int imp_daemon_hold_blob(struct imp_daemon *d, const struct oci_digest *digest,
				 struct k3_err *e);
K3_MUST int imp_daemon_hold_chain(struct imp_daemon *d, const struct oci_digest *chain,
				  struct k3_err *e);
/*
 * Removes leases that runs before have left: the caller holds the run lock.  Not before this run
 * has done its work, since it builds on what those keep.
 */
K3_MUST int imp_daemon_sweep(struct imp_daemon *d, struct k3_err *e);
/* Ends the lease: what nothing else refers to is collected.  Without one it does nothing. */
K3_MUST int imp_daemon_release(struct imp_daemon *d, struct k3_err *e);
/* The same, and waits until it is collected, which takes as long as there is to remove. */
K3_MUST int imp_daemon_collect(struct imp_daemon *d, struct k3_err *e);
/*
 * containerd looks for files without a record only when a record of their kind has been removed:
 * makes one of each and removes it.  fd: an empty file that may be written to.
 */
K3_MUST int imp_daemon_stir(struct imp_daemon *d, int fd, struct k3_err *e);

/* ---- content ------------------------------------------------------------------------ */

/*
 * Sets the labels of a blob's record that differ.  *found = false when there is no record;
 * *changed is set, never cleared.
 */
K3_MUST int imp_daemon_label_blob(struct imp_daemon *d, const struct oci_desc *desc,
				  const struct imp_labels *labels, bool *found, bool *changed,
				  struct k3_err *e);
/*
 * Makes the record of a blob whose file lies in the content store; the bytes of fd are sent only
 * if the daemon does not find the file.  A record made by somebody else meanwhile is success
 * with *existed.
 */
K3_MUST int imp_daemon_add_blob(struct imp_daemon *d, const struct oci_desc *desc,
				const struct imp_labels *labels, int fd, bool *existed,
				struct k3_err *e);

/* ---- snapshots ---------------------------------------------------------------------- */

/*
 * Begins the snapshot of a chain, without a parent; *id is the number of its directory, which is
 * empty.  *exists: it is there already, and held.
 */
K3_MUST int imp_daemon_prepare(struct imp_daemon *d, const struct oci_digest *chain, uint64_t *id,
			       bool *exists, struct k3_err *e);
/* Commits it.  *exists: somebody else was faster; ours is gone then. */
K3_MUST int imp_daemon_commit(struct imp_daemon *d, const struct oci_digest *chain, bool *exists,
			      struct k3_err *e);
/* Takes back what imp_daemon_prepare has made. */
K3_MUST int imp_daemon_unprepare(struct imp_daemon *d, const struct oci_digest *chain,
				 struct k3_err *e);
/* Whether there is a committed snapshot of this chain. */
K3_MUST int imp_daemon_has_chain(struct imp_daemon *d, const struct oci_digest *chain, bool *has,
				 struct k3_err *e);

/* ---- images ------------------------------------------------------------------------- */

/* An image record with target and labels, made or brought up to date. */
K3_MUST int imp_daemon_image(struct imp_daemon *d, const char *name, const struct oci_desc *target,
			     bool pin, bool *changed, struct k3_err *e);

/*
 * Sets or removes the pin of a record, whose target is told and stays what it is.  *found = false:
 * there is no such record.
 */
K3_MUST int imp_daemon_pin_image(struct imp_daemon *d, const char *name,
				 const struct oci_desc *target, bool pin, bool *found,
				 struct k3_err *e);
/* Removes a record; *found = false: somebody else did. */
K3_MUST int imp_daemon_drop_image(struct imp_daemon *d, const char *name, bool *found,
				  struct k3_err *e);

#endif
