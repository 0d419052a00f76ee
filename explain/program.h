/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the tree of an image has the program that a container is to run, and can run it. */
#ifndef K3_EXPLAIN_PROGRAM_H
#define K3_EXPLAIN_PROGRAM_H

#include "explain/tree.h"

/* PATH where neither image nor pod sets one (containerd oci.defaultUnixEnv, runc). */
#define PROGRAM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum program_state {
	PROGRAM_UNKNOWN, /* nothing can be said: no tree, a variable, a volume */
	PROGRAM_OK,
	PROGRAM_MISSING,
	PROGRAM_NO_FILE,        /* a directory or something else that is no file */
	PROGRAM_NO_PERMISSION,  /* not executable by this user */
	PROGRAM_NO_FORMAT,      /* neither ELF nor script */
	PROGRAM_FOREIGN,        /* ELF of another machine */
	PROGRAM_NO_INTERPRETER, /* a script, and what its first line names is not there or no
				   program */
	PROGRAM_NO_LOADER,      /* ELF, and its loader is not there or no program */
	PROGRAM_FOREIGN_LOADER, /* the loader is of another machine */
};

/* How it is looked for. */
struct program_search {
	const char *word;    /* argv[0] of the container */
	const char *path;    /* its PATH; NULL = PROGRAM_PATH */
	const char *workdir; /* "" = the root */
	const char *arch;    /* of the node: GOARCH */
	bool user_known;     /* uid and gid are those of the process */
	uint32_t uid, gid;
};

struct program {
	enum program_state state;
	char *path;       /* in the tree, symlinks resolved; NULL = there is none */
	char *other;      /* interpreter or loader that is meant, as it is named; or NULL */
	char machine[24]; /* of a foreign one */
	bool carriage;    /* the interpreter's name ends with a carriage return: lines of Windows */
};

/* Never fails: what cannot be read is what a kernel would not read either. */
void program_find(struct k3_root *root, const struct program_search *s, struct program *out);
void program_release(struct program *p);

#endif
