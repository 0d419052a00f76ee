/* SPDX-License-Identifier: Apache-2.0 */
/* Which root and which pause image, on made-up machines in a temporary directory. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "importer/importer.h"
#include "importer/imp.h"

static void put(const char *sys, const char *name, const char *content)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s%s", sys, name);
	K3_AUTO_FREE char *dir = k3_xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct k3_err err;

	OK(k3_make_dirs(dir, 0755, &err));
	K3_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	OK(k3_write_all(fd, content, strlen(content), path, &err));
}

static void is_root(const char *sys, const char *want)
{
	K3_AUTO_FREE char *got = imp_default_root_at(sys);

	EQ_STR(got + strlen(sys), want);
}

/* Checks pause image, snapshotter and the file (below sys) of a root (below sys). */
static void is_config(const char *sys, const char *root, const char *file, const char *pause,
		      const char *snapshotter, const char *read)
{
	K3_AUTO_FREE char *at = k3_xasprintf("%s%s", sys, root);
	K3_AUTO_FREE char *from = k3_xasprintf("%s%s", sys, file ? file : "");
	struct imp_config c;
	struct k3_err err;

	OK(imp_config_load_at(sys, at, file ? from : NULL, &c, &err));
	EQ_STR(c.pause, pause);
	EQ_STR(c.snapshotter, snapshotter);
	EQ_STR(c.file ? c.file + strlen(sys) : NULL, read);
	imp_config_release(&c);
}

#define K3S "/var/lib/rancher/k3s/agent/containerd"
#define CTD "/var/lib/containerd"
#define ETC "/etc/containerd/config.toml"

/* The configuration of a root of the machine; the caller releases it. */
static struct imp_config load(const char *sys, const char *root)
{
	K3_AUTO_FREE char *at = k3_xasprintf("%s%s", sys, root);
	struct imp_config c;
	struct k3_err err;

	OK(imp_config_load_at(sys, at, NULL, &c, &err));
	return c;
}

static void is_address(const char *sys, const char *root, const char *want)
{
	struct imp_config c = load(sys, root);

	EQ_STR(c.address, want);
	imp_config_release(&c);
}

TEST(addresses)
{
	const char *sys = unit_tmpdir();

	is_address(sys, CTD, "/run/containerd/containerd.sock");
	is_address(sys, K3S, "/run/k3s/containerd/containerd.sock");
	put(sys, ETC, "version = 2\n[grpc]\naddress = '/run/other.sock'\n");
	is_address(sys, CTD, "/run/other.sock");
	/* Of another root. */
	is_address(sys, "/data", "/run/containerd/containerd.sock");
	put(sys, "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
	    "version = 3\n[grpc]\n  address = '/run/k3s/other.sock'\n");
	is_address(sys, K3S, "/run/k3s/other.sock");
}

TEST(default_roots)
{
	const char *sys = unit_tmpdir();

	is_root(sys, CTD);
	put(sys, ETC, "version = 2\nroot = '/data/ctd'\n");
	is_root(sys, "/data/ctd");
	put(sys, ETC, "version = [\n");
	is_root(sys, CTD);
	put(sys, "/usr/local/bin/k3s", "");
	is_root(sys, K3S);
}

