/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "host/parse.h"

/* systemd's default for services, then what k3s puts in front of it for its containerd. */
static const char *const dirs[] = {
	"/usr/local/sbin",
	"/usr/local/bin",
	"/usr/sbin",
	"/usr/bin",
	"/sbin",
	"/bin",
	"/var/lib/rancher/k3s/data/current/bin",
	"/var/lib/rancher/k3s/data/current/bin/aux",
};

static bool is_program(const char *sysroot, const char *path, struct host_program *out)
{
	K3_AUTO_FREE char *target = host_follow(sysroot, path);
	K3_AUTO_FREE char *full = host_path(sysroot, target);
	uint8_t head[20] = { 0 };
	struct stat st;

	if (stat(full, &st) || S_ISDIR(st.st_mode))
		return false;
	*out = (struct host_program){
		.path = k3_xstrdup(path),
		.target = K3_STEAL(target),
		.executable = S_ISREG(st.st_mode) && (st.st_mode & 0111),
		.kind = HOST_PROGRAM_OTHER,
	};
	K3_AUTO_FD int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof(head));

	if (n == sizeof(head) && !memcmp(head, ELFMAG, SELFMAG)) {
		out->kind = HOST_PROGRAM_ELF;
		out->machine = head[EI_DATA] == ELFDATA2MSB ? (unsigned)(head[18] << 8 | head[19])
							    : k3_load16le(head + 18);
	} else if (n > 2 && head[0] == '#' && head[1] == '!') {
		out->kind = HOST_PROGRAM_SCRIPT;
	}
	return true;
}

void host_find_program(const char *sysroot, const char *name, struct host_program *out)
{
	*out = (struct host_program){ 0 };
	if (*name == '/') {
		(void)is_program(sysroot, name, out);
		return;
	}
	for (size_t k = 0; k < K3_ARRAY_LEN(dirs); k++) {
		K3_AUTO_FREE char *path = k3_xasprintf("%s/%s", dirs[k], name);

		if (is_program(sysroot, path, out))
			return;
	}
}

void host_program_release(struct host_program *p)
{
	free(p->path);
	free(p->target);
	*p = (struct host_program){ 0 };
}

#define PIECE 262144u

/* Looks for text; `after` gets the `more` bytes behind it, with zeros for what is beyond the end.
 */
static bool find_text(const char *sysroot, const struct host_program *p, const char *text,
		      char *after, size_t more)
{
	K3_AUTO_FREE char *full = host_path(sysroot, p->target ? p->target : "");
	K3_AUTO_FREE char *piece = k3_xcalloc(1, PIECE);
	K3_AUTO_FD int fd = -1;
	size_t len = strlen(text), kept = 0, total = 0;
	bool end = false;

	if (!p->target || len + more >= PIECE / 2)
		return false;
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	while (fd >= 0 && !end) {
		ssize_t n = read(fd, piece + kept, PIECE - kept);

		total += n > 0 ? (size_t)n : 0;
		kept += n > 0 ? (size_t)n : 0;
		end = n <= 0 || total >= HOST_PROGRAM_MAX;
		const char *found = memmem(piece, kept, text, len);
		size_t left = found ? kept - (size_t)(found + len - piece) : 0;

		if (found && (left >= more || end)) {
			if (more)
				memcpy(after, found + len, left < more ? left : more);
			return true;
		}
		/* The end of this piece may be the beginning of the text, or of what is behind it.
		 */
		size_t tail = kept < len + more ? kept : len + more;

		memmove(piece, piece + kept - tail, tail);
		kept = tail;
	}
	return false;
}

bool host_program_has(const char *sysroot, const struct host_program *p, const char *text)
{
	return find_text(sysroot, p, text, NULL, 0);
}

bool host_program_after(const char *sysroot, const struct host_program *p, const char *text,
			const char *chars, char *out, size_t size)
{
	memset(out, 0, size);
	if (!find_text(sysroot, p, text, out, size))
		return false;
	size_t n = 0;

	while (n < size && out[n] && strchr(chars, out[n]))
		n++;
	if (n == size)
		return false;
	out[n] = '\0';
	return true;
}

unsigned host_machine(void)
{
#if defined(__x86_64__)
	return EM_X86_64;
#elif defined(__i386__)
	return EM_386;
#elif defined(__aarch64__)
	return EM_AARCH64;
#elif defined(__arm__)
	return EM_ARM;
#elif defined(__riscv)
	return EM_RISCV;
#elif defined(__powerpc64__)
	return EM_PPC64;
#elif defined(__s390x__)
	return EM_S390;
#else
	return EM_NONE;
#endif
}

void host_read_iptables(const char *sysroot, struct host *out)
{
	const char *base;

	host_find_program(sysroot, "iptables", &out->iptables_program);
	out->iptables = HOST_IPTABLES_NONE;
	if (!out->iptables_program.path)
		return;
	base = strrchr(out->iptables_program.target, '/');
	/* "xtables-nft-multi" or "iptables-nft"; older ones know the legacy way only. */
	out->iptables = base && strstr(base, "nft") ? HOST_IPTABLES_NFT : HOST_IPTABLES_LEGACY;
}
