/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logdev DIR IMAGE LOG: a disk that remembers in which order it was written.
 *
 * Mounts a FUSE file system on DIR with two files: "disk" is IMAGE, every write of which goes to
 * LOG as well, and every fsync too: a loop device on it turns each flush of the disk's cache into
 * one.  What is written to "mark" becomes a mark in LOG.  Nothing is cached on the way and there
 * is one thread, so LOG has the order in which writes were answered.  Ends with status 0 when DIR
 * is unmounted.
 *
 * LOG is a sequence of records, little endian: u64 offset, u32 length, u32 kind (1 write, 2 flush,
 * 3 mark), then `length` bytes for writes and marks.  It speaks the kernel's protocol itself
 * (linux/fuse.h), so that it needs no library.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"

#define MAX_WRITE (1u << 20)
#define BUFFER (MAX_WRITE + 4096)
#define VALID_S 3600 /* nothing changes behind the kernel's back */

enum { NODE_ROOT = FUSE_ROOT_ID, NODE_DISK, NODE_MARK };
enum { KIND_WRITE = 1, KIND_FLUSH, KIND_MARK };

struct disk {
	int fuse, image, log;
	uint64_t size; /* of the image */
	uint8_t *request, *data;
};

/* Stops at once: a log with a gap proves nothing. */
static _Noreturn void die(const char *what)
{
	fprintf(stderr, "logdev: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void answer(struct disk *d, uint64_t unique, int err, const void *p, size_t n)
{
	struct fuse_out_header h = { .len = (uint32_t)(sizeof(h) + n),
				     .error = -err,
				     .unique = unique };
	struct iovec v[] = { { &h, sizeof(h) }, { (void *)(uintptr_t)p, n } };

	/* ENOENT: whoever asked has been killed meanwhile. */
	if (writev(d->fuse, v, 2) != (ssize_t)h.len && errno != ENOENT)
		die("cannot answer the kernel");
}

static void log_record(struct disk *d, uint32_t kind, uint64_t offset, const void *p, uint32_t n)
{
	uint8_t head[16];
	struct iovec v[] = { { head, sizeof(head) }, { (void *)(uintptr_t)p, n } };

	k3_store64le(head, offset);
	k3_store32le(head + 8, n);
	k3_store32le(head + 12, kind);
	if (writev(d->log, v, 2) != (ssize_t)(sizeof(head) + n))
		die("cannot write the log");
}

static struct fuse_attr attributes(const struct disk *d, uint64_t node)
{
	struct fuse_attr a = { .ino = node, .nlink = 1, .blksize = 4096 };

	a.mode = node == NODE_ROOT ? S_IFDIR | 0700 : S_IFREG | 0600;
	if (node == NODE_DISK) {
		a.size = d->size;
		a.blocks = d->size / 512;
	}
	return a;
}

static void lookup(struct disk *d, uint64_t unique, const char *name)
{
	struct fuse_entry_out out = { .entry_valid = VALID_S, .attr_valid = VALID_S };

	if (!strcmp(name, "disk"))
		out.nodeid = NODE_DISK;
	else if (!strcmp(name, "mark"))
		out.nodeid = NODE_MARK;
	if (!out.nodeid) {
		answer(d, unique, ENOENT, NULL, 0);
		return;
	}
	out.attr = attributes(d, out.nodeid);
	answer(d, unique, 0, &out, sizeof(out));
}

static void get_attributes(struct disk *d, uint64_t unique, uint64_t node)
{
	struct fuse_attr_out out = { .attr_valid = VALID_S, .attr = attributes(d, node) };

	answer(d, unique, 0, &out, sizeof(out));
}

static void open_file(struct disk *d, uint64_t unique, bool is_dir)
{
	/* Without it the kernel would keep pages of the file and could answer reads itself. */
	struct fuse_open_out out = { .open_flags = is_dir ? 0 : FOPEN_DIRECT_IO };

	answer(d, unique, 0, &out, sizeof(out));
}

static void read_disk(struct disk *d, uint64_t unique, uint64_t node, const struct fuse_read_in *in)
{
	ssize_t n = 0;

	if (in->size > MAX_WRITE) {
		answer(d, unique, EINVAL, NULL, 0);
		return;
	}
	if (node == NODE_DISK)
		n = pread(d->image, d->data, in->size, (off_t)in->offset);
	if (n < 0)
		die("cannot read the image");
	answer(d, unique, 0, d->data, (size_t)n);
}

static void write_disk(struct disk *d, uint64_t unique, uint64_t node,
		       const struct fuse_write_in *in, size_t len)
{
	struct fuse_write_out out = { .size = in->size };
	const void *p = in + 1;

	if (len != sizeof(*in) + in->size || in->offset > d->size ||
	    (node == NODE_DISK && in->size > d->size - in->offset)) {
		answer(d, unique, EINVAL, NULL, 0);
		return;
	}
	if (node == NODE_DISK && pwrite(d->image, p, in->size, (off_t)in->offset) != in->size)
		die("cannot write the image");
	log_record(d, node == NODE_DISK ? KIND_WRITE : KIND_MARK, in->offset, p, in->size);
	answer(d, unique, 0, &out, sizeof(out));
}

static void init(struct disk *d, uint64_t unique, const struct fuse_init_in *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = in->max_readahead,
		.flags = in->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES),
		.max_background = 16,
		.congestion_threshold = 12,
		.max_write = MAX_WRITE,
		.max_pages = MAX_WRITE / 4096,
		.time_gran = 1,
	};

	if (in->major != FUSE_KERNEL_VERSION) {
		answer(d, unique, EPROTO, NULL, 0);
		return;
	}
	answer(d, unique, 0, &out, sizeof(out));
}

