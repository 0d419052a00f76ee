/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/toml.h"
#include "setup/files.h"
#include "tests/unit/unit.h"

#define OUT_MAX (1u << 20)

static struct setup_opts options(const char *prefix)
{
	return (struct setup_opts){
		.target = SETUP_CONTAINERD,
		.prefix = prefix,
		.root = "/var/lib/containerd",
		.version = 3,
		.pause = "registry.k8s.io/pause:3.10",
		.platform = "linux/amd64",
		.exe = "/usr/local/bin/k3simg",
	};
}

static char *new_prefix(void)
{
	char *dir = k3_xasprintf("%s/p.XXXXXX", unit_tmpdir());

	CHECK(mkdtemp(dir));
	return dir;
}

static char *below(const char *prefix, const char *path)
{
	return k3_xasprintf("%s%s", prefix, path);
}

static void put(const char *prefix, const char *path, const char *text)
{
	K3_AUTO_FREE char *file = below(prefix, path);
	K3_AUTO_FREE char *dir = k3_xstrndup(file, (size_t)(strrchr(file, '/') - file));
	struct k3_err err;

	OK(k3_make_dirs(dir, 0755, &err));
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0640);

	OK(k3_write_all(fd, text, strlen(text), file, &err));
	OK(k3_close(&fd, file, &err));
}

static bool there(const char *prefix, const char *path)
{
	K3_AUTO_FREE char *file = below(prefix, path);
	struct stat st;

	return !lstat(file, &st);
}

static const char *content(const char *prefix, const char *path, struct k3_buf *out)
{
	K3_AUTO_FREE char *file = below(prefix, path);
	struct k3_err err;

	k3_buf_reset(out);
	OK(k3_read_file(AT_FDCWD, file, out, &err));
	return out->p ? (const char *)out->p : "";
}

static enum setup_action action_of(const struct setup_report *r, const char *end)
{
	for (size_t i = 0; i < r->n; i++) {
		size_t a = strlen(r->items[i].path), b = strlen(end);

		if (a >= b && !strcmp(r->items[i].path + a - b, end))
			return r->items[i].action;
	}
	unit_fail(__FILE__, __LINE__, "no %s in the report", end);
	return SETUP_SAME;
}

#define AUTO_REPORT __attribute__((cleanup(setup_report_release)))

/* ---- what is written ------------------------------------------------------------------------- */

static const char *toml_str(const struct k3_toml *root, const char *const *keys, size_t n)
{
	return k3_toml_str(k3_toml_path(root, keys, n));
}

TEST(configuration_of_each_version_says_what_it_should)
{
	static const char *const runtimes[] = { "plugins", NULL,      "containerd", "runtimes",
						"runc",    "options", "BinaryName" };

	for (unsigned version = 2; version <= 3; version++) {
		struct setup_opts o = options("/p");
		K3_AUTO_BUF struct k3_buf text = K3_BUF(OUT_MAX);
		K3_AUTO_TOML struct k3_toml_doc *doc = NULL;
		const char *keys[7];
		struct k3_err err;
		bool yes = true;

		o.version = version;
		OK(containerd_config(&o, &text, &err));
		CHECK(!strncmp((char *)text.p, "# " SETUP_HEADER "\n", strlen(SETUP_HEADER) + 3));
		OK(k3_toml_parse(text.p, text.len, &doc, &err));
		const struct k3_toml *root = k3_toml_root(doc);

		EQ_STR(k3_toml_str(k3_toml_get(root, "root")), "/var/lib/containerd");
		EQ_STR(k3_toml_str(k3_toml_get(root, "state")), "/p/run/containerd");
		memcpy(keys, runtimes, sizeof(keys));
		keys[1] = version == 2 ? "io.containerd.grpc.v1.cri"
				       : "io.containerd.cri.v1.runtime";
		EQ_STR(toml_str(root, keys, 7), "/p" SETUP_RUNTIME_LINK);
		keys[2] = "enable_unprivileged_icmp";
		CHECK(k3_toml_bool(k3_toml_path(root, keys, 3), &yes) && !yes);
		keys[2] = "cni";
		keys[3] = "conf_dir";
		EQ_STR(toml_str(root, keys, 4), "/p/etc/cni/net.d");
		keys[2] = version == 2 ? "sandbox_image" : "pinned_images";
		keys[3] = "sandbox";
		keys[1] = version == 2 ? keys[1] : "io.containerd.cri.v1.images";
		EQ_STR(toml_str(root, keys, version == 2 ? 3 : 4), o.pause);
		keys[2] = version == 2 ? "containerd" : "snapshotter";
		keys[3] = "snapshotter";
		EQ_STR(toml_str(root, keys, version == 2 ? 4 : 3), "native");
		keys[1] = "io.containerd.transfer.v1.local";
		keys[2] = "unpack_config";
		const struct k3_toml *unpack = k3_toml_at(k3_toml_path(root, keys, 3), 0);

		EQ_STR(k3_toml_str(k3_toml_get(unpack, "platform")), "linux/amd64");
		EQ_STR(k3_toml_str(k3_toml_get(unpack, "snapshotter")), "native");
	}
}

