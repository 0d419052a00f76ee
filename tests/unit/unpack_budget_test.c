/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many system calls an entry of a layer costs.  A traced child applies a layer of n and one
 * of 2n entries of a kind; what the second costs more, divided by n, is the price of one entry,
 * whatever the call does once for the layer.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
/* After sys/ptrace.h: both define PTRACE_* names. */
#include <linux/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/unit/tarbuild.h"
#include "tests/unit/unit.h"

#define ENTRIES 100u
#define CALLS 1024u
/* Around what is counted; nobody has that process group. */
#define MARKER 0x6b33736d

struct counts {
	unsigned all;
	unsigned of[CALLS];
};

typedef void (*make_entry)(struct tarbuild *t, unsigned i);

static void fill(struct tarbuild *t, make_entry make, unsigned n)
{
	tb_init(t);
	tb_dir(t, "d");
	for (unsigned i = 0; i < n; i++)
		make(t, i);
	tb_end(t);
}

/* The child: never returns. */
static void apply_traced(int rootfd, const struct tarbuild *t)
{
	const struct unpack_opts o = { .limits = unpack_limits_default, .one_thread = true };
	struct memsrc m;
	struct k3_err err;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) || raise(SIGSTOP))
		_exit(77);
	syscall(SYS_getpgid, MARKER);
	int rc = unpack_layer(rootfd, OCI_MEDIA_LAYER_TAR,
			      memsrc(&m, t->out.p, t->out.len, 1 << 20), &o, NULL, NULL, NULL,
			      &err);

	syscall(SYS_getpgid, MARKER);
	_exit(rc ? 1 : 0);
}

/* False: the child may not be traced here. */
static bool count_calls(pid_t child, struct counts *c, int *exit_code)
{
	struct ptrace_syscall_info info;
	bool counting = false;
	int status;

	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
		return false;
	if (ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL))
		return false;
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) ||
		    waitpid(child, &status, 0) != child)
			return false;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			*exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
			return true;
		}
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) <= 0)
			return false;
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		if (info.entry.nr == SYS_getpgid && info.entry.args[0] == MARKER) {
			counting = !counting;
		} else if (counting) {
			c->all++;
			c->of[info.entry.nr < CALLS ? info.entry.nr : 0]++;
		}
	}
}

static bool run(make_entry make, unsigned n, struct counts *c)
{
	const char *dir = unit_tmpdir();
	struct tarbuild t;
	int rootfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), code = -1;

	*c = (struct counts){ 0 };
	fill(&t, make, n);
	pid_t child = fork();

	if (!child)
		apply_traced(rootfd, &t);
	bool can = child > 0 && count_calls(child, c, &code);

	if (!can && child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	close(rootfd);
	tb_release(&t);
	if (can)
		EQ_INT(code, 0);
	return can;
}

struct price {
	double all, writes, looks;
};

static unsigned looks(const struct counts *c)
{
	unsigned n = c->of[SYS_fstat] + c->of[SYS_statx];

#ifdef SYS_newfstatat
	n += c->of[SYS_newfstatat];
#endif
	return n;
}

/* False: not to be had here (no ptrace, as in some containers). */
static bool price_of(make_entry make, struct price *p)
{
	struct counts one, two;

	if (!run(make, ENTRIES, &one) || !run(make, 2 * ENTRIES, &two)) {
		printf("not counted: system calls cannot be traced here\n");
		return false;
	}
	p->all = (double)(two.all - one.all) / ENTRIES;
	p->writes = (double)(two.of[SYS_write] - one.of[SYS_write]) / ENTRIES;
	p->looks = (double)(looks(&two) - looks(&one)) / ENTRIES;
	return true;
}

/* A tenth of a call: what grows with the layer now and then, such as the heap. */
#define AT_MOST(got, limit)                                                                        \
	do {                                                                                       \
		if ((got) > (limit) + 0.1)                                                         \
			unit_fail(__FILE__, __LINE__, "%s is %.2f, may be %.2f", #got, got,        \
				  (double)(limit));                                                \
	} while (0)

