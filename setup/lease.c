/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "setup/cni.h"

#define TRIES_MAX 65536u /* addresses tried: all of a /16 */
#define TO_MAX (CNI_NAME_MAX + 32)

void cni_address(uint32_t a, char out[CNI_ADDRESS_MAX])
{
	snprintf(out, CNI_ADDRESS_MAX, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255,
		 a & 255);
}

/* The name of a lease as an address of this network. */
static bool is_address(const struct cni_config *c, const char *name, uint32_t *out)
{
	unsigned part[4];
	char back[CNI_ADDRESS_MAX], more;

	if (sscanf(name, "%3u.%3u.%3u.%3u%c", &part[0], &part[1], &part[2], &part[3], &more) != 4)
		return false;
	*out = part[0] << 24 | part[1] << 16 | part[2] << 8 | part[3];
	cni_address(*out, back);
	return !strcmp(back, name) && *out >= c->first && *out <= c->last;
}

/* Where the search begins: spread, so that an address is not soon used again. */
static uint32_t preferred(const struct cni_config *c, const char *owner)
{
	uint8_t sum[K3_HASH_MAX];

	k3_hash_once(K3_SHA256, owner, strlen(owner), sum);
	return c->first + k3_load32le(sum) % (c->last - c->first + 1);
}

struct leases {
	DIR *dir;
	int fd;
};

static void leases_close(struct leases *l)
{
	if (l->dir)
		closedir(l->dir);
}
#define AUTO_LEASES __attribute__((cleanup(leases_close)))

/* No directory: no leases. */
static int leases_open(const struct cni_config *c, struct leases *l, struct k3_err *e)
{
	l->dir = opendir(c->leases);
	if (!l->dir && errno != ENOENT)
		return k3_fail_sys(e, errno, "cannot read %s", c->leases);
	l->fd = l->dir ? dirfd(l->dir) : -1;
	return 0;
}

/* The next lease: its file name (until the next call), owner and address. */
static const char *leases_next(const struct cni_config *c, struct leases *l, char owner[TO_MAX],
			       uint32_t *address)
{
	for (struct dirent *d; l->dir && (d = readdir(l->dir));) {
		ssize_t n;

		if (!is_address(c, d->d_name, address))
			continue;
		n = readlinkat(l->fd, d->d_name, owner, TO_MAX);
		if (n <= 0 || n >= TO_MAX)
			continue;
		owner[n] = '\0';
		return d->d_name;
	}
	return NULL;
}

int lease_find(const struct cni_config *c, const char *container, const char *ifname,
	       uint32_t *address, bool *found, struct k3_err *e)
{
	K3_AUTO_FREE char *owner = k3_xasprintf("%s/%s", container, ifname);
	AUTO_LEASES struct leases l = { 0 };
	char who[TO_MAX];

	*found = false;
	if (leases_open(c, &l, e))
		return -1;
	while (!*found && leases_next(c, &l, who, address))
		*found = !strcmp(who, owner);
	return 0;
}

int lease_take(const struct cni_config *c, const char *container, const char *ifname,
	       uint32_t *address, struct k3_err *e)
{
	K3_AUTO_FREE char *owner = k3_xasprintf("%s/%s", container, ifname);
	K3_AUTO_FD int dir = -1;
	bool found;

	if (lease_find(c, container, ifname, address, &found, e) || found)
		return found ? 0 : -1;
	if (k3_make_dirs(c->leases, 0755, e) || k3_open_dir(AT_FDCWD, c->leases, &dir, e))
		return -1;
	uint32_t at = preferred(c, owner), all = c->last - c->first + 1;

	for (uint32_t i = 0; i < all && i < TRIES_MAX; i++) {
		char name[CNI_ADDRESS_MAX];

		cni_address(at, name);
		if (!symlinkat(owner, dir, name)) {
			*address = at;
			return 0;
		}
		if (errno != EEXIST)
			return k3_fail_sys(e, errno, "cannot create %s/%s", c->leases, name);
		at = at == c->last ? c->first : at + 1;
	}
	return k3_fail(e, K3_LIMIT, "no address is free: all are leased in %s", c->leases);
}

int lease_sweep(const struct cni_config *c, lease_keep_fn *keep, void *arg, struct k3_err *e)
{
	AUTO_LEASES struct leases l = { 0 };
	char who[TO_MAX];
	uint32_t address;
	const char *name;

	if (leases_open(c, &l, e))
		return -1;
	while ((name = leases_next(c, &l, who, &address))) {
		char *slash = strrchr(who, '/');

		if (!slash)
			continue;
		*slash = '\0';
		if (!keep(arg, who, slash + 1) && unlinkat(l.fd, name, 0) && errno != ENOENT)
			return k3_fail_sys(e, errno, "cannot remove %s/%s", c->leases, name);
	}
	return 0;
}

struct one {
	const char *container, *ifname;
};

static bool is_another(void *arg, const char *container, const char *ifname)
{
	const struct one *one = arg;

	return strcmp(one->container, container) != 0 || strcmp(one->ifname, ifname) != 0;
}

int lease_drop(const struct cni_config *c, const char *container, const char *ifname,
	       struct k3_err *e)
{
	struct one one = { container, ifname };

	return lease_sweep(c, is_another, &one, e);
}
