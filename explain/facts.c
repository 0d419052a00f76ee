/* SPDX-License-Identifier: Apache-2.0 */
/* One container: what the kubelet asks for, and what would run. */
#include "explain/facts.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "explain/users.h"

/* ---- the name ------------------------------------------------------------------------------- */

/* As it is written, in small letters up to the tag. */
static char *lower_name(const char *image)
{
	const char *slash = strrchr(image, '/');
	size_t n = slash ? (size_t)(slash - image) : 0;
	char *out = k3_xstrdup(image);

	n += strcspn(image + n, ":@");
	for (size_t k = 0; k < n; k++)
		out[k] = (char)tolower((unsigned char)out[k]);
	return out;
}

static void parse_name(struct explain_facts *f)
{
	struct k3_err why, ignored;
	struct oci_ref ref;

	if (!oci_ref_parse(f->pod->image.s, &f->ref, &why)) {
		f->name = oci_ref_name(&f->ref);
		return;
	}
	f->ref = (struct oci_ref){ 0 };
	f->ref_trouble = k3_xstrdup(why.msg);
	K3_AUTO_FREE char *lower = lower_name(f->pod->image.s);

	if (oci_ref_parse(lower, &ref, &ignored))
		return;
	oci_ref_release(&ref);
	f->lower = K3_STEAL(lower);
}

/* Kubernetes pkg/apis/core/v1/defaults.go: what is not said depends on the tag alone. */
static enum explain_policy policy_of(const struct explain_facts *f)
{
	const char *said = f->pod->pull_policy.s;

	if (!said || !*said)
		return f->ref.tag && !strcmp(f->ref.tag, "latest") ? EXPLAIN_ALWAYS
								   : EXPLAIN_IF_NOT_PRESENT;
	if (!strcmp(said, "Always"))
		return EXPLAIN_ALWAYS;
	if (!strcmp(said, "IfNotPresent"))
		return EXPLAIN_IF_NOT_PRESENT;
	return !strcmp(said, "Never") ? EXPLAIN_NEVER : EXPLAIN_NO_POLICY;
}

/* ---- the process ---------------------------------------------------------------------------- */

/* containerd oci.WithProcessArgs and CRI's WithProcessArgs: who says argv[0]. */
static void find_word(struct explain_facts *f)
{
	const struct oci_process *p = &f->image.process;
	const struct kube_words *command = &f->pod->command, *args = &f->pod->args;
	bool entrypoint = p->entrypoint.n && !(p->entrypoint.n == 1 && !*p->entrypoint.v[0]);

	if (command->n) {
		f->word = command->v[0].s;
		f->from_pod = true;
	} else if (entrypoint) {
		f->word = p->entrypoint.v[0];
	} else if (args->n) {
		f->word = args->v[0].s;
		f->from_args = true;
	} else if (p->command.n) {
		f->word = p->command.v[0];
	}
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n && dir[n - 1] == '/')
		n--;
	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}

/* A volume may bring what the tree lacks, also in any directory of PATH. */
static bool may_be_in_volume(const struct explain_facts *f, const char *path)
{
	for (size_t k = 0; k < f->pod->mounts.n; k++) {
		const char *mount = f->pod->mounts.v[k].s;

		bool relative = *f->word != '/' && strchr(f->word, '/');

		if (is_below(f->word, mount) || (relative && is_below(f->workdir, mount)))
			return true;
		for (const char *at = path; !strchr(f->word, '/');) {
			size_t n = strcspn(at, ":");
			K3_AUTO_FREE char *dir = k3_xstrndup(at, n);

			if (*dir && is_below(dir, mount))
				return true;
			if (!at[n])
				break;
			at += n + 1;
		}
	}
	return false;
}

static struct program_search search_of(const struct explain_facts *f, const char *word)
{
	const char *path = f->pod->path.line ? f->pod->path.s : f->image.process.path;

	return (struct program_search){
		.word = word,
		.path = path,
		.workdir = f->workdir,
		.arch = f->node->platform.arch,
		.user_known = f->uid_known,
		.uid = f->uid,
		.gid = f->gid,
	};
}

/* What could run instead: the same name elsewhere, what the image itself starts, a shell. */
static void find_alternative(struct explain_facts *f, struct k3_root *root)
{
	static const char *const dirs[] = {
		"/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin",
		"/app",           "/opt/bin",        ""
	};
	static const char *const shells[] = { "/bin/sh", "/bin/bash", "/busybox/sh",
					      "/bin/busybox" };
	const struct oci_words *own = &f->image.process.entrypoint;
	const char *slash = strrchr(f->word, '/'), *base = slash ? slash + 1 : f->word;

	for (size_t k = 0; k <= K3_ARRAY_LEN(dirs) + K3_ARRAY_LEN(shells); k++) {
		__attribute__((cleanup(program_release))) struct program p = { 0 };
		K3_AUTO_FREE char *at = NULL;
		size_t shell = k - K3_ARRAY_LEN(dirs) - 1;

		if (k < K3_ARRAY_LEN(dirs))
			at = k3_xasprintf("%s/%s", dirs[k], base);
		else if (k == K3_ARRAY_LEN(dirs))
			at = k3_xstrdup(f->from_pod && own->n ? own->v[0] : "/");
		else
			at = k3_xstrdup(shells[shell]);
		struct program_search s = search_of(f, at);

		/* It is to be written into a manifest and a shell's command. */
		if (!strcmp(at, f->word) || !*at || strpbrk(at, "\"\\\r\n"))
			continue;
		program_find(root, &s, &p);
		if (p.state != PROGRAM_OK)
			continue;
		f->alternative = K3_STEAL(at);
		return;
	}
}