/* Without a configuration it is the program that decides, if it tells. */
TEST(pause_of_the_program)
{
	static const struct {
		const char *program, *pause;
	} cases[] = {
		{ "...registry.k8s.io/pause:3.6releasep:...", "3.6" },
		{ "registry.k8s.io/pause:3.10failed to ", "3.10" },
		{ "registry.k8s.io/pause:3.10.1 is", "3.10.1" },
		{ "registry.k8s.io/pause:3.9", "3.9" },
		/* The text behind it begins with digits: nobody knows. */
		{ "registry.k8s.io/pause:3.6127.0.0.1", NULL },
		{ "registry.k8s.io/pause:3.685", NULL },
		{ "registry.k8s.io/pause:4.1", NULL },
		{ "registry.k8s.io/pause:latest", NULL },
		{ "nothing of it", NULL },
	};
	const char *sys = unit_tmpdir();
	struct imp_config c;

	for (size_t i = 0; i < K3_ARRAY_LEN(cases); i++) {
		const char *tag = cases[i].pause ? cases[i].pause : "3.10";
		K3_AUTO_FREE char *want = k3_xasprintf("registry.k8s.io/pause:%s", tag);

		put(sys, "/usr/bin/containerd", cases[i].program);
		c = load(sys, CTD);
		imp_config_ask_program(sys, &c);
		EQ_STR(c.pause, want);
		EQ_STR(c.pause_program, cases[i].pause ? "/usr/bin/containerd" : NULL);
		imp_config_release(&c);
		/* k3s has its own. */
		c = load(sys, K3S);
		imp_config_ask_program(sys, &c);
		EQ_STR(c.pause, "rancher/mirrored-pause:3.6");
		imp_config_release(&c);
	}
	put(sys, ETC,
	    "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'mine:1'\n");
	put(sys, "/usr/bin/containerd", cases[0].program);
	is_config(sys, CTD, NULL, "mine:1", NULL, ETC);
	c = load(sys, CTD);
	imp_config_ask_program(sys, &c);
	EQ_STR(c.pause, "mine:1");
	EQ_STR(c.pause_program, NULL);
	imp_config_release(&c);
}

TEST(no_configuration)
{
	const char *sys = unit_tmpdir();

	is_config(sys, CTD, NULL, "registry.k8s.io/pause:3.10", NULL, NULL);
	is_config(sys, K3S, NULL, "rancher/mirrored-pause:3.6", NULL, NULL);
	is_config(sys, "/srv/k3s/agent/containerd/", NULL, "rancher/mirrored-pause:3.6", NULL,
		  NULL);
}

TEST(schema_3_gives_the_pause_image_of_1)
{
	const char *sys = unit_tmpdir();
	K3_AUTO_FREE char *dir = k3_xasprintf("%s" CTD "/" IMP_META_DIR, sys);
	K3_AUTO_FD int fd = -1;
	struct bolt_bucket *v1;
	struct bolt_db *db;
	struct bolt_txn *t;
	struct k3_err err;

	OK(k3_make_dirs(dir, 0711, &err));
	OK(k3_open_dir(AT_FDCWD, dir, &fd, &err));
	OK(bolt_open(fd, "meta.db", BOLT_WRITE | BOLT_CREATE, 0644, &db, &err));
	OK(bolt_begin(db, true, &t, &err));
	OK(bolt_bucket_make(bolt_root(t), BOLT_STR("v1"), &v1, &err));
	OK(bolt_put(v1, BOLT_STR("version"), BOLT_STR("\x06"), &err));
	OK(bolt_commit(t, &err));
	bolt_close(db);
	is_config(sys, CTD, NULL, "registry.k8s.io/pause:3.8", NULL, NULL);
}

TEST(config_versions)
{
	const char *sys = unit_tmpdir();

	put(sys, ETC, "[plugins.cri]\nsandbox_image = 'one'\ncontainerd.snapshotter = 'native'\n");
	is_config(sys, CTD, NULL, "one", "native", ETC);
	put(sys, ETC,
	    "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"two\"\n"
	    "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n  snapshotter = \"overlayfs\"\n");
	is_config(sys, CTD, NULL, "two", "overlayfs", ETC);
	put(sys, ETC,
	    "version = 3\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = 'native'\n"
	    "[plugins.'io.containerd.cri.v1.images'.pinned_images]\n  sandbox = 'three'\n"
	    "[plugins.'io.containerd.grpc.v1.cri']\n  sandbox_image = 'two'\n");
	is_config(sys, CTD, NULL, "three", "native", ETC);
	/* A configuration without it, and one with an empty value. */
	put(sys, ETC, "version = 2\nplugins.'io.containerd.grpc.v1.cri'.sandbox_image = ''\n");
	is_config(sys, CTD, NULL, "registry.k8s.io/pause:3.10", NULL, ETC);
}

TEST(configuration_of_another_root)
{
	const char *sys = unit_tmpdir();

	put(sys, ETC, "root = '/data'\n[plugins.cri]\nsandbox_image = 'one'\n");
	is_config(sys, CTD, NULL, "registry.k8s.io/pause:3.10", NULL, NULL);
	is_config(sys, "/data/", NULL, "one", NULL, ETC);
	is_config(sys, CTD, ETC, "one", NULL, ETC);
}

