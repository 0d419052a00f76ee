/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "host/parse.h"

#define PLUGINS_MAX 64u /* of one list: real ones have two to five */

static void add_plugin(struct host_cni *out, const struct k3_json *plugin)
{
	const char *type = k3_json_str(k3_json_get(plugin, "type"));

	if (out->trouble)
		return;
	if (!type || !*type || strchr(type, '/')) {
		out->trouble = k3_xstrdup("a plugin in it has no \"type\"");
		return;
	}
	out->plugins[out->nplugins++] = k3_xstrdup(type);
}

void host_parse_cni(const void *text, size_t n, bool list, struct host_cni *out)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const struct k3_json *root, *plugins;
	const char *name;
	struct k3_err why;

	if (k3_json_parse(text, n, &doc, &why)) {
		out->trouble = k3_xstrdup(why.msg);
		return;
	}
	root = k3_json_root(doc);
	name = k3_json_str(k3_json_get(root, "name"));
	if (!name || !*name) {
		out->trouble = k3_xstrdup("it has no \"name\"");
		return;
	}
	out->name = k3_xstrdup(name);
	plugins = k3_json_get(root, "plugins");
	if (list && (!k3_json_len(plugins) || k3_json_len(plugins) > PLUGINS_MAX)) {
		out->trouble = k3_xasprintf("it has no \"plugins\", or more than %u", PLUGINS_MAX);
		return;
	}
	out->plugins = k3_xcalloc(PLUGINS_MAX, sizeof(char *));
	if (!list)
		add_plugin(out, root);
	for (size_t k = 0; list && k < k3_json_len(plugins); k++)
		add_plugin(out, k3_json_at(plugins, k));
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && !strcmp(name + n - m, end);
}

/* containerd's go-cni takes these, in the order of their names, and of them the first one. */
static char *first_file(const char *dir)
{
	DIR *d = opendir(dir);
	char *first = NULL;

	if (!d)
		return NULL;
	for (struct dirent *ent; (ent = readdir(d));) {
		const char *name = ent->d_name;

		if (!ends_in(name, ".conf") && !ends_in(name, ".conflist") &&
		    !ends_in(name, ".json"))
			continue;
		if (first && strcmp(name, first) >= 0)
			continue;
		free(first);
		first = k3_xstrdup(name);
	}
	closedir(d);
	return first;
}

int host_read_cni(const char *sysroot, const char *conf_dir, struct host_cni *out, struct k3_err *e)
{
	K3_AUTO_FREE char *dir = host_path(sysroot, conf_dir);
	K3_AUTO_FREE char *name = first_file(dir);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(HOST_FILE_MAX);
	K3_AUTO_FREE char *full = NULL;
	struct k3_err why;

	*out = (struct host_cni){ 0 };
	if (!name)
		return 0;
	out->file = k3_xasprintf("%s/%s", conf_dir, name);
	full = host_path(sysroot, out->file);
	if (k3_read_file(AT_FDCWD, full, &text, &why)) {
		if (why.code == K3_NOMEM) {
			*e = why;
			host_cni_release(out);
			return -1;
		}
		out->trouble = k3_xstrdup(why.msg);
		return 0;
	}
	host_parse_cni(text.p ? text.p : (const uint8_t *)"", text.len, ends_in(name, ".conflist"),
		       out);
	return 0;
}

void host_cni_release(struct host_cni *c)
{
	free(c->file);
	free(c->trouble);
	free(c->name);
	for (size_t k = 0; k < c->nplugins; k++)
		free(c->plugins[k]);
	free(c->plugins);
	*c = (struct host_cni){ 0 };
}
