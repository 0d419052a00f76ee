/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of a machine on which pods are to start: kernel, mounts, programs, the files of k3s, the
 * kubelet and CNI, and what a file system can do.  Only facts: what they mean for a pod is the
 * business of doctor/.
 *
 * Everything is read below a directory, the sysroot ("" is the machine itself), so that a machine
 * can be made of plain files.  Nothing here changes anything, except host_probe_fs and
 * host_probe_overlay, which work in a directory of their own and remove it again.
 * Paths in facts are as the machine has them, without the sysroot, unless a comment says so.
 */
#ifndef K3_HOST_HOST_H
#define K3_HOST_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* ---- a file system -------------------------------------------------------------------------- */

enum host_fs_ability {
	HOST_FS_LINK,          /* hard links */
	HOST_FS_LINK_COHERENT, /* both names show a change of mode at once (gVisor's gofer does not)
				*/
	HOST_FS_REFLINK,       /* FICLONE */
	HOST_FS_XATTR_USER,    /* user.* */
	HOST_FS_XATTR_TRUSTED, /* trusted.*, and CAP_SYS_ADMIN to write it */
	HOST_FS_XATTR_SECURITY, /* security.capability */
	HOST_FS_DEVICE,         /* character device nodes (1:3) */
	HOST_FS_FIFO,
	HOST_FS_CHOWN,            /* to an owner that is not us */
	HOST_FS_SPECIAL_MODE,     /* set-uid, set-gid and sticky bits by fchmod */
	HOST_FS_SPECIAL_CREATE,   /* set-uid bit given to open(O_CREAT) stays */
	HOST_FS_OPENAT2,          /* openat2(RESOLVE_IN_ROOT) */
	HOST_FS_TMPFILE,          /* O_TMPFILE and linkat of it */
	HOST_FS_COPY_RANGE,       /* copy_file_range */
	HOST_FS_RENAME_NOREPLACE, /* renameat2 flags */
	HOST_FS_RENAME_EXCHANGE,
	HOST_FS_FLOCK,
	HOST_FS_SHARED_MAP, /* MAP_SHARED shows what write() wrote, and read() what was stored */
	HOST_FS_ABILITIES,
};

struct host_fs {
	int refused[HOST_FS_ABILITIES]; /* errno; 0 = it works; EIO = it does something else */
	int64_t type;                   /* statfs f_type */
};

/*
 * Tries everything above in a new directory below dirfd, which is removed again: some 60 system
 * calls, a few milliseconds.  A refusal is a fact; an error only where nothing can be tried at
 * all: K3_STORE read-only, K3_NOSPC, K3_IO.  Leaves the umask alone, works with any.
 */
K3_MUST int host_probe_fs(int dirfd, struct host_fs *out, struct k3_err *e);
bool host_fs_can(const struct host_fs *fs, enum host_fs_ability what);
/* "hard-links", "user-xattrs", … for people and JSON. */
const char *host_fs_name(enum host_fs_ability what);

/*
 * Mounts an overlay with all its parts in a new directory below dirfd, in a child process with a
 * mount namespace of its own, and removes the directory.  *refused is the errno, 0 = it works.
 * Forks: for single-threaded callers.  K3_IO when nothing can be tried.
 */
K3_MUST int host_probe_overlay(int dirfd, int *refused, struct k3_err *e);

struct host_space {
	uint64_t bytes, free;         /* of the file system; free for the superuser's daemons */
	uint64_t inodes, free_inodes; /* both 0: this file system does not count them */
};
K3_MUST int host_read_space(int dirfd, struct host_space *out, struct k3_err *e);

/* ---- programs ------------------------------------------------------------------------------- */

enum host_program_kind { HOST_PROGRAM_ELF, HOST_PROGRAM_SCRIPT, HOST_PROGRAM_OTHER };

struct host_program {
	char *path; /* as found, and what it leads to; NULL = there is none */
	char *target;
	bool executable; /* a regular file with an x bit */
	enum host_program_kind kind;
	unsigned machine; /* ELF e_machine */
};

/*
 * Looks for a program by its path, or by its name where services look ($PATH of systemd) and
 * then in k3s's own directory.  Never fails: an unreadable one is HOST_PROGRAM_OTHER.
 */
void host_find_program(const char *sysroot, const char *name, struct host_program *out);
void host_program_release(struct host_program *p);
/* Whether the file of a program holds these bytes; reads at most HOST_PROGRAM_MAX of it. */
#define HOST_PROGRAM_MAX (128u << 20) /* twice of the largest runtime */
bool host_program_has(const char *sysroot, const struct host_program *p, const char *text);
/*
 * What follows the text in there, as long as it is made of these characters; false: the text is not
 * in there, or as many of them follow as out has room for.
 */