TEST(k3s_gets_templates_and_a_configuration)
{
	struct setup_opts o = options("");
	__attribute__((cleanup(setup_plan_release))) struct setup_plan p = { 0 };
	struct k3_err err;

	o.target = SETUP_K3S;
	o.root = "/var/lib/rancher/k3s/agent/containerd";
	o.version = 0;
	o.facts.no_kmsg = true;
	OK(k3s_files(&o, &p, &err));
	EQ_INT(p.n, 4);
	EQ_STR(p.files[0].path, "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl");
	EQ_STR(p.files[1].path, "/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl");
	HAS_STR((char *)p.files[0].text.p, "\n{{ template \"base\" . }}\n");
	HAS_STR((char *)p.files[0].text.p,
		"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.k3simg.options]");
	HAS_STR((char *)p.files[1].text.p,
		"[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.k3simg.options]");
	EQ_STR(p.files[3].link, "/dev/null");
	EQ_STR((char *)p.files[2].text.p, "# " SETUP_HEADER "\n"
					  "snapshotter: native\n"
					  "default-runtime: k3simg\n"
					  "flannel-backend: none\n"
					  "disable-network-policy: true\n"
					  "pause-image: 'registry.k8s.io/pause:3.10'\n"
					  "kubelet-arg+:\n"
					  "  - image-gc-high-threshold=100\n"
					  "  - image-gc-low-threshold=99\n"
					  "  - local-storage-capacity-isolation=false\n"
					  "  - cgroups-per-qos=false\n"
					  "  - enforce-node-allocatable=\n");
	setup_plan_release(&p);
	o.facts.no_kmsg = false;
	o.facts.cgroup = true;
	o.version = 3;
	OK(k3s_files(&o, &p, &err));
	EQ_INT(p.n, 2);
	CHECK(!strstr((char *)p.files[1].text.p, "cgroups-per-qos"));
}

TEST(what_cannot_be_written_is_refused)
{
	static const char *const bad[] = { "it's", "a b", "x\"", "{{x}}", "a\\b", "#", "a\nb", "" };
	struct setup_opts o = options("/p");
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		__attribute__((cleanup(setup_plan_release))) struct setup_plan p = { 0 };

		o.pause = bad[i];
		FAILS(setup_plan_make(&o, &p, &err), K3_USAGE);
	}
	__attribute__((cleanup(setup_plan_release))) struct setup_plan p = { 0 };

	o = options("/p");
	o.root = "relative";
	FAILS(setup_plan_make(&o, &p, &err), K3_USAGE);
}

/* ---- there and back ----------------------------------------------------------------------- */

