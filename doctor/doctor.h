/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether pods can start on this machine from what is preloaded: a table of checks, each a small
 * function over facts that are gathered once.  A finding says what is seen and how to put it
 * right.  Nothing here changes anything; docs/doctor.md has the table.
 */
#ifndef K3_DOCTOR_DOCTOR_H
#define K3_DOCTOR_DOCTOR_H

#include "base/err.h"
#include "host/host.h"
#include "importer/importer.h"

/* ---- facts ---------------------------------------------------------------------------------- */

enum doctor_store {
	DOCTOR_STORE_ABSENT,  /* no such directory */
	DOCTOR_STORE_OFFLINE, /* a containerd root, or an empty directory, that no daemon has */
	DOCTOR_STORE_LIVE,    /* containerd runs on it */
	DOCTOR_STORE_BROKEN,  /* no containerd root, or damaged: store_trouble */
};

/* Paths begin with the sysroot, unless they come from a file of the machine. */
struct doctor_facts {
	char *sysroot; /* "": this machine */
	bool privileged;
	unsigned machine; /* e_machine of programs that run here */
	struct host host;

	char *root, *address;
	char *asked_address;   /* the one that the caller has named, or NULL */
	char *config_file;     /* the one in force, or the one to be made */
	bool config_read;      /* false: it cannot be, and config is empty */
	char *config_trouble;  /* why, or NULL */
	bool config_elsewhere; /* the configuration of this machine is of another root */
	struct imp_config config;
	struct host_program runtime, containerd;
	bool front;                 /* the runtime is k3simg's own front, ... */
	struct host_program behind; /* ... which executes this one */
	struct host_cni cni;

	enum doctor_store store;
	char *store_trouble;
	bool socket_answers;
	bool pause_stored, pause_unpacked, pause_pinned;
	char *pause_trouble; /* the store cannot be read; or NULL */

	char *disk;       /* the root, or the directory above it that there is */
	char *fs_trouble; /* why nothing could be tried, or NULL */
	struct host_fs fs;
	int overlay; /* errno of an overlay mount, 0 = it works, -1 = not tried */
	bool space_known;
	struct host_space space;
};

struct doctor_opts {
	const char *root, *address, *config, *sysroot; /* NULL = the machine's own */
	struct k3_cancel *cancel;                      /* may be NULL */
	bool no_probe; /* leave the file system alone: no check asked for needs it */
};

/* K3_USAGE for a configuration that is named and not there; all else is a fact. */
K3_MUST int doctor_gather(const struct doctor_opts *o, struct doctor_facts *out, struct k3_err *e);
void doctor_facts_release(struct doctor_facts *f);

/* ---- checks --------------------------------------------------------------------------------- */

enum doctor_state {
	DOCTOR_OK,
	DOCTOR_SKIPPED, /* what it needs to know cannot be known here */
	DOCTOR_NOTE,
	DOCTOR_WARNING,
	DOCTOR_ERROR, /* pods will not start */
};
const char *doctor_state_name(enum doctor_state s); /* "ok", "skipped", … for JSON */

/*
 * What to do: run the command and write the lines, whichever there are.  The lines go behind the
 * line `section` of the file, or at the top of it without one; head is the first line of a file
 * that is not there yet.
 */
struct doctor_fix {
	char *command;
	char *file, *section, *lines, *head;
};

struct doctor_finding {
	enum doctor_state state;
	char *text; /* what is seen, not escaped: names of the store and of files are in it */
	struct doctor_fix fix;
};
void doctor_finding_release(struct doctor_finding *f);
/* A word for a shell, as new memory. */
char *doctor_quote(const char *word);

struct doctor_check {
	const char *id, *title;
	enum doctor_state severity; /* of what it may find, at worst */
	bool setup;                 /* "k3simg setup" does what its fix says */
	bool probe;                 /* needs the file system to be tried */
	void (*fn)(const struct doctor_facts *f, struct doctor_finding *out);
	const char *why; /* what happens to pods */
	const char *fix; /* in one line, for lists; a finding has the exact words */
};

const struct doctor_check *doctor_checks(size_t *n);    /* in the order to be shown */
const struct doctor_check *doctor_find(const char *id); /* or NULL */

#endif
