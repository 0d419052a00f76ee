/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/toml.h"
#include "base/yaml.h"
#include "host/parse.h"

#define KUBELET_CONFIG "/var/lib/kubelet/config.yaml"
#define K3S_CONFIG "/etc/rancher/k3s/config.yaml"

/* ---- KubeletConfiguration and kubelet-arg --------------------------------------------------- */

static void set_percent(unsigned *to, const char *text)
{
	char *end;
	unsigned long n = text ? strtoul(text, &end, 10) : 101;

	if (n <= 100 && text && *text && !*end)
		*to = (unsigned)n;
}

int host_parse_kubelet(const void *text, size_t n, struct host_kubelet *out, struct k3_err *e)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	const struct k3_yaml *root;
	bool gate;

	if (k3_yaml_parse(text, n, &doc, e))
		return -1;
	root = k3_yaml_root(doc, 0);
	set_percent(&out->gc_high, k3_yaml_str(k3_yaml_get(root, "imageGCHighThresholdPercent")));
	(void)k3_yaml_bool(k3_yaml_get(root, "localStorageCapacityIsolation"), &out->local_storage);
	if (k3_yaml_bool(
		    k3_yaml_get(k3_yaml_get(root, "featureGates"), "LocalStorageCapacityIsolation"),
		    &gate))
		out->local_storage = out->local_storage && gate;
	return 0;
}

/* "name=value" without the dashes that may be in front of it; NULL = another flag. */
static const char *flag_value(const char *arg, const char *name)
{
	size_t n = strlen(name);

	arg += strspn(arg, "-");
	return !strncmp(arg, name, n) && arg[n] == '=' ? arg + n + 1 : NULL;
}

/* How Go's strconv.ParseBool says false. */
static bool is_false(const char *s)
{
	return !strcmp(s, "false") || !strcmp(s, "False") || !strcmp(s, "FALSE") ||
	       !strcmp(s, "f") || !strcmp(s, "F") || !strcmp(s, "0");
}

static void take_flag(const char *arg, struct host_kubelet *out)
{
	const char *value;

	if (!arg)
		return;
	set_percent(&out->gc_high, flag_value(arg, "image-gc-high-threshold"));
	value = flag_value(arg, "local-storage-capacity-isolation");
	if (value)
		out->local_storage = !is_false(value);
	value = flag_value(arg, "feature-gates");
	if (value && strstr(value, "LocalStorageCapacityIsolation=false"))
		out->local_storage = false;
}

/* A list, or one string; k3s drop-ins add to it with "kubelet-arg+". */
static void take_flags(const struct k3_yaml *v, struct host_kubelet *out)
{
	take_flag(k3_yaml_str(v), out);
	for (size_t k = 0; k3_yaml_is(v, K3_YAML_SEQUENCE) && k < k3_yaml_len(v); k++)
		take_flag(k3_yaml_str(k3_yaml_at(v, k)), out);
}

int host_parse_k3s(const void *text, size_t n, struct host_k3s *k3s, struct host_kubelet *kubelet,
		   struct k3_err *e)
{
	K3_AUTO_YAML struct k3_yaml_doc *doc = NULL;
	const struct k3_yaml *root;
	const char *s;

	if (k3_yaml_parse(text, n, &doc, e))
		return -1;
	root = k3_yaml_root(doc, 0);
	s = k3_yaml_str(k3_yaml_get(root, "snapshotter"));
	if (s && *s) {
		free(k3s->snapshotter);
		k3s->snapshotter = k3_xstrdup(s);
	}
	s = k3_yaml_str(k3_yaml_get(root, "data-dir"));
	if (s && *s == '/') {
		free(k3s->data_dir);
		k3s->data_dir = k3_xstrdup(s);
	}
	s = k3_yaml_str(k3_yaml_get(root, "default-runtime"));
	if (s && *s) {
		free(k3s->runtime);
		k3s->runtime = k3_xstrdup(s);
	}
	s = k3_yaml_str(k3_yaml_get(root, "flannel-backend"));
	if (s)
		k3s->own_network = !strcmp(s, "none");
	take_flags(k3_yaml_get(root, "kubelet-arg"), kubelet);
	take_flags(k3_yaml_get(root, "kubelet-arg+"), kubelet);
	return 0;
}

/* ---- templates ------------------------------------------------------------------------------ */

char *host_parse_template(const void *text, size_t n, const char *runtime)
{
	static const char *const plugins[] = { "io.containerd.cri.v1.runtime",
					       "io.containerd.grpc.v1.cri" };
	K3_AUTO_FREE char *toml = k3_xstrndup(text, n);
	K3_AUTO_TOML struct k3_toml_doc *doc = NULL;
	struct k3_err ignored;

	/* What the template does is no TOML: {{ template "base" . }} alone on its line. */
	for (char *line = toml, *end; *line; line = end + (*end == '\n')) {
		end = line + strcspn(line, "\n");
		if (!strncmp(line + strspn(line, " \t"), "{{", 2))
			memset(line, ' ', (size_t)(end - line));
	}
	if (k3_toml_parse(toml, strlen(toml), &doc, &ignored))
		return NULL;
	for (size_t k = 0; k < K3_ARRAY_LEN(plugins); k++) {
		const char *const keys[] = { "plugins", plugins[k], "containerd", "runtimes",
					     runtime,   "options",  "BinaryName" };
		const char *s =
			k3_toml_str(k3_toml_path(k3_toml_root(doc), keys, K3_ARRAY_LEN(keys)));

		if (s && *s)
			return k3_xstrdup(s);
	}
	return NULL;
}

