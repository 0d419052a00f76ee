/* SPDX-License-Identifier: Apache-2.0 */
#include "explain/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* What one line says: names and a message of ours fit; longer texts of images are cut. */
#define TEXT_MAX 2048

const char *explain_state_name(enum explain_state s)
{
	static const char *const names[] = { "ok", "note", "warns", "stops" };

	return names[s];
}

void explain_say(struct explain_finding *out, enum explain_state state, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(out->text);
	out->text = k3_xvasprintf(TEXT_MAX, fmt, ap);
	out->state = state;
	va_end(ap);
}

void explain_run_this(struct explain_finding *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(out->fix);
	out->fix = k3_xvasprintf(TEXT_MAX, fmt, ap);
	va_end(ap);
}

void explain_finding_release(struct explain_finding *f)
{
	free(f->text);
	free(f->fix);
	*f = (struct explain_finding){ 0 };
}

/* A text for sed's s|…|…|, as pattern or as what comes in its place. */
static char *sed_quote(const char *text, bool pattern)
{
	char *out = k3_xcalloc(2 * strlen(text) + 1, 1), *to = out;

	for (; *text; text++) {
		if (strchr(pattern ? "\\|.*[]^$" : "\\|&", *text))
			*to++ = '\\';
		*to++ = *text;
	}
	return out;
}

/* ---- the store ------------------------------------------------------------------------------ */

void explain_fix_store(const struct explain_facts *f, struct explain_finding *out,
		       const char *command, const char *words, const char *image)
{
	K3_AUTO_FREE char *root = doctor_quote(f->node->d.root);
	K3_AUTO_FREE char *name = doctor_quote(image);
	/* Of another root nothing but its own configuration tells the pause image. */
	bool pause = !strcmp(command, "preload") && !f->node->default_root;

	explain_run_this(out, "k3simg %s%s%s%s%s %s", command,
			 f->node->default_root ? "" : " --root ", f->node->default_root ? "" : root,
			 pause ? " --pause none" : "", words, name);
}

void explain_fix_stored(const struct explain_facts *f, struct explain_finding *out)
{
	K3_AUTO_FREE char *name = oci_ref_with_digest(&f->ref, &f->image.target.digest);

	explain_fix_store(f, out, "preload", "", name);
}

void explain_fix_setup(const struct explain_facts *f, struct explain_finding *out)
{
	const struct doctor_facts *d = &f->node->d;
	K3_AUTO_FREE char *root = doctor_quote(d->root);
	K3_AUTO_FREE char *prefix = doctor_quote(d->sysroot);

	explain_run_this(out, "k3simg setup%s%s%s%s", *d->sysroot ? " --prefix " : "",
			 *d->sysroot ? prefix : "", f->node->default_root ? "" : " --root ",
			 f->node->default_root ? "" : root);
}

void explain_fix_snapshotter(const struct explain_facts *f, struct explain_finding *out)
{
	const struct imp_config *c = &f->node->d.config;
	K3_AUTO_FREE char *file = doctor_quote(c->file ? c->file : "");

	/* setup writes files of its own, and leaves alone what others have written. */
	if (c->kind == IMP_ROOT_K3S || !c->snapshotter || c->nfiles != 1) {
		explain_fix_setup(f, out);
		return;
	}
	K3_AUTO_FREE char *old = sed_quote(c->snapshotter, true);
	K3_AUTO_FREE char *script = k3_xasprintf(
		"s|\\(snapshotter *= *\\)[\"']%s[\"']|\\1\"" IMP_SNAPSHOTTER "\"|", old);
	K3_AUTO_FREE char *quoted = doctor_quote(script);

	explain_run_this(out, "sed -i %s %s", quoted, file);
}

/* ---- the manifest --------------------------------------------------------------------------- */

/* A line of the manifest, from 1; *n its length; NULL = there is none. */
static const char *find_line(const struct explain_facts *f, unsigned line, size_t *n)
{
	const char *at = f->text, *end = f->text + f->text_len;

	if (!f->text || !line)
		return NULL;
	while (--line) {
		at = memchr(at, '\n', (size_t)(end - at));
		if (!at)
			return NULL;
		at++;
	}
	const char *stop = memchr(at, '\n', (size_t)(end - at));

	*n = (size_t)((stop ? stop : end) - at);
	return at;
}

static void sed(const struct explain_facts *f, struct explain_finding *out, const char *script)
{
	K3_AUTO_FREE char *quoted = doctor_quote(script);
	K3_AUTO_FREE char *file = f->file ? doctor_quote(f->file) : NULL;

	if (file)
		explain_run_this(out, "sed -i %s %s", quoted, file);
	else
		explain_run_this(out, "sed %s", quoted);
}

static void edit(const struct explain_facts *f, struct explain_finding *out, unsigned line)
{
	K3_AUTO_FREE char *file = doctor_quote(f->file ? f->file : "MANIFEST");

	explain_run_this(out, "${EDITOR:-vi} +%u %s", line, file);
}