TEST(imports_override)
{
	const char *sys = unit_tmpdir();

	put(sys, ETC,
	    "imports = ['conf.d/*.toml', 'none.toml']\n[plugins.cri]\nsandbox_image = 'a'\n");
	put(sys, "/etc/containerd/conf.d/1.toml", "[plugins.cri]\nsandbox_image = 'b'\n");
	put(sys, "/etc/containerd/conf.d/2.toml",
	    "plugins.cri.containerd.snapshotter = 'native'\n");
	is_config(sys, CTD, NULL, "b", "native", ETC);
	/* A circle is no harm. */
	put(sys, "/etc/containerd/conf.d/2.toml", "imports = ['../*.toml', '*.toml']\n");
	is_config(sys, CTD, NULL, "b", NULL, ETC);
}

TEST(k3s_configuration)
{
	const char *sys = unit_tmpdir();

	put(sys, "/etc/rancher/k3s/config.yaml",
	    "token: x\nother:\n  pause-image: nested\npause-image: \"reg/pause:1\" # ours\n");
	is_config(sys, K3S, NULL, "reg/pause:1", NULL, "/etc/rancher/k3s/config.yaml");
	put(sys, "/etc/rancher/k3s/config.yaml.d/10.yaml",
	    "pause-image: reg:5000/pause:2   # x\r\n");
	is_config(sys, K3S, NULL, "reg:5000/pause:2", NULL,
		  "/etc/rancher/k3s/config.yaml.d/10.yaml");
	put(sys, "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
	    "version = 3\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'native'\n"
	    "pinned_images.sandbox = 'rendered:3'\n");
	is_config(sys, K3S, NULL, "rendered:3", "native",
		  "/var/lib/rancher/k3s/agent/etc/containerd/config.toml");
	/* containerd's own root has nothing to do with it. */
	is_config(sys, CTD, NULL, "registry.k8s.io/pause:3.10", NULL, NULL);
}

static void asks_mirrors_only(const char *sys, const char *root, bool want)
{
	struct imp_config c = load(sys, root);

	EQ_INT(c.mirrors_only, want);
	imp_config_release(&c);
}

TEST(k3s_without_default_endpoints)
{
	static const char rke2[] = "/var/lib/rancher/rke2/agent/containerd";
	const char *sys = unit_tmpdir();

	asks_mirrors_only(sys, K3S, false);
	put(sys, "/etc/rancher/k3s/config.yaml", "disable-default-registry-endpoint: true\n");
	asks_mirrors_only(sys, K3S, true);
	asks_mirrors_only(sys, CTD, false);
	asks_mirrors_only(sys, rke2, false);
	put(sys, "/etc/rancher/k3s/config.yaml.d/1.yaml", "node-name: x\n");
	asks_mirrors_only(sys, K3S, true);
	put(sys, "/etc/rancher/k3s/config.yaml.d/2.yaml",
	    "disable-default-registry-endpoint: false\n");
	asks_mirrors_only(sys, K3S, false);
	put(sys, "/etc/rancher/rke2/config.yaml", "disable-default-registry-endpoint: true\n");
	asks_mirrors_only(sys, rke2, true);
}

TEST(errors_name_file_and_line)
{
	const char *sys = unit_tmpdir();
	K3_AUTO_FREE char *root = k3_xasprintf("%s" CTD, sys);
	struct imp_config c;
	struct k3_err err;

	put(sys, ETC, "version = 2\n\nroot = \n");
	FAILS(imp_config_load_at(sys, root, NULL, &c, &err), K3_USAGE);
	HAS_STR(err.msg, "/etc/containerd/config.toml: line 3: ");
	FAILS(imp_config_load_at(sys, root, "/nonexistent/config.toml", &c, &err), K3_NOTFOUND);
	K3_AUTO_FREE char *k3s = k3_xasprintf("%s" K3S, sys);

	put(sys, "/etc/rancher/k3s/config.yaml", "token: x\n  pause-image: nested\n");
	FAILS(imp_config_load_at(sys, k3s, NULL, &c, &err), K3_USAGE);
	HAS_STR(err.msg, "/etc/rancher/k3s/config.yaml: line 2, column ");
}

UNIT_MAIN