TEST(apply_again_and_undo)
{
	K3_AUTO_FREE char *prefix = new_prefix();
	struct setup_opts o = options(prefix);
	AUTO_REPORT struct setup_report r = { 0 };
	struct k3_err err;

	o.runtime = "crun";
	o.dry_run = true;
	OK(setup_apply(&o, &r, &err));
	EQ_INT(r.changed, 6);
	HAS_STR((char *)r.diff.p, "+++ ");
	HAS_STR((char *)r.diff.p, "\n+version = 3\n");
	CHECK(!there(prefix, "/etc") && !there(prefix, "/var"));
	setup_report_release(&r);
	o.dry_run = false;
	OK(setup_apply(&o, &r, &err));
	EQ_INT(r.changed, 6);
	CHECK(there(prefix, SETUP_CONFIG_FILE) && there(prefix, SETUP_STATE_FILE));
	CHECK(!there(prefix, SETUP_CONFIG_FILE SETUP_BACKUP));
	setup_report_release(&r);
	OK(setup_apply(&o, &r, &err));
	EQ_INT(r.changed, 0);
	setup_report_release(&r);
	/* an option more or less changes what is ours, without a backup */
	o.version = 2;
	OK(setup_apply(&o, &r, &err));
	EQ_INT(r.changed, 1);
	CHECK(!there(prefix, SETUP_CONFIG_FILE SETUP_BACKUP));
	setup_report_release(&r);
	OK(setup_undo(&o, &r, &err));
	EQ_INT(r.changed, 6);
	CHECK(!there(prefix, "/etc") && !there(prefix, "/var") && !there(prefix, "/usr") &&
	      !there(prefix, "/opt"));
	setup_report_release(&r);
	FAILS(setup_undo(&o, &r, &err), K3_NOTFOUND);
}

TEST(files_of_others_stay_or_come_back)
{
	static const char mine[] = "version = 2\n# mine\n";
	K3_AUTO_FREE char *prefix = new_prefix();
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OUT_MAX);
	struct setup_opts o = options(prefix);
	AUTO_REPORT struct setup_report r = { 0 };
	struct stat before, after;
	struct k3_err err;

	put(prefix, SETUP_CONFIG_FILE, mine);
	put(prefix, SETUP_CNI_BIN_DIR "/loopback", "a plugin");
	K3_AUTO_FREE char *file = below(prefix, SETUP_CONFIG_FILE);

	CHECK(!stat(file, &before));
	FAILS(setup_apply(&o, &r, &err), K3_USAGE);
	HAS_STR(err.hint, "--force");
	EQ_INT(r.refused, 1);
	EQ_INT(action_of(&r, "/config.toml"), SETUP_REFUSED);
	CHECK(!there(prefix, SETUP_STATE_FILE) && !there(prefix, "/usr"));
	setup_report_release(&r);
	o.force = true;
	OK(setup_apply(&o, &r, &err));
	EQ_INT(action_of(&r, "/config.toml"), SETUP_REPLACED);
	EQ_INT(action_of(&r, "/loopback"), SETUP_KEPT);
	EQ_STR(content(prefix, SETUP_CONFIG_FILE SETUP_BACKUP, &text), mine);
	EQ_STR(content(prefix, SETUP_CNI_BIN_DIR "/loopback", &text), "a plugin");
	setup_report_release(&r);
	o.force = false;
	OK(setup_apply(&o, &r, &err));
	EQ_INT(r.changed, 0);
	setup_report_release(&r);
	OK(setup_undo(&o, &r, &err));
	EQ_INT(action_of(&r, "/config.toml"), SETUP_RESTORED);
	EQ_STR(content(prefix, SETUP_CONFIG_FILE, &text), mine);
	CHECK(!stat(file, &after) && before.st_ino == after.st_ino &&
	      before.st_mode == after.st_mode);
	CHECK(!there(prefix, SETUP_CONFIG_FILE SETUP_BACKUP));
	CHECK(there(prefix, SETUP_CNI_BIN_DIR "/loopback") && !there(prefix, "/var"));
}