void explain_fix_replace(const struct explain_facts *f, struct explain_finding *out, unsigned line,
			 const char *old, const char *text, bool bare)
{
	size_t n = 0;
	const char *at = find_line(f, line, &n);

	if (!at || !*old || strchr(old, '\n') || !memmem(at, n, old, strlen(old))) {
		edit(f, out, line);
		return;
	}
	const char *quotes = bare ? "[\"']\\{0,1\\}" : "";
	K3_AUTO_FREE char *from = sed_quote(old, true);
	K3_AUTO_FREE char *to = sed_quote(text, false);
	K3_AUTO_FREE char *script = k3_xasprintf("%us|%s%s%s|%s|", line, quotes, from, quotes, to);

	sed(f, out, script);
}

/* Blanks and dashes in front of the first key of a line, or -1: its mapping is in one line. */
static int indentation(const char *line, size_t n, const char *key)
{
	size_t k = 0;

	while (k < n && (line[k] == ' ' || line[k] == '-'))
		k++;
	return k + strlen(key) < n && !strncmp(line + k, key, strlen(key)) &&
			       line[k + strlen(key)] == ':'
		       ? (int)k
		       : -1;
}

/* A name for a pod: the last part of the repository, in the characters that DNS takes. */
static char *pod_name(const struct explain_facts *f)
{
	const char *slash = f->ref.repo ? strrchr(f->ref.repo, '/') : NULL;
	char *name = k3_xstrdup(f->ref.repo ? (slash ? slash + 1 : f->ref.repo) : "pod");

	for (char *p = name; *p; p++)
		if (*p == '_' || *p == '.')
			*p = '-';
	return name;
}

static void kubectl_run(const struct explain_facts *f, struct explain_finding *out, const char *key,
			const char *json)
{
	K3_AUTO_FREE char *name = pod_name(f);
	K3_AUTO_FREE char *image = doctor_quote(f->pod->image.s);
	K3_AUTO_FREE char *over = k3_xasprintf(
		"{\"spec\":{\"containers\":[{\"name\":\"%s\",\"image\":\"%s\",\"%s\":%s}]}}", name,
		f->name ? f->pod->image.s : "", key, json);
	K3_AUTO_FREE char *quoted = doctor_quote(over);

	explain_run_this(out, "kubectl run %s --image=%s --overrides=%s", name, image, quoted);
}

void explain_fix_member(const struct explain_facts *f, struct explain_finding *out, const char *key,
			const char *json)
{
	const struct kube_text *image = &f->pod->image;
	size_t n = 0;
	const char *at = find_line(f, image->line, &n);
	int blanks;

	if (!f->manifest) {
		kubectl_run(f, out, key, json);
		return;
	}
	/* Of an image volume the reference is the sibling. */
	blanks = at ? indentation(at, n, f->pod->role == KUBE_VOLUME ? "reference" : "image") : -1;
	K3_AUTO_FREE char *script = blanks >= 0 ? k3_xasprintf("%ua\\%*s%s: %s", image->line,
							       blanks, "", key, json)
						: NULL;

	if (script) {
		sed(f, out, script);
		return;
	}
	K3_AUTO_FREE char *old = sed_quote(image->s, true);
	K3_AUTO_FREE char *added = k3_xasprintf("\"%s\": %s", key, json);
	K3_AUTO_FREE char *quoted = sed_quote(added, false);
	K3_AUTO_FREE char *flow = k3_xasprintf("%us|[\"']\\{0,1\\}%s[\"']\\{0,1\\}|&, %s|",
					       image->line, old, quoted);

	if (at && memmem(at, n, image->s, strlen(image->s)))
		sed(f, out, flow);
	else
		edit(f, out, image->line);
}

void explain_fix_user(const struct explain_facts *f, struct explain_finding *out, uint32_t uid)
{
	const struct kube_container *c = f->pod;
	K3_AUTO_FREE char *number = k3_xasprintf("%u", uid);
	K3_AUTO_FREE char *json = k3_xasprintf("{\"runAsUser\": %u}", uid);
	size_t n = 0, blanks = 0;
	const char *at = find_line(f, c->security_line, &n);

	if (c->user.s) {
		explain_fix_replace(f, out, c->user.line, c->user.s, number, false);
		return;
	}
	if (!at) {
		explain_fix_member(f, out, "securityContext", json);
		return;
	}
	while (blanks < n && at[blanks] == ' ')
		blanks++;
	K3_AUTO_FREE char *script =
		memchr(at, '{', n)
			? k3_xasprintf(
				  "%us|securityContext[\"']\\{0,1\\}: *{|&\"runAsUser\": %u, |",
				  c->security_line, uid)
			: k3_xasprintf("%ui\\%*srunAsUser: %u", c->security_line, (int)blanks, "",
				       uid);

	sed(f, out, script);
}

void explain_fix_program(const struct explain_facts *f, struct explain_finding *out)
{
	K3_AUTO_FREE char *json = NULL;

	if (!f->alternative) {
		explain_fix_store(f, out, "repair", "", f->name);
	} else if (f->from_pod) {
		explain_fix_replace(f, out, f->pod->command.v[0].line, f->word, f->alternative,
				    false);
	} else {
		json = k3_xasprintf("[\"%s\"]", f->alternative);
		explain_fix_member(f, out, "command", json);
	}
}
