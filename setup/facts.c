/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "setup/setup.h"

#define FACT_MAX (1u << 20) /* bytes of a file in /proc: the mounts of a large node */
#define OOM_LEAST (-1000)

/* The version that gVisor's kernel tells unless it is told another. */
#define GVISOR_VERSION "#1 SMP Sun Jan 10 15:06:54 PST 2016"

static bool read_fact(const char *sysroot, const char *name, struct k3_buf *out)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s%s", sysroot, name);
	struct k3_err ignored;

	k3_buf_reset(out);
	return !k3_read_file(AT_FDCWD, path, out, &ignored) && out->len;
}

static bool is_there(const char *sysroot, const char *name)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s%s", sysroot, name);
	struct stat st;

	return !lstat(path, &st);
}

static bool is_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
		if ((at == list || strchr(" ,\t\n", at[-1])) &&
		    (!at[len] || strchr(" ,\t\n", at[len])))
			return true;
	return false;
}

/* Lines of /proc/mounts: device, directory, type, options (fstab(5)). */
static void read_mounts(struct k3_buf *text, struct setup_facts *f)
{
	for (char *line = (char *)text->p, *next; line && *line; line = next) {
		char *field[4] = { line };
		size_t n = 1;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		for (char *c = line; *c && n < K3_ARRAY_LEN(field); c++) {
			if (*c != ' ')
				continue;
			*c = '\0';
			field[n++] = c + 1;
		}
		if (n < K3_ARRAY_LEN(field))
			continue;
		if (!strcmp(field[2], "cgroup")) {
			f->cgroup = true;
			f->hugetlb |= is_word(field[3], "hugetlb");
		} else if (!strcmp(field[2], "cgroup2")) {
			K3_AUTO_FREE char *list = k3_xasprintf("%s/cgroup.controllers", field[1]);
			K3_AUTO_BUF struct k3_buf have = K3_BUF(FACT_MAX);

			f->cgroup = true;
			f->hugetlb |= read_fact("", list, &have) &&
				      is_word((char *)have.p, "hugetlb");
		}
	}
}

static bool kmsg_is_missing(const char *sysroot)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s/dev/kmsg", sysroot);
	char to[16];
	ssize_t n = readlink(path, to, sizeof(to));

	return (n < 0 && errno == ENOENT) || (n == 9 && !memcmp(to, "/dev/null", 9));
}

void setup_facts_read(const char *sysroot, struct setup_facts *out)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(FACT_MAX);

	*out = (struct setup_facts){ .oom_min = OOM_LEAST, .rlimits = UINT32_MAX };
	snprintf(out->proc, sizeof(out->proc), "%s/proc", sysroot);
	if (read_fact(sysroot, "/proc/version", &text))
		out->gvisor = strstr((char *)text.p, GVISOR_VERSION) ||
			      strcasestr((char *)text.p, "gvisor");
	if (read_fact(sysroot, "/proc/mounts", &text))
		read_mounts(&text, out);
	out->cgroup_ns = is_there(sysroot, "/proc/self/ns/cgroup");
	out->time_ns = is_there(sysroot, "/proc/self/ns/time");
	if (read_fact(sysroot, "/sys/module/apparmor/parameters/enabled", &text))
		out->apparmor = text.p[0] == 'Y';
	out->selinux = is_there(sysroot, "/sys/fs/selinux/enforce");
	out->no_kmsg = kmsg_is_missing(sysroot);
}

static bool write_score(int fd, int score)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", score);

	return pwrite(fd, text, (size_t)n, 0) == n;
}

void setup_facts_probe(struct setup_facts *f)
{
	K3_AUTO_FD int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[16] = "";

	if (fd >= 0 && pread(fd, text, sizeof(text) - 1, 0) > 0) {
		int now = (int)strtol(text, NULL, 10);

		/* Raising it again is always allowed. */
		if (!write_score(fd, OOM_LEAST) || !write_score(fd, now))
			f->oom_min = now;
	}
	f->rlimits = 0;
	for (unsigned i = 0; i < SETUP_RLIMITS; i++) {
		struct rlimit limit;

		if (!getrlimit(i, &limit) && !setrlimit(i, &limit))
			f->rlimits |= 1u << i;
	}
}
