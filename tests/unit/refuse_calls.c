/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/refuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RULES_MAX 160

/* A call that fails with errnum; with a mask only when the argument, masked, has that value, or
 * with `any` when it is not 0.
 */
struct rule {
	unsigned set;
	long nr;
	int errnum;
	unsigned arg;
	uint32_t mask, value;
	bool any;
};

static const struct rule rules[] = {
	{ REFUSE_OPENAT2, SYS_openat2, ENOSYS, 0, 0, 0, false },
	{ REFUSE_COPY_RANGE, SYS_copy_file_range, ENOSYS, 0, 0, 0, false },
	{ REFUSE_OTHERS, SYS_name_to_handle_at, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_XATTR, SYS_setxattr, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_XATTR, SYS_lsetxattr, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_XATTR, SYS_fsetxattr, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_XATTR, SYS_removexattr, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_XATTR, SYS_lremovexattr, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_XATTR, SYS_fremovexattr, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_RENAME, SYS_renameat2, EINVAL, 4, UINT32_MAX, 0, true },
	{ REFUSE_OTHERS, SYS_fallocate, EOPNOTSUPP, 1, UINT32_MAX, 0, true },
	{ REFUSE_REFLINK, SYS_ioctl, ENOTTY, 1, UINT32_MAX, FICLONE, false },
	{ REFUSE_TMPFILE, SYS_openat, EOPNOTSUPP, 2, O_TMPFILE & ~O_DIRECTORY, 0, true },
	{ REFUSE_DEVICE, SYS_mknodat, EPERM, 2, S_IFMT, S_IFCHR, false },
	{ REFUSE_DEVICE, SYS_mknodat, EPERM, 2, S_IFMT, S_IFBLK, false },
	{ REFUSE_OWNER, SYS_fchown, EPERM, 0, 0, 0, false },
	{ REFUSE_OWNER, SYS_fchownat, EPERM, 0, 0, 0, false },
	{ REFUSE_LINK, SYS_linkat, EOPNOTSUPP, 0, 0, 0, false },
	{ REFUSE_LINK_EPERM, SYS_linkat, EPERM, 0, 0, 0, false },
	{ REFUSE_HOLES, SYS_lseek, EINVAL, 2, UINT32_MAX, SEEK_DATA, false },
	{ REFUSE_HOLES, SYS_lseek, EINVAL, 2, UINT32_MAX, SEEK_HOLE, false },
};

const struct refuse_name refuse_names[] = {
	{ "openat2", REFUSE_OPENAT2 },  { "copy_file_range", REFUSE_COPY_RANGE },
	{ "reflinks", REFUSE_REFLINK }, { "tmpfile", REFUSE_TMPFILE },
	{ "renameat2", REFUSE_RENAME }, { "xattrs", REFUSE_XATTR },
	{ "devices", REFUSE_DEVICE },   { "owners", REFUSE_OWNER },
	{ "links", REFUSE_LINK },       { "holes", REFUSE_HOLES },
	{ "gvisor", REFUSE_GVISOR },    { "links-eperm", REFUSE_LINK_EPERM },
};
const size_t refuse_nnames = sizeof(refuse_names) / sizeof(refuse_names[0]);

struct program {
	struct sock_filter code[RULES_MAX];
	unsigned short n;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (p->n == RULES_MAX)
		abort();
	p->code[p->n++] = (struct sock_filter){ code, jt, jf, k };
}

/* Each is: load the number, leave it when it is another; load, mask and compare the argument. */
static void add(struct program *p, const struct rule *r)
{
	const uint16_t load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K;
	size_t low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;

	emit(p, load, offsetof(struct seccomp_data, nr), 0, 0);
	emit(p, equal, (uint32_t)r->nr, 0, r->mask ? 4 : 1);
	if (r->mask) {
		emit(p, load, (uint32_t)(offsetof(struct seccomp_data, args) + 8 * r->arg + low), 0,
		     0);
		emit(p, BPF_ALU | BPF_AND | BPF_K, r->mask, 0, 0);
		emit(p, equal, r->any ? 0 : r->value, r->any ? 1 : 0, r->any ? 0 : 1);
	}
	emit(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)r->errnum, 0, 0);
}

bool refuse_install(unsigned what)
{
	struct program p = { .n = 0 };

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].set & what)
			add(&p, &rules[i]);
	emit(&p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);

	const struct sock_fprog prog = { p.n, p.code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}
