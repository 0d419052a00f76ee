/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "setup/files.h"
#include "setup/setup.h"

/* ---- arguments ------------------------------------------------------------------------------ */

/* Global options of runc and crun that have a value. */
static const char *const valued[] = { "root", "log",      "log-format",    "log-level",
				      "criu", "rootless", "cgroup-manager" };

static bool takes_value(const char *name)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(valued); i++)
		if (!strcmp(name, valued[i]))
			return true;
	return false;
}

/* The value of --name VALUE or --name=VALUE at argv[*i], which goes on to its last word. */
static const char *value_of(const char *name, int argc, char *const *argv, int *i)
{
	const char *word = argv[*i];
	size_t len = strlen(name);

	if (word[0] != '-')
		return NULL;
	word += word[1] == '-' ? 2 : 1;
	if (!strncmp(word, name, len) && word[len] == '=')
		return word + len + 1;
	if (strcmp(word, name) != 0 || *i + 1 >= argc)
		return NULL;
	return argv[++*i];
}

static bool makes_container(const char *command)
{
	return !strcmp(command, "create") || !strcmp(command, "run") || !strcmp(command, "restore");
}

static void find_bundle(int argc, char *const *argv, int i, struct setup_runtime_args *out)
{
	out->bundle = ".";
	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *v = value_of("bundle", argc, argv, &i);

		if (!v)
			v = value_of("b", argc, argv, &i);
		if (v)
			out->bundle = v;
	}
}

static bool is_kill(const char *signal)
{
	return !strcmp(signal, "9") || !strcmp(signal, "KILL") || !strcmp(signal, "SIGKILL");
}

/* kill [-a] ID 9, or delete -f ID: none of their options has a value. */
static const char *find_victim(int argc, char *const *argv, int i, bool deletes)
{
	const char *words[2] = { NULL, NULL };
	bool force = false;
	size_t n = 0;

	for (; i < argc; i++) {
		if (argv[i][0] != '-' && n < K3_ARRAY_LEN(words))
			words[n++] = argv[i];
		force = force || !strcmp(argv[i], "-f") || !strcmp(argv[i], "--force");
	}
	if (deletes)
		return force ? words[0] : NULL;
	return n == 2 && is_kill(words[1]) ? words[0] : NULL;
}

void setup_runtime_args(int argc, char *const *argv, struct setup_runtime_args *out)
{
	int i = 0;

	*out = (struct setup_runtime_args){ 0 };
	for (; i < argc && argv[i][0] == '-'; i++) {
		const char *name = argv[i] + 1 + (argv[i][1] == '-');
		const char *log = value_of("log", argc, argv, &i);
		const char *root = log ? NULL : value_of("root", argc, argv, &i);

		if (log)
			out->log = log;
		else if (root)
			out->root = root;
		else if (takes_value(name))
			i++;
	}
	if (i >= argc)
		return;
	out->command = argv[i];
	if (makes_container(out->command))
		find_bundle(argc, argv, i + 1, out);
	else if (!strcmp(out->command, "kill") || !strcmp(out->command, "delete"))
		out->victim = find_victim(argc, argv, i + 1, out->command[0] == 'd');
}

/* ---- the program ----------------------------------------------------------------------------- */

static bool can_execute(const char *path)
{
	struct stat st, self;

	if (stat(path, &st) || !S_ISREG(st.st_mode) || access(path, X_OK))
		return false;
	return stat("/proc/self/exe", &self) || st.st_dev != self.st_dev ||
	       st.st_ino != self.st_ino;
}

static char *search(const char *name, const char *path)
{
	for (const char *at = path ? path : ""; *at; at += strspn(at, ":")) {
		size_t len = strcspn(at, ":");
		K3_AUTO_FREE char *full = k3_xasprintf("%.*s/%s", (int)len, at, name);

		at += len;
		if (len && can_execute(full))
			return K3_STEAL(full);
	}
	return NULL;
}

static int take(const char *name, const char *from, const char *path, char **out, struct k3_err *e)
{
	if (strchr(name, '/'))
		*out = can_execute(name) ? k3_xstrdup(name) : NULL;
	else
		*out = search(name, path);
	if (*out)
		return 0;
	k3_fail(e, K3_NOTFOUND, "OCI runtime %s (from %s) is not there, or is k3simg itself", name,
		from);
	return k3_hint(e, "install it, or name another one in %s", from);
}

/* What setup wrote beside the front: its prefix is what is in front of its place. */
static int read_choice(const char *self, struct k3_buf *out, char **file, struct k3_err *e)
{
	size_t len = strlen(self), place = strlen(SETUP_RUNTIME_LINK);
	bool below = len >= place && !strcmp(self + len - place, SETUP_RUNTIME_LINK);

	*file = k3_xasprintf("%.*s" SETUP_RUNTIME_FILE, below ? (int)(len - place) : 0, self);
	if (k3_read_file(AT_FDCWD, *file, out, e))
		return e->code == K3_NOTFOUND ? 0 : -1;
	return 0;
}

/* The first line that is neither empty nor a comment. */
static char *first_line(const struct k3_buf *text)
{
	for (char *line = (char *)text->p; line && *line;) {
		size_t len = strcspn(line, "\n"), n = len;

		while (n && strchr(" \t\r", line[n - 1]))
			n--;
		if (n && line[0] != '#')
			return k3_xstrndup(line, n);
		line += len + (line[len] == '\n');
	}
	return NULL;
}

int setup_runtime_find(const char *self, const char *wanted, const char *path, char **out,
		       struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(SETUP_PATH_MAX);
	K3_AUTO_FREE char *file = NULL;

	if (wanted && *wanted)
		return take(wanted, "$K3SIMG_RUNTIME", path, out, e);
	if (read_choice(self, &text, &file, e))
		return -1;
	K3_AUTO_FREE char *chosen = first_line(&text);

	if (chosen)
		return take(chosen, file, path, out, e);
	*out = search("crun", path);
	if (!*out)
		*out = search("runc", path);
	if (*out)
		return 0;
	k3_fail(e, K3_NOTFOUND, "neither crun nor runc is in $PATH");
	return k3_hint(e, "install one of them, or name one: \"k3simg setup --runtime PATH\"");
}

static bool is_crun(const char *runtime)
{
	char real[PATH_MAX];
	const char *name = realpath(runtime, real) ? real : runtime;
	const char *slash = strrchr(name, '/');

	return !strncmp(slash ? slash + 1 : name, "crun", 4);
}

char **setup_runtime_argv(const char *runtime, const struct host_container *f, int argc,
			  char *const *argv)
{
	static const char no_cgroups[] = "--cgroup-manager=disabled";
	const char **out = k3_xcalloc((size_t)argc + 3, sizeof(*out));
	size_t n = 0;

	out[n++] = runtime;
	if (!f->cgroup && is_crun(runtime))
		out[n++] = no_cgroups;
	for (int i = 0; i < argc; i++)
		out[n++] = argv[i];
	/* execve takes strings that it does not change */
	return (char **)(uintptr_t)out;
}
