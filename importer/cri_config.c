/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/cri_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Names of the plugins by version of the configuration; containerd docs/PLUGINS.md. */
#define RUNTIME_V3 "io.containerd.cri.v1.runtime"
#define IMAGES_V3 "io.containerd.cri.v1.images"
#define CRI_V2 "io.containerd.grpc.v1.cri"
#define CRI_V1 "cri"
#define TRANSFER "io.containerd.transfer.v1.local"

#define DIRS_MAX 16u     /* of plugins: real ones have one */
#define RUNTIMES_MAX 64u /* real ones have up to ten */

static const struct k3_toml *plugin(const struct k3_toml *root, const char *name)
{
	return k3_toml_get(k3_toml_get(root, "plugins"), name);
}

static void set(char **to, const struct k3_toml *v)
{
	const char *s = k3_toml_str(v);

	if (!s || !*s)
		return;
	free(*to);
	*to = k3_xstrdup(s);
}

static void set_flag(enum imp_setting *to, const struct k3_toml *v)
{
	bool b;

	if (k3_toml_bool(v, &b))
		*to = b ? IMP_YES : IMP_NO;
}

static void drop_dirs(struct imp_cri *c)
{
	for (size_t k = 0; k < c->ncni_bin; k++)
		free(c->cni_bin[k]);
	free(c->cni_bin);
	c->cni_bin = NULL;
	c->ncni_bin = 0;
}

static void set_dirs(struct imp_cri *c, const char *const *dirs, size_t n)
{
	drop_dirs(c);
	c->cni_bin = k3_xcalloc(n, sizeof(char *));
	for (size_t k = 0; k < n; k++)
		c->cni_bin[c->ncni_bin++] = k3_xstrdup(dirs[k]);
}

static void take_cni(struct imp_cri *c, const struct k3_toml *cni)
{
	const struct k3_toml *list = k3_toml_get(cni, "bin_dirs");
	const char *one = k3_toml_str(k3_toml_get(cni, "bin_dir"));
	const char *dirs[DIRS_MAX];
	size_t n = 0;

	for (size_t k = 0; k < k3_toml_len(list) && n < DIRS_MAX; k++)
		if ((dirs[n] = k3_toml_str(k3_toml_at(list, k))))
			n++;
	if (one && *one && !n)
		dirs[n++] = one;
	if (n)
		set_dirs(c, dirs, n);
	set(&c->cni_conf, k3_toml_get(cni, "conf_dir"));
}

static struct imp_runtime *runtime(struct imp_cri *c, const char *name)
{
	for (size_t k = 0; k < c->nruntimes; k++)
		if (!strcmp(c->runtimes[k].name, name))
			return &c->runtimes[k];
	if (c->nruntimes == RUNTIMES_MAX)
		return NULL;
	c->runtimes = k3_xrealloc(c->runtimes, c->nruntimes + 1, sizeof(*c->runtimes));
	c->runtimes[c->nruntimes] = (struct imp_runtime){ .name = k3_xstrdup(name) };
	return &c->runtimes[c->nruntimes++];
}

static void take_runtimes(struct imp_cri *c, const struct k3_toml *ctd)
{
	const struct k3_toml *all = k3_toml_get(ctd, "runtimes");

	set(&c->default_runtime, k3_toml_get(ctd, "default_runtime_name"));
	for (size_t k = 0; k < k3_toml_len(all); k++) {
		const char *name = k3_toml_key(all, k);
		const struct k3_toml *one = k3_toml_get(all, name);
		const struct k3_toml *options = k3_toml_get(one, "options");
		struct imp_runtime *r = runtime(c, name);

		if (!r)
			return;
		set(&r->type, k3_toml_get(one, "runtime_type"));
		set(&r->binary, k3_toml_get(options, "BinaryName"));
		set_flag(&r->systemd_cgroup, k3_toml_get(options, "SystemdCgroup"));
	}
}

/* The snapshotters that containerd's transfer service, which pulls for CRI in 2.1, unpacks for. */
static void take_transfer(struct imp_cri *c, const struct k3_toml *transfer)
{
	const struct k3_toml *list = k3_toml_get(transfer, "unpack_config");

	for (size_t k = 0; k < k3_toml_len(list); k++) {
		const char *s = k3_toml_str(k3_toml_get(k3_toml_at(list, k), "snapshotter"));

		c->transfer_native = c->transfer_native || (s && !strcmp(s, IMP_SNAPSHOTTER));
	}
}

void imp_cri_take(struct imp_cri *c, const struct k3_toml *root, int64_t version)
{
	const char *runtime_plugin = version >= 3 ? RUNTIME_V3 : version == 2 ? CRI_V2 : CRI_V1;
	const struct k3_toml *cri = plugin(root, runtime_plugin);

	if (version > c->version)
		c->version = version > 99 ? 99 : (int)version;
	set_flag(&c->unprivileged_ports, k3_toml_get(cri, "enable_unprivileged_ports"));
	set_flag(&c->unprivileged_icmp, k3_toml_get(cri, "enable_unprivileged_icmp"));
	take_cni(c, k3_toml_get(cri, "cni"));
	take_runtimes(c, k3_toml_get(cri, "containerd"));
	set_flag(&c->local_pull, k3_toml_get(plugin(root, IMAGES_V3), "use_local_image_pull"));
	take_transfer(c, plugin(root, TRANSFER));
}

void imp_cri_defaults(struct imp_cri *c, const char *agent)
{
	K3_AUTO_FREE char *k3s_bin = agent ? k3_xasprintf("%.*s/data/current/bin",
							  (int)(strlen(agent) - strlen("/agent")),
							  agent)
					   : NULL;
	const char *bin = agent ? k3s_bin : "/opt/cni/bin";

	if (!c->ncni_bin)
		set_dirs(c, &bin, 1);
	if (!c->cni_conf)
		c->cni_conf = agent ? k3_xasprintf("%s/etc/cni/net.d", agent)
				    : k3_xstrdup("/etc/cni/net.d");
	if (!c->default_runtime)
		c->default_runtime = k3_xstrdup("runc");
}

const char *imp_cri_runtime(const struct imp_cri *c)
{
	for (size_t k = 0; k < c->nruntimes; k++)
		if (!strcmp(c->runtimes[k].name, c->default_runtime) && c->runtimes[k].binary)
			return c->runtimes[k].binary;
	return "runc";
}

void imp_cri_release(struct imp_cri *c)
{
	drop_dirs(c);
	free(c->cni_conf);
	free(c->default_runtime);
	for (size_t k = 0; k < c->nruntimes; k++) {
		free(c->runtimes[k].name);
		free(c->runtimes[k].type);
		free(c->runtimes[k].binary);
	}
	free(c->runtimes);
	*c = (struct imp_cri){ 0 };
}