/* That of containerd 2 counts where both are, as the k3s of today has that. */
static void read_templates(const char *sysroot, struct host_k3s *k3s)
{
	static const char *const names[] = { "config-v3.toml.tmpl", "config.toml.tmpl" };

	for (size_t k = 0; k < K3_ARRAY_LEN(names) && k3s->runtime && !k3s->runtime_binary; k++) {
		K3_AUTO_FREE char *path = k3_xasprintf("%s/agent/etc/containerd/%s", k3s->data_dir,
						       names[k]);
		K3_AUTO_FREE char *text = host_text(sysroot, path, HOST_FILE_MAX);

		if (text)
			k3s->runtime_binary = host_parse_template(text, strlen(text), k3s->runtime);
	}
}

/* ---- their files ---------------------------------------------------------------------------- */

typedef int parse_fn(const void *text, size_t n, struct host *out, struct k3_err *e);

static int parse_kubelet(const void *text, size_t n, struct host *out, struct k3_err *e)
{
	return host_parse_kubelet(text, n, &out->kubelet, e);
}

static int parse_k3s(const void *text, size_t n, struct host *out, struct k3_err *e)
{
	return host_parse_k3s(text, n, &out->k3s, &out->kubelet, e);
}

/* Whether there is such a file; what is wrong with it is kept for whoever looks at kubelet. */
static bool read_one(const char *sysroot, const char *path, parse_fn *fn, struct host *out)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(HOST_FILE_MAX);
	struct k3_err why;

	if (k3_read_file(AT_FDCWD, path, &text, &why) && why.code == K3_NOTFOUND)
		return false;
	why.msg[0] = '\0';
	if ((!text.len || fn(text.p, text.len, out, &why)) && why.msg[0] && !out->kubelet.trouble)
		out->kubelet.trouble = k3_xasprintf("%s: %s", path + strlen(sysroot), why.msg);
	return true;
}

static void read_all(const char *sysroot, const char *pattern, parse_fn *fn, struct host *out)
{
	K3_AUTO_FREE char *full = host_path(sysroot, pattern);
	glob_t found = { 0 };

	if (!glob(full, 0, NULL, &found))
		for (size_t k = 0; k < found.gl_pathc; k++)
			(void)read_one(sysroot, found.gl_pathv[k], fn, out);
	globfree(&found);
}

static size_t count_files(const char *sysroot, const char *pattern)
{
	K3_AUTO_FREE char *full = host_path(sysroot, pattern);
	glob_t found = { 0 };
	size_t n = glob(full, 0, NULL, &found) ? 0 : found.gl_pathc;

	globfree(&found);
	return n;
}

static bool any_exists(const char *sysroot, const char *const *paths, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (host_exists(sysroot, paths[k]))
			return true;
	return false;
}

void host_read_k3s(const char *sysroot, struct host *out)
{
	static const char *const signs[] = { "/usr/local/bin/k3s", "/usr/bin/k3s", "/opt/bin/k3s",
					     "/var/lib/rancher/k3s", "/etc/rancher/k3s" };
	static const char *const agents[] = { "/etc/systemd/system/k3s-agent.service",
					      "/etc/init.d/k3s-agent" };
	static const char *const servers[] = { "/etc/systemd/system/k3s.service",
					       "/etc/init.d/k3s" };
	K3_AUTO_FREE char *config = host_path(sysroot, K3S_CONFIG);
	K3_AUTO_FREE char *server = NULL;
	K3_AUTO_FREE char *tar = NULL;

	out->k3s.data_dir = k3_xstrdup("/var/lib/rancher/k3s");
	out->k3s.installed = any_exists(sysroot, signs, K3_ARRAY_LEN(signs));
	if (!out->k3s.installed)
		return;
	(void)read_one(sysroot, config, parse_k3s, out);
	read_all(sysroot, K3S_CONFIG ".d/*.yaml", parse_k3s, out);
	read_templates(sysroot, &out->k3s);
	server = k3_xasprintf("%s/server", out->k3s.data_dir);
	out->k3s.agent = any_exists(sysroot, agents, K3_ARRAY_LEN(agents));
	out->k3s.server = any_exists(sysroot, servers, K3_ARRAY_LEN(servers)) ||
			  host_exists(sysroot, server);
	tar = k3_xasprintf("%s/agent/images/*.t*", out->k3s.data_dir);
	out->k3s.archives = count_files(sysroot, tar);
}

void host_read_kubelet(const char *sysroot, struct host *out)
{
	K3_AUTO_FREE char *config = host_path(sysroot, KUBELET_CONFIG);

	out->kubelet.present = read_one(sysroot, config, parse_kubelet, out);
	read_all(sysroot, "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/*.conf", parse_kubelet,
		 out);
}
