/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "registry/hosts_toml.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

static int not_hidden(const struct dirent *d)
{
	return ends_with(d->d_name, ".crt") || ends_with(d->d_name, ".cert");
}

static void add_pair(struct registry_endpoint *ep, const char *dir, const char *name)
{
	K3_AUTO_FREE char *key = k3_xasprintf("%s/%.*s.key", dir,
					      (int)(strlen(name) - strlen(".cert")), name);

	ep->cert = path_below(dir, name);
	/* without one, the key is in the same file */
	if (!access(key, F_OK))
		ep->key = K3_STEAL(key);
}

/* *.crt to trust, *.cert with *.key to show: docker's layout, which containerd reads too. */
static int read_certificates(const char *dir, const struct reader *r, struct registry_host *h)
{
	struct registry_endpoint *ep = endpoint_add_own(h);
	struct dirent **names = NULL;
	int n = scandir(dir, &names, not_hidden, alphasort), rc = 0;

	if (n < 0)
		return k3_fail_sys(r->e, errno, "%s", dir);
	from_set(&ep->from, dir, 0, NULL);
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (rc)
			;
		else if (ends_with(name, ".crt"))
			rc = list_add(&ep->ca, path_below(dir, name), r->e);
		else if (!ep->cert)
			add_pair(ep, dir, name);
		else
			reader_warn(r, 0, "only the first client certificate is used, not \"%s\"",
				    name);
		if (!rc && !ep->tls_from.file)
			from_set(&ep->tls_from, dir, 0, NULL);
		free(names[i]);
	}
	free(names);
	return rc;
}

static int read_dir(const char *dir, struct registry_list *warnings, struct registry_host *h,
		    struct k3_err *e)
{
	K3_AUTO_FREE char *file = k3_xasprintf("%s/hosts.toml", dir);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(REGISTRY_FILE_MAX);
	struct reader r = { .file = file, .warnings = warnings, .e = e };

	if (k3_read_file(AT_FDCWD, file, &text, e) && e->code != K3_NOTFOUND)
		return -1;
	if (text.len)
		return hosts_toml_parse(text.p, text.len, &r, dir, h);
	r.file = dir;
	return read_certificates(dir, &r, h);
}

static bool is_dir(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* containerd's names of a host with a port: "host_port_" comes before "host:port". */
static char *find_dir(const char *root, const char *host)
{
	const char *colon = strrchr(host, ':');
	char *dir;

	if (colon && colon > host) {
		dir = k3_xasprintf("%s/%.*s_%s_", root, (int)(colon - host), host, colon + 1);
		if (is_dir(dir))
			return dir;
		free(dir);
	}
	dir = k3_xasprintf("%s/%s", root, host);
	if (is_dir(dir))
		return dir;
	free(dir);
	return NULL;
}

int certs_dir_find(const char *root, bool any, struct registry_list *warnings,
		   struct registry_host *h, bool *found, struct k3_err *e)
{
	K3_AUTO_FREE char *dir = find_dir(root, any ? "_default" : h->name);

	*found = dir != NULL;
	return dir ? read_dir(dir, warnings, h, e) : 0;
}