static void look_at_program(struct explain_facts *f, struct k3_root *root)
{
	struct program_search s = search_of(f, f->word ? f->word : "");
	bool elsewhere = f->pod->path.line && !f->pod->path.s;
	/* The kubelet puts variables in; what they are is not all in the manifest. */
	bool variable = ((f->from_pod || f->from_args) && f->word && strstr(f->word, "$(")) ||
			(s.path && f->pod->path.line && strstr(s.path, "$("));

	if (!f->word || elsewhere || variable)
		return;
	f->in_volume = may_be_in_volume(f, s.path ? s.path : PROGRAM_PATH);
	if (f->in_volume)
		return;
	program_find(root, &s, &f->program);
	if (f->program.state > PROGRAM_OK)
		find_alternative(f, root);
}

static void look_at_workdir(struct explain_facts *f, struct k3_root *root)
{
	__attribute__((cleanup(tree_file_release))) struct tree_file at = { .fd = -1 };
	struct k3_err why;

	for (size_t k = 0; k < f->pod->mounts.n; k++)
		if (is_below(f->workdir, f->pod->mounts.v[k].s))
			return;
	/* What is not there is made. */
	if (tree_find(root, f->workdir, &at, &why))
		f->workdir_file = why.code == K3_FORMAT || why.code == K3_UNSAFE;
	else
		f->workdir_file = !S_ISDIR(at.st.st_mode);
}

/* ---- the user ------------------------------------------------------------------------------- */

/* Whether a file of the tree has the name; a number needs none. */
static bool find_id(struct k3_root *root, const char *file, const char *name, uint32_t *id,
		    uint32_t *group)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(USERS_FILE_MAX);
	struct k3_err why;
	bool number = users_number(name, id);
	uint32_t ignored;

	if (tree_read(root, file, &text, &why))
		return number;
	return users_find((const char *)text.p, text.len, name, number ? &ignored : id, group) ||
	       number;
}

static void look_at_user(struct explain_facts *f, struct k3_root *root)
{
	size_t n = strcspn(f->user, ":");
	K3_AUTO_FREE char *name = k3_xstrndup(f->user, n);
	const char *group = f->user[n] ? f->user + n + 1 : "";
	uint32_t ignored;

	f->user_looked_up = true;
	f->user_found = !*name || find_id(root, "etc/passwd", name, &f->uid, &f->gid);
	f->group_found = !*group || find_id(root, "etc/group", group, &f->gid, &ignored);
	f->uid_known = f->user_found;
}

static void find_user(struct explain_facts *f)
{
	size_t n;

	f->user = f->pod->user.s ? f->pod->user.s : f->image.process.user;
	if (!f->user)
		f->user = "";
	n = strcspn(f->user, ":");
	K3_AUTO_FREE char *name = k3_xstrndup(f->user, n);

	f->user_numeric = !*name || users_number(name, &f->uid);
	f->uid_known = f->user_numeric;
}

/* ---- together ------------------------------------------------------------------------------- */

static int look_at_tree(struct explain_facts *f)
{
	K3_AUTO_FD int fd = -1;
	struct k3_root root = { 0 };
	struct k3_err why;

	if (k3_open_dir(AT_FDCWD, f->image.tree, &fd, &why)) {
		f->image.unpacked = false;
		free(f->image.snapshot_trouble);
		f->image.snapshot_trouble = k3_xstrdup(why.msg);
		return 0;
	}
	root.fd = fd;
	look_at_user(f, &root);
	look_at_workdir(f, &root);
	look_at_program(f, &root);
	return 0;
}

int explain_facts_gather(const struct explain_node *n, const struct kube_container *pod,
			 const struct explain_subject *s, struct explain_facts *out,
			 struct k3_err *e)
{
	*out = (struct explain_facts){ .node = n, .pod = pod, .manifest = !s->image };
	out->file = s->file;
	out->text = s->text;
	out->text_len = s->n;
	parse_name(out);
	out->policy = policy_of(out);
	if (out->name && explain_image_find(n, &out->ref, out->name, &out->image, e)) {
		explain_facts_release(out);
		return -1;
	}
	find_user(out);
	find_word(out);
	out->workdir = pod->workdir.s ? pod->workdir.s : out->image.process.workdir;
	if (!out->workdir)
		out->workdir = "";
	if (out->image.tree && pod->role != KUBE_VOLUME)
		return look_at_tree(out);
	return 0;
}

void explain_facts_release(struct explain_facts *f)
{
	free(f->ref_trouble);
	free(f->lower);
	oci_ref_release(&f->ref);
	free(f->name);
	explain_image_release(&f->image);
	program_release(&f->program);
	free(f->alternative);
	*f = (struct explain_facts){ 0 };
}