static void small_file(struct tarbuild *t, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "d/file-%u", i);
	tb_file(t, name, "some text");
}

TEST(a_small_file_costs_four_calls)
{
	struct price p;

	if (!price_of(small_file, &p))
		return;
	AT_MOST(p.all, 4.0); /* openat, write, utimensat, close */
	AT_MOST(p.writes, 1.0);
	AT_MOST(p.looks, 0.0);
}

static void set_uid_file(struct tarbuild *t, unsigned i)
{
	t->mode = 04755;
	t->uid = geteuid() ? geteuid() : 1;
	small_file(t, i);
}

TEST(a_set_uid_file_of_another_owner_costs_six)
{
	struct price p;

	if (!price_of(set_uid_file, &p))
		return;
	AT_MOST(p.all, 6.0); /* and fchown, fchmod */
	AT_MOST(p.looks, 0.0);
}

static void file_of_100k(struct tarbuild *t, unsigned i)
{
	static const uint8_t data[100 << 10];
	char name[32];

	snprintf(name, sizeof(name), "d/file-%u", i);
	tb_entry(t, '0', name, "", data, sizeof(data));
}

TEST(a_file_of_100_KiB_is_written_at_once)
{
	struct price p;

	if (!price_of(file_of_100k, &p))
		return;
	/* A file that lies across the end of the buffer takes a second write. */
	AT_MOST(p.writes, 1.5);
	AT_MOST(p.all, 4.0 + 0.5 + 1.0); /* and the start of the write-behind */
	AT_MOST(p.looks, 0.0);
}

static void symlink_entry(struct tarbuild *t, unsigned i)
{
	char name[32];

	/* Shows what owner a new node of the directory gets. */
	if (!i)
		tb_file(t, "d/first", "some text");
	snprintf(name, sizeof(name), "d/link-%u", i);
	tb_symlink(t, name, "target");
}

TEST(a_symlink_costs_two)
{
	struct price p;

	if (!price_of(symlink_entry, &p))
		return;
	AT_MOST(p.all, 2.0); /* symlinkat, utimensat */
	AT_MOST(p.looks, 0.0);
}

static void directory(struct tarbuild *t, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "d/dir-%u", i);
	tb_dir(t, name);
}

TEST(a_directory_costs_two)
{
	struct price p;

	if (!price_of(directory, &p))
		return;
	AT_MOST(p.all, 2.0); /* mkdirat, utimensat */
	AT_MOST(p.looks, 0.0);
}

static void directory_with_files(struct tarbuild *t, unsigned i)
{
	char name[64];

	snprintf(name, sizeof(name), "d/dir-%u", i);
	tb_dir(t, name);
	for (unsigned k = 0; k < 10; k++) {
		snprintf(name, sizeof(name), "d/dir-%u/file-%u", i, k);
		tb_file(t, name, "some text");
	}
}

TEST(a_directory_of_ten_files_costs_no_more_than_its_parts)
{
	struct price p;

	if (!price_of(directory_with_files, &p))
		return;
	/* The directory is opened and closed; a look at its first file tells what others get. */
	AT_MOST(p.all, 4.0 + 10 * 4.0 + 1.0);
	AT_MOST(p.looks, 1.0);
}

static void hard_link(struct tarbuild *t, unsigned i)
{
	char name[32];

	if (!i)
		tb_file(t, "d/first", "some text");
	snprintf(name, sizeof(name), "d/link-%u", i);
	tb_link(t, name, "d/first");
}

TEST(a_hard_link_costs_two)
{
	struct price p;

	if (!price_of(hard_link, &p))
		return;
	AT_MOST(p.all, 2.0); /* a look at what it shall be another name of, linkat */
}

UNIT_MAIN
