/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/importer.h"

#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/toml.h"
#include "base/yaml.h"
#include "host/host.h"
#include "importer/cri_config.h"
#include "importer/schema.h"

#define CONTAINERD_ROOT "/var/lib/containerd"
#define CONTAINERD_CONFIG "/etc/containerd/config.toml"
#define K3S_ROOT "/var/lib/rancher/k3s/agent/containerd"
#define CONTAINERD_SOCKET "/run/containerd/containerd.sock"
#define K3S_SOCKET "/run/k3s/containerd/containerd.sock"
#define K3S_CONFIG "/etc/rancher/k3s/config.yaml"
#define RKE2_CONFIG "/etc/rancher/rke2/config.yaml"
#define K3S_CONFIG_MAX (1u << 20) /* bytes; real ones have some hundred */

/* Pause images that the daemons ask for by default; the schema tells 1.x from 2.x. */
#define PAUSE_K3S "rancher/mirrored-pause:3.6"
#define PAUSE_REPOSITORY "registry.k8s.io/pause:"
#define PAUSE_1 PAUSE_REPOSITORY "3.8"
#define PAUSE_2 PAUSE_REPOSITORY "3.10"

#define FILES_MAX 256u /* that one configuration imports */

/* What is read out of a containerd configuration; later files override earlier ones. */
struct values {
	char *root, *pause, *snapshotter, *address;
	char **files; /* read so far: each is read once */
	size_t nfiles, files_cap;
	struct imp_cri cri;
};

static void values_release(struct values *v)
{
	free(v->root);
	free(v->pause);
	free(v->snapshotter);
	free(v->address);
	for (size_t k = 0; k < v->nfiles; k++)
		free(v->files[k]);
	free(v->files);
	imp_cri_release(&v->cri);
}

#define AUTO_VALUES __attribute__((cleanup(values_release)))

static void set(char **to, const char *value)
{
	if (!value || !*value)
		return;
	free(*to);
	*to = k3_xstrdup(value);
}

/* Path without symlinks where it exists, and without slashes at the end. */
static char *canonical(const char *path)
{
	char *real = realpath(path, NULL);
	size_t n = strlen(path);

	if (real)
		return real;
	while (n > 1 && path[n - 1] == '/')
		n--;
	return k3_xstrndup(path, n);
}

/* ---- containerd's config.toml ------------------------------------------------------- */

#define PLUGIN_V1 "cri"
#define PLUGIN_V2 "io.containerd.grpc.v1.cri"
#define PLUGIN_V3 "io.containerd.cri.v1.images"

static const char *lookup(const struct k3_toml *t, const char *plugin, const char *table,
			  const char *key)
{
	const char *const path[] = { "plugins", plugin, table, key };
	const char *const flat[] = { "plugins", plugin, key };

	return k3_toml_str(table ? k3_toml_path(t, path, K3_ARRAY_LEN(path))
				 : k3_toml_path(t, flat, K3_ARRAY_LEN(flat)));
}

static void take_values(const struct k3_toml *t, struct values *v)
{
	int64_t version = 1;

	(void)k3_toml_int(k3_toml_get(t, "version"), &version);
	set(&v->root, k3_toml_str(k3_toml_get(t, "root")));
	set(&v->address, k3_toml_str(k3_toml_get(k3_toml_get(t, "grpc"), "address")));
	if (version >= 3) {
		set(&v->pause, lookup(t, PLUGIN_V3, "pinned_images", "sandbox"));
		set(&v->snapshotter, lookup(t, PLUGIN_V3, NULL, "snapshotter"));
	} else {
		const char *plugin = version == 2 ? PLUGIN_V2 : PLUGIN_V1;

		set(&v->pause, lookup(t, plugin, NULL, "sandbox_image"));
		set(&v->snapshotter, lookup(t, plugin, "containerd", "snapshotter"));
	}
	imp_cri_take(&v->cri, t, version);
}

static int read_config(const char *path, struct values *v, struct k3_err *e);

