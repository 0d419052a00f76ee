/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define TEXT_MAX 2048 /* what one line says: paths and a message of ours fit */

void doctor_say(struct doctor_finding *out, enum doctor_state state, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(out->text);
	out->text = k3_xvasprintf(TEXT_MAX, fmt, ap);
	out->state = state;
	va_end(ap);
}

void doctor_run(struct doctor_finding *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(out->fix.command);
	out->fix.command = k3_xvasprintf(TEXT_MAX, fmt, ap);
	va_end(ap);
}

void doctor_write(struct doctor_finding *out, char *file, const char *section, const char *lines)
{
	out->fix.file = file;
	out->fix.section = section ? k3_xstrdup(section) : NULL;
	out->fix.lines = k3_xstrdup(lines);
}

/* k3s writes its configuration anew at each start, from a template if there is one. */
static char *template_of(const struct doctor_facts *f)
{
	const char *name = f->config.cri.version == 2 ? "config.toml.tmpl" : "config-v3.toml.tmpl";

	return k3_xasprintf("%.*s/etc/containerd/%s",
			    (int)(strlen(f->root) - strlen("/containerd")), f->root, name);
}

void doctor_configure(const struct doctor_facts *f, struct doctor_finding *out, const char *section,
		      const char *lines)
{
	bool k3s = f->config.kind == IMP_ROOT_K3S && !f->config_elsewhere;

	doctor_write(out, k3s ? template_of(f) : k3_xstrdup(f->config_file), section, lines);
	if (!access(out->fix.file, F_OK))
		return;
	/* Version 2 is read by containerd 1.x and 2.x. */
	out->fix.head = k3_xstrdup(k3s ? "{{ template \"base\" . }}" : "version = 2");
}

char *doctor_section(const struct doctor_facts *f, bool images, const char *table)
{
	int version = f->config.cri.version;
	const char *plugin = "io.containerd.grpc.v1.cri";

	/* A template of k3s without a rendered file: new ones have version 3. */
	if (version >= 3 || (!version && f->config.kind == IMP_ROOT_K3S))
		plugin = images ? "io.containerd.cri.v1.images" : "io.containerd.cri.v1.runtime";
	else if (version == 1)
		plugin = "cri";
	return k3_xasprintf("[plugins.'%s'%s%s]", plugin, *table ? "." : "", table);
}

const char *doctor_inside(const struct doctor_facts *f, const char *path)
{
	size_t n = strlen(f->sysroot);

	return n && !strncmp(path, f->sysroot, n) && path[n] == '/' ? path + n : path;
}

const struct host_mount *doctor_disk_mount(const struct doctor_facts *f)
{
	K3_AUTO_FREE char *real = realpath(f->disk, NULL);

	return host_mount_of(&f->host, doctor_inside(f, real ? real : f->disk));
}

char *doctor_quote(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-+./:@=,";
	char *out, *to;

	if (*word && !word[strspn(word, plain)])
		return k3_xstrdup(word);
	out = to = k3_xcalloc(4 * strlen(word) + 3, 1);
	*to++ = '\'';
	for (; *word; word++) {
		if (*word == '\'') {
			memcpy(to, "'\\''", 4);
			to += 4;
		} else {
			*to++ = *word;
		}
	}
	*to = '\'';
	return out;
}

const char *doctor_state_name(enum doctor_state s)
{
	static const char *const names[] = { "ok", "skipped", "note", "warning", "error" };

	return names[s];
}

void doctor_finding_release(struct doctor_finding *f)
{
	free(f->text);
	free(f->fix.command);
	free(f->fix.file);
	free(f->fix.section);
	free(f->fix.lines);
	free(f->fix.head);
	*f = (struct doctor_finding){ 0 };
}
