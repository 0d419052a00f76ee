/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine needs so that preloaded pods start without a network: the files of `k3simg setup`,
 * the CNI plugin and the OCI runtime front that they name.  Knows no images.
 */
#ifndef K3_SETUP_SETUP_H
#define K3_SETUP_SETUP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "host/host.h"

/* ---- the files --------------------------------------------------------------------------- */

#define SETUP_PATH_MAX 1024       /* bytes of a path that is written into a configuration */
#define SETUP_FILE_MAX (1u << 20) /* bytes of a file that is replaced */
#define SETUP_BACKUP ".k3simg-backup"

enum setup_target { SETUP_CONTAINERD, SETUP_K3S };

/* Strings are borrowed, and none has a character that TOML, YAML or JSON would quote. */
struct setup_opts {
	enum setup_target target;
	const char *prefix; /* "" is /; else absolute, without a slash at its end */
	const char *root;   /* containerd's root */
	unsigned version;   /* of the configuration: 2 or 3; 0 for k3s: both */
	const char
		*runtime;  /* OCI runtime by name or path; NULL: crun or runc, found when needed */
	const char *pause; /* the name of the pause image; NULL leaves it to k3s */
	const char *platform; /* "linux/amd64" */
	const char *exe;      /* this program */
	bool force;           /* also replace, or take back, what others wrote */
	bool dry_run;         /* only tell */
	struct host_container facts;
};

enum setup_action {
	SETUP_SAME, /* is as it should be */
	SETUP_CREATED,
	SETUP_REPLACED,
	SETUP_KEPT,    /* somebody else's serves as well */
	SETUP_REFUSED, /* somebody else's: not touched, and neither is anything else */
	SETUP_REMOVED,
	SETUP_RESTORED, /* from its backup */
};

struct setup_done {
	char *path;
	enum setup_action action;
	bool backup; /* there is one beside it */
};

struct setup_report {
	struct setup_done *items;
	size_t n, cap;
	size_t changed, refused;
	struct k3_buf diff; /* with dry_run: a unified diff */
};

void setup_report_release(struct setup_report *r);
const char *setup_action_name(enum setup_action a);

/*
 * Writes what is missing or differs, and PREFIX/var/lib/k3simg/setup.json, by which setup_undo
 * knows it again.  Files are written aside, flushed and renamed; what was there is kept as
 * FILE.k3simg-backup, once.  K3_USAGE when a file of others is in the way (and nothing was
 * changed; *r tells which) or an option cannot be written into a configuration.
 */
K3_MUST int setup_apply(const struct setup_opts *o, struct setup_report *r, struct k3_err *e);
/*
 * Takes back what setup_apply wrote below prefix.  What was changed since is left, with its
 * backup, and told in *r (refused); a later call goes on with that.  K3_NOTFOUND when
 * there is nothing of setup below prefix.
 */
K3_MUST int setup_undo(const struct setup_opts *o, struct setup_report *r, struct k3_err *e);

/* ---- CNI ----------------------------------------------------------------------------------- */

#define SETUP_CNI_CONFIG_MAX (1u << 20) /* bytes of a network configuration */

/* The variables of the CNI specification 1.1, as they are in the environment; NULL when not. */
struct setup_cni_env {
	const char *command, *container, *netns, *ifname;
};

/*
 * Answers a request as a CNI plugin (specification 0.3.0 to 1.1.0): gives a pod an address that
 * no other has and raises its loopback device, if the kernel lets it; there is no way out of the
 * pod.  The answer, a result or an error in CNI's form, is appended to *out; returns the exit
 * status.  Moves the calling thread into the pod's network namespace.
 */
int setup_cni(const struct setup_cni_env *env, const void *config, size_t n, struct k3_buf *out);

/* ---- OCI runtime --------------------------------------------------------------------------- */

#define SETUP_SPEC_MAX (16u << 20) /* bytes of a config.json */

/*
 * Takes out of a config.json (OCI runtime specification 1.x) what this machine lacks: the list is
 * in docs/setup.md.  All else stays byte for byte.  *changed says whether anything was; the
 * document is appended to *out in either case.  K3_FORMAT, K3_LIMIT.
 */
K3_MUST int setup_spec_fit(const void *text, size_t n, const struct host_container *f,
			   struct k3_buf *out, bool *changed, struct k3_err *e);
/* The same with BUNDLE/config.json; the original stays as config.json.k3simg.  Missing: no-op. */
K3_MUST int setup_bundle_fit(const char *bundle, const struct host_container *f, struct k3_err *e);

/* What is of interest in the arguments of an OCI runtime; borrowed from argv. */
struct setup_runtime_args {
	const char *command; /* NULL: none */
	const char *bundle;  /* "." unless given; NULL unless the command makes a container */
	const char *log;     /* NULL: none */
	const char *root;    /* where the runtime keeps its state; NULL: where it likes */
	const char *victim;  /* the container that gets SIGKILL; NULL: none does */
};
void setup_runtime_args(int argc, char *const *argv, struct setup_runtime_args *out);

/*
 * Looks for the OCI runtime to execute: `wanted` (the value of K3SIMG_RUNTIME, or NULL), else what
 * setup wrote for the front that is called as `self`, else crun, else runc in `path`.  Never this
 * program itself.  The path is to be freed.  K3_NOTFOUND with a hint.
 */
K3_MUST int setup_runtime_find(const char *self, const char *wanted, const char *path, char **out,
			       struct k3_err *e);
/*
 * The arguments for it: its path, what it needs on this machine, then args as they are.  The
 * array is to be freed, its strings are borrowed.
 */
char **setup_runtime_argv(const char *runtime, const struct host_container *f, int argc,
			  char *const *argv);
/*
 * Whether SIGKILL for the container of these arguments leaves processes of it: gVisor
 * (20240729) does not end a PID namespace with its first process when that has a child subreaper
 * above it, as containerd's shim is one.  They go to the shim, hold the output open, and the pod
 * never ends.
 */
bool setup_kill_leaves(const struct host_container *f, const struct setup_runtime_args *args);
/*
 * Executes words (of setup_runtime_argv) in a child with environment env, waits for its end, then
 * for that of the container's first process, and kills what is left in the PID namespace that was
 * the container's own: what the kernel should have done.  Who they are comes from the runtime's
 * "state" and the bundle's config.json; where these do not tell, it is the runtime's call alone.
 * *status is the runtime's, as a shell has it.  An error only when the runtime cannot be executed.
 */
K3_MUST int setup_kill(const struct host_container *f, const struct setup_runtime_args *args,
		       char *const *words, char *const *env, int *status, struct k3_err *e);

#endif
