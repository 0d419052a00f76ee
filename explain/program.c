/* SPDX-License-Identifier: Apache-2.0 */
#include "explain/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "explain/elf.h"

#define SCRIPTS_MAX 5u /* of scripts whose interpreters are scripts (fs/exec.c, exec_binprm) */

#define AUTO_FILE __attribute__((cleanup(tree_file_release)))

/* ---- one file ------------------------------------------------------------------------------- */

/*
 * The superuser needs any x bit; of the others' bits the first that fits decides.  Which groups a
 * process has besides its own is not all known here, so that any but root's may be one of them.
 */
static bool may_execute(const struct stat *st, const struct program_search *s)
{
	bool own_group = st->st_gid == s->gid;

	if (!(st->st_mode & 0111))
		return false;
	if (!s->user_known || !s->uid)
		return true;
	if (st->st_uid == s->uid)
		return st->st_mode & 0100;
	if (own_group)
		return st->st_mode & 0010;
	return st->st_mode & (st->st_gid ? 0011 : 0001);
}

static size_t read_head(int fd, uint8_t *head, size_t size)
{
	size_t n = 0;
	ssize_t got;

	while (fd >= 0 && n < size && (got = pread(fd, head + n, size - n, (off_t)n)) > 0)
		n += (size_t)got;
	return n;
}

static enum program_state find_file(struct k3_root *root, const char *path,
				    const struct program_search *s, struct tree_file *out)
{
	struct k3_err why;

	if (tree_find(root, path, out, &why))
		return PROGRAM_MISSING;
	if (!S_ISREG(out->st.st_mode))
		return PROGRAM_NO_FILE;
	return may_execute(&out->st, s) ? PROGRAM_OK : PROGRAM_NO_PERMISSION;
}

/* ---- what it is built of -------------------------------------------------------------------- */

static enum program_state check_loader(struct k3_root *root, const struct program_search *s,
				       const struct elf *program, struct program *out)
{
	K3_AUTO_FREE uint8_t *head = k3_xcalloc(1, ELF_HEAD_MAX);
	AUTO_FILE struct tree_file f = { .fd = -1 };
	struct elf loader;

	if (!program->loader[0])
		return PROGRAM_OK;
	free(out->other);
	out->other = k3_xstrdup(program->loader);
	if (find_file(root, program->loader, s, &f) != PROGRAM_OK)
		return PROGRAM_NO_LOADER;
	if (f.fd < 0)
		return PROGRAM_OK;
	if (!elf_read(head, read_head(f.fd, head, ELF_HEAD_MAX), (uint64_t)f.st.st_size, &loader))
		return PROGRAM_NO_LOADER;
	if (loader.machine == program->machine && loader.wide == program->wide)
		return PROGRAM_OK;
	elf_machine_name(loader.machine, out->machine);
	return PROGRAM_FOREIGN_LOADER;
}

static enum program_state check_elf(struct k3_root *root, const struct program_search *s,
				    const struct elf *f, struct program *out)
{
	if (elf_fits(f, s->arch) == ELF_FOREIGN) {
		elf_machine_name(f->machine, out->machine);
		return PROGRAM_FOREIGN;
	}
	return f->known ? check_loader(root, s, f, out) : PROGRAM_OK;
}

static bool find_in_path(struct k3_root *root, const struct program_search *s,
			 struct tree_file *out, enum program_state *state);

/* "#!/usr/bin/env python3": env itself looks for it, and ends with 127 when it is not there. */
static bool env_finds(struct k3_root *root, const struct program_search *s,
		      const struct elf_script *script, struct program *out)
{
	const char *slash = strrchr(script->program, '/');
	struct program_search inner = *s;
	enum program_state state;
	AUTO_FILE struct tree_file f = { .fd = -1 };

	if (strcmp(slash ? slash + 1 : script->program, "env") != 0 || !script->argument[0] ||
	    strpbrk(script->argument, "-= \t/"))
		return true;
	inner.word = script->argument;
	if (find_in_path(root, &inner, &f, &state))
		return true;
	free(out->other);
	out->other = k3_xstrdup(script->argument);
	return false;
}

