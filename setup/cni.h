/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the CNI plugin. */
#ifndef K3_SETUP_CNI_H
#define K3_SETUP_CNI_H

#include "base/json.h"
#include "setup/setup.h"

#define CNI_NAME_MAX 128 /* bytes of a container's name: containerd's have 64 */

/* A network configuration; strings are borrowed from doc. */
struct cni_config {
	struct k3_json_doc *doc;
	const char *version;  /* "0.3.0" to "1.1.0" */
	bool loopback;        /* asked as the plugin "loopback" */
	uint32_t first, last; /* addresses that pods may have, host byte order */
	unsigned bits;        /* of the network's prefix */
	const char *leases;   /* directory */
};

/*
 * K3_FORMAT (no JSON), K3_UNSUPPORTED (version; also of one that is not text), K3_USAGE (a field
 * makes no sense).
 */
K3_MUST int cni_config_parse(const void *text, size_t n, struct cni_config *out, struct k3_err *e);
void cni_config_release(struct cni_config *c);

/*
 * An address is leased by a symbolic link of its name to "CONTAINER/IFNAME": making it is atomic,
 * and fails when there is one.  K3_LIMIT when none is free.
 */
K3_MUST int lease_take(const struct cni_config *c, const char *container, const char *ifname,
		       uint32_t *address, struct k3_err *e);
/* The lease of a container; *found says whether there is one. */
K3_MUST int lease_find(const struct cni_config *c, const char *container, const char *ifname,
		       uint32_t *address, bool *found, struct k3_err *e);
/* Gives back; no lease is no error. */
K3_MUST int lease_drop(const struct cni_config *c, const char *container, const char *ifname,
		       struct k3_err *e);
/* Drops every lease that keep() does not want. */
typedef bool lease_keep_fn(void *arg, const char *container, const char *ifname);
K3_MUST int lease_sweep(const struct cni_config *c, lease_keep_fn *keep, void *arg,
			struct k3_err *e);

/*
 * Raises lo in the network namespace and, with an address, gives it that too, so that a program
 * of the pod can bind to its own address.  As far as the kernel lets it: gVisor has no
 * SIOCSIFFLAGS. K3_IO when there is no such namespace.
 */
K3_MUST int loopback_raise(const char *netns, uint32_t address, struct k3_err *e);

/* "10.88.0.2" */
#define CNI_ADDRESS_MAX 16
void cni_address(uint32_t address, char out[CNI_ADDRESS_MAX]);

#endif