bool host_program_after(const char *sysroot, const struct host_program *p, const char *text,
			const char *chars, char *out, size_t size);
unsigned host_machine(void); /* e_machine of this program */

/* ---- the network of pods -------------------------------------------------------------------- */

struct host_cni {
	char *file;     /* the configuration that containerd takes: the first by name; or NULL */
	char *trouble;  /* why it does not count, or NULL */
	char *name;     /* of the network */
	char **plugins; /* their types, in order */
	size_t nplugins;
};
/* Reads the configuration of the network.  A directory that is not there has none. */
K3_MUST int host_read_cni(const char *sysroot, const char *conf_dir, struct host_cni *out,
			  struct k3_err *e);
void host_cni_release(struct host_cni *c);

enum host_iptables { HOST_IPTABLES_NONE, HOST_IPTABLES_NFT, HOST_IPTABLES_LEGACY };

/* ---- everything else ------------------------------------------------------------------------ */

struct host_mount {
	char *point, *type, *source;
	char *options; /* of the file system: of cgroups of version 1 the controllers */
	bool shared, slave;
};

enum host_cgroups {
	HOST_CGROUPS_UNKNOWN, /* no mountinfo */
	HOST_CGROUPS_NONE,
	HOST_CGROUPS_V1, /* also where an empty v2 hierarchy is mounted beside it */
	HOST_CGROUPS_V2,
};

struct host_kubelet {
	bool present; /* k3s, or the configuration of a kubelet */
	bool is_k3s;
	char *trouble; /* a file of it that does not parse: file and why */
	/* What is in force: the last word of configuration files, then of kubelet-arg. */
	unsigned gc_high;   /* imageGCHighThresholdPercent; 85 by default, 100 = never */
	bool local_storage; /* localStorageCapacityIsolation; true by default */
};

struct host_k3s {
	bool installed, server, agent; /* the last two: by unit files and directories */
	char *snapshotter;             /* `snapshotter` of config.yaml, or NULL */
	bool own_network;     /* flannel-backend is none: somebody else brings CNI's files */
	char *data_dir;       /* never NULL */
	char *runtime;        /* `default-runtime` of config.yaml, or NULL */
	char *runtime_binary; /* the BinaryName that a template of containerd's gives it, or NULL */
	size_t archives;      /* files in agent/images that are imported at each start */
};

struct host {
	char *release; /* "6.1.0-18-amd64", or NULL */
	unsigned major, minor;
	uint64_t proc_inode;       /* of /proc when that is a procfs, else 0 */
	int last_cap;              /* /proc/sys/kernel/cap_last_cap, or -1 */
	bool kmsg;                 /* /dev/kmsg */
	bool systemd;              /* runs it: sd_booted(3) */
	struct host_mount *mounts; /* as in /proc/self/mountinfo */
	size_t nmounts;
	enum host_cgroups cgroups;
	enum host_iptables iptables;
	struct host_program iptables_program;
	struct host_k3s k3s;
	struct host_kubelet kubelet;
};

/* What is not there is a fact.  K3_NOMEM, K3_LIMIT for a mountinfo beyond HOST_MOUNTS_MAX. */
#define HOST_MOUNTS_MAX 100000u /* the kernel's default limit for one mount namespace */
K3_MUST int host_read(const char *sysroot, struct host *out, struct k3_err *e);
void host_release(struct host *h);
/* The mount that a path lies on (longest mount point that is a prefix); NULL = unknown. */
const struct host_mount *host_mount_of(const struct host *h, const char *path);

/* ---- containers ----------------------------------------------------------------------------- */

#define HOST_RLIMITS 16 /* resources of getrlimit(2) */

/* What a container can have here, of what a config.json may ask for. */
struct host_container {
	bool gvisor;            /* a gVisor sandbox */
	bool cgroup;            /* a cgroup hierarchy is mounted, of version 1 or 2 */
	bool hugetlb;           /* one of them limits huge pages */
	bool cgroup_ns;         /* the kernel has cgroup namespaces */
	bool time_ns;           /* and time namespaces */
	bool apparmor, selinux; /* on, in the kernel */
	bool no_kmsg;           /* /dev/kmsg is missing, or a link that setup made */
	int oom_min;            /* the least oom_score_adj that we may set */
	uint32_t rlimits;       /* bit N: resource N can be set */
	char proc[256];         /* where the kernel shows processes and sysctls, "/proc" */
};

/* Some ten files: an OCI runtime's front reads them each time.  What cannot be read is false. */
void host_read_container(const char *sysroot, struct host_container *out);
/* Also tries what only trying tells, on the calling process, and undoes it: oom_min, rlimits. */
void host_probe_container(struct host_container *f);

#endif
