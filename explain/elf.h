/* SPDX-License-Identifier: Apache-2.0 */
/* What decides whether a kernel takes a file as a program, read from its first bytes. */
#ifndef K3_EXPLAIN_ELF_H
#define K3_EXPLAIN_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read of a file: the program headers and the loader's name lie in it, in all that is real. */
#define ELF_HEAD_MAX 65536u
#define ELF_LOADER_MAX 4096u /* PATH_MAX, the kernel's limit (fs/binfmt_elf.c) */

struct elf {
	unsigned machine; /* e_machine */
	bool wide, big;   /* 64 bits; most significant byte first */
	bool known;       /* the program headers could be read: loader can be relied on */
	char loader[ELF_LOADER_MAX]; /* PT_INTERP, or "" */
};

/*
 * Reads the first n bytes of a file of `size` bytes.  False when it is no ELF program: no header,
 * neither an executable nor a shared object, or with program headers that the kernel refuses.
 * Follows fs/binfmt_elf.c of Linux and elf(5).
 */
bool elf_read(const uint8_t *p, size_t n, uint64_t size, struct elf *out);
/* "x86-64", "aarch64", …; "machine 123" for others.  out has 24 bytes. */
void elf_machine_name(unsigned machine, char out[24]);

enum elf_fit { ELF_FITS, ELF_FOREIGN, ELF_UNKNOWN };
/* Whether a machine of this architecture (GOARCH) runs it; ELF_UNKNOWN: we do not know that one. */
enum elf_fit elf_fits(const struct elf *f, const char *arch);

/*
 * The interpreter of a script: what is behind "#!" in its first n bytes, as fs/binfmt_script.c
 * takes it.  Word and argument ("" = none) are terminated in out.  False: no script.
 */
#define ELF_SCRIPT_MAX 256u /* BINPRM_BUF_SIZE */
struct elf_script {
	char program[ELF_SCRIPT_MAX], argument[ELF_SCRIPT_MAX];
};
bool elf_read_script(const uint8_t *p, size_t n, struct elf_script *out);

#endif
