/* SPDX-License-Identifier: Apache-2.0 */
/* What the file system of the root can do, and how much is left of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "doctor/finding.h"

/* A container gets a copy of its image, and a small image is some 10 MB in 500 files. */
#define BYTES_LEAST (64u << 20)
#define INODES_LEAST 1000u
#define BYTES_LOW (1u << 30) /* a few images of the usual size */
#define INODES_LOW 20000u

static void make_room(const struct doctor_facts *f, struct doctor_finding *out, bool inodes)
{
	const struct host_mount *m = doctor_disk_mount(f);

	if (m && !strcmp(m->type, "tmpfs") && !*f->sysroot) {
		K3_AUTO_FREE char *quoted = doctor_quote(m->point);

		doctor_run(out, "mount -o remount,%s %s", inodes ? "nr_inodes=1000000" : "size=4G",
			   quoted);
	} else {
		doctor_run(out, "crictl rmi --prune   # or a larger disk for the root");
	}
}

void doctor_space(const struct doctor_facts *f, struct doctor_finding *out)
{
	const struct host_space *s = &f->space;
	unsigned long long mib = (unsigned long long)(s->free >> 20);

	if (!f->space_known) {
		doctor_say(out, DOCTOR_SKIPPED, "%s",
			   f->fs_trouble ? f->fs_trouble : "the file system does not tell");
	} else if (s->bytes && s->free < BYTES_LOW) {
		doctor_say(out, s->free < BYTES_LEAST ? DOCTOR_ERROR : DOCTOR_WARNING,
			   "%llu MiB are free on %s, and every container gets a copy of its image",
			   mib, f->disk);
		make_room(f, out, false);
	} else if (s->inodes && s->free_inodes < INODES_LOW) {
		doctor_say(
			out, s->free_inodes < INODES_LEAST ? DOCTOR_ERROR : DOCTOR_WARNING,
			"%llu inodes are free on %s, and every container gets a copy of its image",
			(unsigned long long)s->free_inodes, f->disk);
		make_room(f, out, true);
	} else {
		doctor_say(out, DOCTOR_OK, "%llu MiB and %llu inodes are free", mib,
			   (unsigned long long)s->free_inodes);
	}
}

/* ---- abilities ------------------------------------------------------------------------------ */

static bool not_tried(const struct doctor_facts *f, struct doctor_finding *out)
{
	if (!f->fs_trouble)
		return false;
	doctor_say(out, DOCTOR_SKIPPED, "it could not be tried: %s", f->fs_trouble);
	return true;
}

/* Names of those that are refused, as "user-xattrs (EOPNOTSUPP), fifos (EPERM)"; "" = none. */
static void list_refused(const struct doctor_facts *f, const enum host_fs_ability *which, size_t n,
			 char *out, size_t size)
{
	size_t at = 0;

	*out = '\0';
	for (size_t k = 0; k < n && at < size; k++) {
		int errnum = f->fs.refused[which[k]];
		const char *name = errnum ? strerrorname_np(errnum) : NULL;

		if (errnum)
			at += (size_t)snprintf(out + at, size - at, "%s%s (%s)", at ? ", " : "",
					       host_fs_name(which[k]), name ? name : "?");
	}
}

/*
 * No command makes another file system of one: the root gets one of its own.  A tmpfs has all that
 * is needed in gVisor and from Linux 6.6 on, which gave it user.* attributes.
 */
static void move_root(const struct doctor_facts *f, struct doctor_finding *out)
{
	K3_AUTO_FREE char *root = doctor_quote(f->root);
	bool tmpfs = f->host.major > 6 || (f->host.major == 6 && f->host.minor >= 6) ||
		     (f->host.major && f->host.major < 5);

	if (tmpfs)
		doctor_run(out, "mkdir -p %s && mount -t tmpfs -o mode=0711 tmpfs %s   # or ext4",
			   root, root);
	else
		doctor_run(out,
			   "mkdir -p %s && truncate -s 20G %s.ext4 && mkfs.ext4 -q %s.ext4 && "
			   "mount -o loop %s.ext4 %s",
			   root, root, root, root, root);
}

static void judge(const struct doctor_facts *f, struct doctor_finding *out,
		  const enum host_fs_ability *which, size_t n, enum doctor_state state,
		  const char *means)
{
	char text[512];

	if (not_tried(f, out))
		return;
	list_refused(f, which, n, text, sizeof(text));
	if (!*text) {
		doctor_say(out, DOCTOR_OK, "all of it works on %s", f->disk);
		return;
	}
	doctor_say(out, state, "%s refuses %s: %s", f->disk, text, means);
	if (state != DOCTOR_NOTE)
		move_root(f, out);
}

void doctor_links(const struct doctor_facts *f, struct doctor_finding *out)
{
	static const enum host_fs_ability hard[] = { HOST_FS_LINK };
	static const enum host_fs_ability coherent[] = { HOST_FS_LINK_COHERENT };

	if (f->fs_trouble || f->fs.refused[HOST_FS_LINK])
		judge(f, out, hard, 1, DOCTOR_WARNING,
		      "every layer becomes a whole copy, and hard links in images are copies, too");
	else
		judge(f, out, coherent, 1, DOCTOR_NOTE,
		      "a change of mode or owner shows under one name only");
}

void doctor_xattrs(const struct doctor_facts *f, struct doctor_finding *out)
{
	static const enum host_fs_ability which[] = { HOST_FS_XATTR_USER, HOST_FS_XATTR_SECURITY };

	judge(f, out, which, K3_ARRAY_LEN(which), DOCTOR_WARNING,
	      "programs in images lose capabilities (ping) and attributes");
}

void doctor_nodes(const struct doctor_facts *f, struct doctor_finding *out)
{
	static const enum host_fs_ability which[] = { HOST_FS_DEVICE, HOST_FS_FIFO };

	judge(f, out, which, K3_ARRAY_LEN(which), DOCTOR_WARNING,
	      "the few images that have such files lose them");
}

void doctor_owners(const struct doctor_facts *f, struct doctor_finding *out)
{
	static const enum host_fs_ability which[] = { HOST_FS_CHOWN, HOST_FS_SPECIAL_MODE };

	if (!f->privileged && !f->fs_trouble && f->fs.refused[HOST_FS_CHOWN] == EPERM) {
		doctor_say(out, DOCTOR_SKIPPED, "only root can try it");
		return;
	}
	judge(f, out, which, K3_ARRAY_LEN(which), DOCTOR_ERROR,
	      "files of images cannot have their owners and modes");
}

void doctor_overlay(const struct doctor_facts *f, struct doctor_finding *out)
{
	const char *name = f->overlay > 0 ? strerrorname_np(f->overlay) : NULL;

	if (f->overlay < 0)
		doctor_say(out, DOCTOR_SKIPPED, "only root can try it");
	else if (f->overlay)
		doctor_say(out, DOCTOR_NOTE,
			   "overlayfs cannot be mounted on %s (%s): native is the snapshotter",
			   f->disk, name ? name : "?");
	else
		doctor_say(out, DOCTOR_OK, "overlayfs can be mounted on %s", f->disk);
}

void doctor_openat2(const struct doctor_facts *f, struct doctor_finding *out)
{
	static const enum host_fs_ability which[] = { HOST_FS_OPENAT2, HOST_FS_COPY_RANGE,
						      HOST_FS_RENAME_NOREPLACE, HOST_FS_TMPFILE };

	judge(f, out, which, K3_ARRAY_LEN(which), DOCTOR_NOTE,
	      "slower ways are taken, nothing is lost");
}