static void statfs_answer(struct disk *d, uint64_t unique)
{
	struct fuse_statfs_out out = { .st = { .bsize = 4096, .namelen = 255, .frsize = 4096 } };

	answer(d, unique, 0, &out, sizeof(out));
}

/* What has no arguments of interest. */
static void serve_plain(struct disk *d, const struct fuse_in_header *h)
{
	switch (h->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: /* every request is answered soon */
		return;
	case FUSE_GETATTR:
	case FUSE_SETATTR: /* O_TRUNC and touch: sizes and times stay */
		get_attributes(d, h->unique, h->nodeid);
		return;
	case FUSE_OPEN:
		open_file(d, h->unique, false);
		return;
	case FUSE_OPENDIR:
		open_file(d, h->unique, true);
		return;
	case FUSE_READDIR: /* both names are known to whoever comes */
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_DESTROY:
		answer(d, h->unique, 0, NULL, 0);
		return;
	case FUSE_FSYNC:
		if (h->nodeid == NODE_DISK)
			log_record(d, KIND_FLUSH, 0, NULL, 0);
		answer(d, h->unique, 0, NULL, 0);
		return;
	case FUSE_STATFS:
		statfs_answer(d, h->unique);
		return;
	default: /* no discard, no zeroing without a write: the block layer then writes zeroes */
		answer(d, h->unique, ENOSYS, NULL, 0);
	}
}

static void serve(struct disk *d, size_t n)
{
	const struct fuse_in_header *h = (const void *)d->request;
	const void *arg = d->request + sizeof(*h);
	size_t len = n - sizeof(*h);

	switch (h->opcode) {
	case FUSE_INIT:
		init(d, h->unique, arg);
		return;
	case FUSE_LOOKUP:
		d->request[n] = '\0';
		lookup(d, h->unique, arg);
		return;
	case FUSE_READ:
		read_disk(d, h->unique, h->nodeid, arg);
		return;
	case FUSE_WRITE:
		write_disk(d, h->unique, h->nodeid, arg, len);
		return;
	default:
		serve_plain(d, h);
	}
}

static void serve_all(struct disk *d)
{
	for (;;) {
		ssize_t n = read(d->fuse, d->request, BUFFER);

		if (n < 0 && errno == ENODEV) /* unmounted */
			return;
		if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		if (n < (ssize_t)sizeof(struct fuse_in_header))
			die("cannot read from the kernel");
		serve(d, (size_t)n);
	}
}

static void mount_on(const struct disk *d, const char *dir)
{
	char options[128];

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", d->fuse,
		 (unsigned)getuid(), (unsigned)getgid());
	if (mount("logdev", dir, "fuse", MS_NODEV | MS_NOSUID, options))
		die(dir);
}

int main(int argc, char **argv)
{
	struct disk d = { 0 };
	struct stat st;

	if (argc != 4) {
		fprintf(stderr, "usage: logdev DIR IMAGE LOG\n");
		return 2;
	}
	d.request = malloc(BUFFER + 1);
	d.data = malloc(MAX_WRITE);
	if (!d.request || !d.data)
		die("memory");
	d.image = open(argv[2], O_RDWR | O_CLOEXEC);
	if (d.image < 0 || fstat(d.image, &st))
		die(argv[2]);
	d.size = (uint64_t)st.st_size;
	d.log = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (d.log < 0)
		die(argv[3]);
	d.fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (d.fuse < 0)
		die("/dev/fuse");
	mount_on(&d, argv[1]);
	serve_all(&d);
	if (close(d.log) || close(d.image))
		die("cannot close");
	free(d.request);
	free(d.data);
	return 0;
}