/* One entry of `imports`: a path or a pattern, relative to the file that has it. */
static int read_import(const char *file, const char *pattern, struct values *v, struct k3_err *e)
{
	K3_AUTO_FREE char *copy = k3_xstrdup(file);
	K3_AUTO_FREE char *full = *pattern == '/' ? k3_xstrdup(pattern)
						  : k3_xasprintf("%s/%s", dirname(copy), pattern);
	glob_t found = { 0 };
	int rc = 0;

	if (!glob(full, 0, NULL, &found))
		for (size_t k = 0; !rc && k < found.gl_pathc; k++)
			rc = read_config(found.gl_pathv[k], v, e);
	globfree(&found);
	return rc;
}

/* Whether a file has been read already; it counts as read from now on. */
static bool read_before(const char *path, struct values *v)
{
	K3_AUTO_FREE char *real = canonical(path);

	for (size_t k = 0; k < v->nfiles; k++)
		if (!strcmp(v->files[k], real))
			return true;
	v->files = k3_xgrow(v->files, v->nfiles, &v->files_cap, sizeof(char *));
	v->files[v->nfiles++] = K3_STEAL(real);
	return false;
}

static int read_config(const char *path, struct values *v, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(K3_TOML_SIZE_MAX);
	K3_AUTO_TOML struct k3_toml_doc *doc = NULL;
	const struct k3_toml *imports;

	if (read_before(path, v))
		return 0;
	if (v->nfiles > FILES_MAX)
		return k3_fail(e, K3_USAGE, "%s: more than %u configuration files", path,
			       FILES_MAX);
	if (k3_read_file(AT_FDCWD, path, &text, e))
		return -1;
	if (k3_toml_parse(text.p ? text.p : (const uint8_t *)"", text.len, &doc, e)) {
		e->code = K3_USAGE;
		return k3_wrap(e, "%s", path);
	}
	take_values(k3_toml_root(doc), v);
	imports = k3_toml_get(k3_toml_root(doc), "imports");
	for (size_t k = 0; k < k3_toml_len(imports); k++) {
		const char *pattern = k3_toml_str(k3_toml_at(imports, k));

		if (pattern && read_import(path, pattern, v, e))
			return -1;
	}
	return 0;
}

/* A missing file is no error: *found tells. */
static int read_default(const char *path, struct values *v, bool *found, struct k3_err *e)
{
	struct k3_err why = { 0 };

	*found = !read_config(path, v, &why);
	if (*found || why.code == K3_NOTFOUND)
		return 0;
	*e = why;
	return -1;
}

/* ---- k3s's config.yaml -------------------------------------------------------------- */

struct k3s_values {
	char *pause, *pause_file;
	bool mirrors_only;
};

static void k3s_values_release(struct k3s_values *v)
{
	free(v->pause);
	free(v->pause_file);
}

/* A missing file is no error. */
static int read_yaml(const char *path, struct k3s_values *v, struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(K3S_CONFIG_MAX);
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	struct k3_err why = { 0 };

	if (k3_read_file(AT_FDCWD, path, &text, &why)) {
		if (why.code == K3_NOTFOUND)
			return 0;
		*e = why;
		return -1;
	}
	if (k3_yaml_parse(text.p ? text.p : (const uint8_t *)"", text.len, &doc, e)) {
		e->code = K3_USAGE;
		return k3_wrap(e, "%s", path);
	}
	const struct k3_yaml *root = k3_yaml_docs(doc) ? k3_yaml_root(doc, 0) : NULL;
	const char *pause = k3_yaml_str(k3_yaml_get(root, "pause-image"));

	if (pause && *pause) {
		set(&v->pause, pause);
		set(&v->pause_file, path);
	}
	(void)k3_yaml_bool(k3_yaml_get(root, "disable-default-registry-endpoint"),
			   &v->mirrors_only);
	return 0;
}

/* config.yaml, then config.yaml.d in the order of names. */
static int read_k3s_yaml(const char *sysroot, const char *agent, struct k3s_values *v,
			 struct k3_err *e)
{
	const char *name = strstr(agent, "/rke2/") ? RKE2_CONFIG : K3S_CONFIG;
	K3_AUTO_FREE char *main_file = k3_xasprintf("%s%s", sysroot, name);
	K3_AUTO_FREE char *pattern = k3_xasprintf("%s.d/*.yaml", main_file);
	glob_t found = { 0 };
	int rc;