/* *file is a file that may be executed; a script gives way to its interpreter. */
static enum program_state check_format(struct k3_root *root, const struct program_search *s,
				       struct tree_file *file, struct program *out)
{
	K3_AUTO_FREE uint8_t *head = k3_xcalloc(1, ELF_HEAD_MAX);
	struct elf_script script;
	struct elf elf;

	for (unsigned depth = 0; depth <= SCRIPTS_MAX; depth++) {
		size_t n = read_head(file->fd, head, ELF_HEAD_MAX);

		/* We may not read it; the kernel does. */
		if (file->fd < 0)
			return PROGRAM_OK;
		if (elf_read(head, n, (uint64_t)file->st.st_size, &elf)) {
			enum program_state is = check_elf(root, s, &elf, out);

			return depth && is == PROGRAM_FOREIGN ? PROGRAM_NO_INTERPRETER : is;
		}
		if (!elf_read_script(head, n, &script))
			return depth ? PROGRAM_NO_INTERPRETER : PROGRAM_NO_FORMAT;
		free(out->other);
		out->other = k3_xstrdup(script.program);
		size_t end = strlen(script.argument[0] ? script.argument : script.program);

		out->carriage = (script.argument[0] ? script.argument : script.program)[end - 1] ==
				'\r';
		tree_file_release(file);
		if (find_file(root, script.program, s, file) != PROGRAM_OK ||
		    !env_finds(root, s, &script, out))
			return PROGRAM_NO_INTERPRETER;
	}
	return PROGRAM_NO_INTERPRETER;
}

/* ---- where it is ---------------------------------------------------------------------------- */

/* Any program of the name that may be executed; else *state tells of the last that is there. */
static bool find_in_path(struct k3_root *root, const struct program_search *s,
			 struct tree_file *out, enum program_state *state)
{
	const char *path = s->path ? s->path : PROGRAM_PATH;

	*state = PROGRAM_MISSING;
	for (;;) {
		size_t n = strcspn(path, ":");
		bool here = !n || *path != '/'; /* relative: to the working directory */
		K3_AUTO_FREE char *at = k3_xasprintf("%s/%.*s/%s", here ? s->workdir : "", (int)n,
						     path, s->word);
		enum program_state is;

		tree_file_release(out);
		is = find_file(root, at, s, out);
		if (is == PROGRAM_OK)
			return true;
		if (is != PROGRAM_MISSING)
			*state = is;
		if (!path[n])
			return false;
		path += n + 1;
	}
}

static enum program_state find(struct k3_root *root, const struct program_search *s,
			       struct tree_file *out)
{
	enum program_state state = PROGRAM_OK;

	if (!*s->word)
		return PROGRAM_MISSING;
	if (!strchr(s->word, '/'))
		return find_in_path(root, s, out, &state) ? PROGRAM_OK : state;
	K3_AUTO_FREE char *at = *s->word == '/' ? k3_xstrdup(s->word)
						: k3_xasprintf("%s/%s", s->workdir, s->word);

	return find_file(root, at, s, out);
}

void program_find(struct k3_root *root, const struct program_search *s, struct program *out)
{
	AUTO_FILE struct tree_file f = { .fd = -1 };

	*out = (struct program){ .state = find(root, s, &f) };
	out->path = f.path ? k3_xstrdup(f.path) : NULL;
	if (out->state == PROGRAM_OK)
		out->state = check_format(root, s, &f, out);
	if (out->state == PROGRAM_OK) {
		free(out->other);
		out->other = NULL;
	}
}

void program_release(struct program *p)
{
	free(p->path);
	free(p->other);
	*p = (struct program){ 0 };
}