TEST(what_was_changed_since_is_not_touched)
{
	K3_AUTO_FREE char *prefix = new_prefix();
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OUT_MAX);
	struct setup_opts o = options(prefix);
	AUTO_REPORT struct setup_report r = { 0 };
	struct k3_err err;

	OK(setup_apply(&o, &r, &err));
	setup_report_release(&r);
	K3_AUTO_FREE char *edited = k3_xasprintf("%s# edited\n",
						 content(prefix, SETUP_CONFIG_FILE, &text));

	put(prefix, SETUP_CONFIG_FILE, edited);
	FAILS(setup_apply(&o, &r, &err), K3_USAGE);
	setup_report_release(&r);
	OK(setup_undo(&o, &r, &err));
	EQ_INT(r.refused, 1);
	EQ_INT(action_of(&r, "/config.toml"), SETUP_REFUSED);
	EQ_STR(content(prefix, SETUP_CONFIG_FILE, &text), edited);
	CHECK(!there(prefix, SETUP_RUNTIME_LINK) && there(prefix, SETUP_STATE_FILE));
	setup_report_release(&r);
	o.force = true;
	OK(setup_undo(&o, &r, &err));
	EQ_INT(r.refused, 0);
	CHECK(!there(prefix, "/etc") && !there(prefix, "/var"));
}

TEST(cut_off_between_backup_and_file)
{
	static const char mine[] = "mine\n";
	K3_AUTO_FREE char *prefix = new_prefix();
	K3_AUTO_FREE char *file = below(prefix, SETUP_CONFIG_FILE);
	K3_AUTO_FREE char *backup = below(prefix, SETUP_CONFIG_FILE SETUP_BACKUP);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(OUT_MAX);
	struct setup_opts o = options(prefix);
	AUTO_REPORT struct setup_report r = { 0 };
	struct k3_err err;

	put(prefix, SETUP_CONFIG_FILE, mine);
	o.force = true;
	OK(setup_apply(&o, &r, &err));
	setup_report_release(&r);
	/* as it was before the new file got its name */
	CHECK(!unlink(file) && !link(backup, file));
	o.force = false;
	OK(setup_undo(&o, &r, &err));
	EQ_INT(r.refused, 0);
	EQ_STR(content(prefix, SETUP_CONFIG_FILE, &text), mine);
	CHECK(!there(prefix, SETUP_CONFIG_FILE SETUP_BACKUP));
}

TEST(a_damaged_state_is_not_believed)
{
	static const char *const bad[] = { "", "{", "{\"schemaVersion\":2}",
					   "{\"schemaVersion\":1,\"files\":[{\"path\":\"x\"}]}" };
	K3_AUTO_FREE char *prefix = new_prefix();
	struct setup_opts o = options(prefix);
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		AUTO_REPORT struct setup_report r = { 0 };

		put(prefix, SETUP_STATE_FILE, bad[i]);
		FAILS(setup_undo(&o, &r, &err), K3_FORMAT);
	}
}

/* ---- diff ---------------------------------------------------------------------------------- */

static const char *diff(const char *old, const char *new_, struct k3_buf *out)
{
	K3_AUTO_BUF struct k3_buf a = K3_BUF(OUT_MAX), b = K3_BUF(OUT_MAX);
	struct k3_err err;

	k3_buf_reset(out);
	OK(k3_buf_add(&a, old ? old : "", old ? strlen(old) : 0, &err));
	OK(k3_buf_add(&b, new_, strlen(new_), &err));
	OK(diff_unified("/f", old ? &a : NULL, &b, out, &err));
	return (const char *)out->p;
}

TEST(diffs_are_those_of_diff)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);

	EQ_STR(diff(NULL, "a\nb\n", &out), "--- /dev/null\n+++ /f\n@@ -0,0 +1,2 @@\n+a\n+b\n");
	EQ_STR(diff("a\n", "a", &out),
	       "--- /f\n+++ /f\n@@ -1,1 +1,1 @@\n-a\n+a\n\\ No newline at end of file\n");
	EQ_STR(diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n", &out),
	       "--- /f\n+++ /f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n");
	EQ_STR(diff("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "1\n2\n3\n4\n5\n6\n7\nc\n", &out),
	       "--- /f\n+++ /f\n@@ -1,4 +1,3 @@\n-a\n 1\n 2\n 3\n@@ -6,4 +5,4 @@\n 5\n 6\n "
	       "7\n-b\n+c\n");
	EQ_STR(diff("a\nb\nc\n", "b\nc\nd\n", &out),
	       "--- /f\n+++ /f\n@@ -1,3 +1,3 @@\n-a\n b\n c\n+d\n");
}

UNIT_MAIN