	rc = read_yaml(main_file, v, e);
	if (!rc && !glob(pattern, 0, NULL, &found))
		for (size_t k = 0; !rc && k < found.gl_pathc; k++)
			rc = read_yaml(found.gl_pathv[k], v, e);
	globfree(&found);
	return rc;
}

/* ---- which root --------------------------------------------------------------------- */

static bool exists(const char *sysroot, const char *path)
{
	K3_AUTO_FREE char *full = k3_xasprintf("%s%s", sysroot, path);

	return access(full, F_OK) == 0;
}

static bool has_k3s(const char *sysroot)
{
	static const char *const signs[] = { "/var/lib/rancher/k3s", "/etc/rancher/k3s",
					     "/usr/local/bin/k3s", "/usr/bin/k3s", "/opt/bin/k3s" };

	for (size_t k = 0; k < K3_ARRAY_LEN(signs); k++)
		if (exists(sysroot, signs[k]))
			return true;
	return false;
}

char *imp_default_root_at(const char *sysroot)
{
	K3_AUTO_FREE char *file = k3_xasprintf("%s%s", sysroot, CONTAINERD_CONFIG);
	AUTO_VALUES struct values v = { 0 };
	struct k3_err ignored;

	if (has_k3s(sysroot))
		return k3_xasprintf("%s%s", sysroot, K3S_ROOT);
	/* One that does not parse is reported by imp_config_load. */
	if (read_config(file, &v, &ignored) || !v.root)
		return k3_xasprintf("%s%s", sysroot, CONTAINERD_ROOT);
	return k3_xasprintf("%s%s", sysroot, v.root);
}

char *imp_default_root(void)
{
	return imp_default_root_at("");
}

static bool same_path(const char *a, const char *b)
{
	K3_AUTO_FREE char *x = canonical(a);
	K3_AUTO_FREE char *y = canonical(b);

	return !strcmp(x, y);
}

/* k3s keeps its root at <data dir>/agent/containerd; NULL for any other path, else the agent
 * directory. */
static char *k3s_agent_dir(const char *root)
{
	static const char end[] = "/agent/containerd";
	K3_AUTO_FREE char *path = canonical(root);
	size_t n = strlen(path);

	if (n < sizeof(end) || strcmp(path + n - (sizeof(end) - 1), end))
		return NULL;
	return k3_xstrndup(path, n - strlen("/containerd"));
}

/* ---- together ----------------------------------------------------------------------- */

static int load_k3s(const char *sysroot, const char *agent, struct imp_config *out,
		    struct values *v, struct k3_err *e)
{
	__attribute__((cleanup(k3s_values_release))) struct k3s_values k3s = { 0 };
	K3_AUTO_FREE char *path = k3_xasprintf("%s/etc/containerd/config.toml", agent);
	bool found;

	if (read_default(path, v, &found, e))
		return -1;
	if (found)
		out->file = k3_xstrdup(path);
	if (read_k3s_yaml(sysroot, agent, &k3s, e))
		return -1;
	out->mirrors_only = k3s.mirrors_only;
	/* k3s has made the other file from this one, when it started last. */
	if (!v->pause && k3s.pause) {
		v->pause = K3_STEAL(k3s.pause);
		set(&out->file, k3s.pause_file);
	}
	return 0;
}

static int load_containerd(const char *sysroot, const char *root, struct imp_config *out,
			   struct values *v, struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s%s", sysroot, CONTAINERD_CONFIG);
	AUTO_VALUES struct values got = { 0 };
	K3_AUTO_FREE char *theirs = NULL;
	bool found;

	if (read_default(path, &got, &found, e))
		return -1;
	set(&out->named_root, got.root);
	theirs = k3_xasprintf("%s%s", sysroot, got.root ? got.root : CONTAINERD_ROOT);
	if (!found || !same_path(theirs, root))
		return 0;
	out->file = k3_xstrdup(path);
	*v = got;
	got = (struct values){ 0 };
	return 0;
}

static const char *default_pause(const struct imp_config *c)
{
	if (c->kind == IMP_ROOT_K3S)
		return PAUSE_K3S;
	return c->schema == IMP_SCHEMA_MIN ? PAUSE_1 : PAUSE_2;
}

/* A newer one than any there is: two texts of the program, one behind the other. */
#define PAUSE_MINOR_MAX 30u

/* "3.6" or "3.10.1" as the tag of a pause image, not what happens to stand behind it. */
static bool is_pause_tag(const char *tag)
{
	unsigned minor;
	int n = 0;

	return sscanf(tag, "3.%u%n", &minor, &n) == 1 && minor <= PAUSE_MINOR_MAX &&
	       (!tag[n] || (tag[n] == '.' && strlen(tag + n) == 2));
}

void imp_config_ask_program(const char *sysroot, struct imp_config *c)
{
	__attribute__((cleanup(host_program_release))) struct host_program p = { 0 };
	char tag[16];

	if (!c->pause_default || c->kind != IMP_ROOT_CONTAINERD || c->pause_program)
		return;
	host_find_program(sysroot, "containerd", &p);
	/* Go keeps its strings without an end, but each of them once. */
	if (!p.path ||
	    !host_program_after(sysroot, &p, PAUSE_REPOSITORY, "0123456789.", tag, sizeof(tag)) ||
	    !is_pause_tag(tag))
		return;
	free(c->pause);
	c->pause = k3_xasprintf(PAUSE_REPOSITORY "%s", tag);
	c->pause_program = K3_STEAL(p.path);
}

/* How much of a path is the sysroot, in front of what the machine calls it. */
static size_t below(const char *sysroot, const char *path)
{
	K3_AUTO_FREE char *real = canonical(sysroot);
	size_t n = *sysroot ? strlen(real) : 0;

	return strncmp(path, real, n) == 0 && path[n] == '/' ? n : 0;
}

int imp_config_load_at(const char *sysroot, const char *root, const char *file,
		       struct imp_config *out, struct k3_err *e)
{
	K3_AUTO_FREE char *agent = k3s_agent_dir(root);
	AUTO_VALUES struct values v = { 0 };
	int rc;

	*out = (struct imp_config){ .kind = agent ? IMP_ROOT_K3S : IMP_ROOT_CONTAINERD };
	if (file) {
		rc = read_config(file, &v, e);
		out->file = k3_xstrdup(file);
		set(&out->named_root, v.root);
	} else {
		rc = agent ? load_k3s(sysroot, agent, out, &v, e)
			   : load_containerd(sysroot, root, out, &v, e);
	}
	if (rc) {
		imp_config_release(out);
		return -1;
	}
	out->files = K3_STEAL(v.files);
	out->nfiles = v.nfiles;
	v.nfiles = 0;
	out->agent = agent ? k3_xstrdup(agent) : NULL;
	out->schema = imp_schema_peek(root);
	out->pause_default = !v.pause;
	out->pause = v.pause ? K3_STEAL(v.pause) : k3_xstrdup(default_pause(out));
	out->snapshotter = K3_STEAL(v.snapshotter);
	/* k3s names its socket on containerd's command line. */
	out->address = v.address ? K3_STEAL(v.address)
				 : k3_xstrdup(agent ? K3S_SOCKET : CONTAINERD_SOCKET);
	out->cri = v.cri;
	v.cri = (struct imp_cri){ 0 };
	imp_cri_defaults(&out->cri, agent ? agent + below(sysroot, agent) : NULL);
	return 0;
}

int imp_config_load(const char *root, const char *file, struct imp_config *out, struct k3_err *e)
{
	return imp_config_load_at("", root, file, out, e);
}

void imp_config_release(struct imp_config *c)
{
	free(c->file);
	free(c->pause);
	free(c->pause_program);
	free(c->snapshotter);
	free(c->address);
	for (size_t k = 0; k < c->nfiles; k++)
		free(c->files[k]);
	free(c->files);
	free(c->agent);
	free(c->named_root);
	imp_cri_release(&c->cri);
	*c = (struct imp_config){ 0 };
}
