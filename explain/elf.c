/* SPDX-License-Identifier: Apache-2.0 */
#include "explain/elf.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

/* The kernel's limit for the program headers together (fs/binfmt_elf.c, load_elf_phdrs). */
#define HEADERS_MAX 65536u

/* ---- fields --------------------------------------------------------------------------------- */

static uint64_t field(const struct elf *f, const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[f->big ? bytes - 1 - i : i] << 8 * i;
	return v;
}

/* Offsets of a field in the 32- and in the 64-bit layout; addresses have 4 and 8 bytes. */
struct place {
	uint8_t narrow, wide;
};

static uint64_t address(const struct elf *f, const uint8_t *p, struct place at)
{
	return field(f, p + (f->wide ? at.wide : at.narrow), f->wide ? 8 : 4);
}

static unsigned half(const struct elf *f, const uint8_t *p, struct place at)
{
	return (unsigned)field(f, p + (f->wide ? at.wide : at.narrow), 2);
}

static const struct place e_phoff = { 28, 32 }, e_phentsize = { 42, 54 }, e_phnum = { 44, 56 },
			  p_offset = { 4, 8 }, p_filesz = { 16, 32 };

/* ---- headers -------------------------------------------------------------------------------- */

static bool read_header(const uint8_t *p, size_t n, struct elf *out)
{
	unsigned type;

	if (n < sizeof(Elf32_Ehdr) || memcmp(p, ELFMAG, SELFMAG) != 0)
		return false;
	if ((p[EI_CLASS] != ELFCLASS32 && p[EI_CLASS] != ELFCLASS64) ||
	    (p[EI_DATA] != ELFDATA2LSB && p[EI_DATA] != ELFDATA2MSB))
		return false;
	out->wide = p[EI_CLASS] == ELFCLASS64;
	out->big = p[EI_DATA] == ELFDATA2MSB;
	if (out->wide && n < sizeof(Elf64_Ehdr))
		return false;
	type = (unsigned)field(out, p + 16, 2);
	out->machine = (unsigned)field(out, p + 18, 2);
	return type == ET_EXEC || type == ET_DYN;
}

/* The loader's name, which the kernel wants to end with its only NUL. */
static bool read_loader(const uint8_t *p, size_t n, const uint8_t *header, uint64_t size,
			struct elf *out)
{
	uint64_t at = address(out, header, p_offset), len = address(out, header, p_filesz);

	if (len < 2 || len > ELF_LOADER_MAX || at > size || len > size - at)
		return false;
	if (at > n || len > n - at) {
		out->known = false;
		return true;
	}
	if (p[at + len - 1] || memchr(p + at, 0, len - 1))
		return false;
	memcpy(out->loader, p + at, len);
	return true;
}

bool elf_read(const uint8_t *p, size_t n, uint64_t size, struct elf *out)
{
	*out = (struct elf){ .known = true };
	if (n > size || !read_header(p, n, out))
		return false;
	size_t each = out->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	uint64_t at = address(out, p, e_phoff);
	unsigned count = half(out, p, e_phnum);

	if (half(out, p, e_phentsize) != each || !count || count * each > HEADERS_MAX ||
	    at > size || count * each > size - at)
		return false;
	if (at > n || count * each > n - at) {
		out->known = false;
		return true;
	}
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *header = p + at + i * each;

		if (field(out, header, 4) == PT_INTERP)
			return read_loader(p, n, header, size, out);
	}
	return true;
}

/* ---- machines ------------------------------------------------------------------------------- */

static const struct machine {
	const char *arch, *name; /* GOARCH; as programs call it */
	unsigned machine;
	bool wide, big;
} machines[] = {
	{ "amd64", "x86-64", EM_X86_64, true, false },
	{ "386", "i386", EM_386, false, false },
	{ "arm64", "aarch64", EM_AARCH64, true, false },
	{ "arm", "arm", EM_ARM, false, false },
	{ "riscv64", "riscv64", EM_RISCV, true, false },
	{ "ppc64le", "ppc64le", EM_PPC64, true, false },
	{ "s390x", "s390x", EM_S390, true, true },
	{ "loong64", "loongarch64", 258 /* EM_LOONGARCH, which older elf.h lack */, true, false },
};

void elf_machine_name(unsigned machine, char out[24])
{
	snprintf(out, 24, "machine %u", machine);
	for (size_t i = 0; i < K3_ARRAY_LEN(machines); i++)
		if (machines[i].machine == machine)
			snprintf(out, 24, "%s", machines[i].name);
}

static bool is_of(const struct elf *f, const char *arch)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(machines); i++) {
		const struct machine *m = &machines[i];

		if (!strcmp(m->arch, arch))
			return f->machine == m->machine && f->big == m->big &&
			       /* x32 and arm64 ILP32 are 32-bit layouts of the same machine. */
			       (f->wide == m->wide || m->machine == EM_X86_64);
	}
	return false;
}

enum elf_fit elf_fits(const struct elf *f, const char *arch)
{
	bool known = false;

	for (size_t i = 0; i < K3_ARRAY_LEN(machines); i++)
		known = known || !strcmp(machines[i].arch, arch);
	if (!known)
		return ELF_UNKNOWN;
	/* Kernels of these machines run the programs of their 32-bit forerunners. */
	if (is_of(f, arch) || (!strcmp(arch, "amd64") && is_of(f, "386")) ||
	    (!strcmp(arch, "arm64") && is_of(f, "arm")))
		return ELF_FITS;
	return ELF_FOREIGN;
}

/* ---- scripts -------------------------------------------------------------------------------- */

static size_t skip_blanks(const char *text, size_t at, size_t end)
{
	while (at < end && (text[at] == ' ' || text[at] == '\t'))
		at++;
	return at;
}

bool elf_read_script(const uint8_t *p, size_t n, struct elf_script *out)
{
	const char *text = (const char *)p;
	size_t end = 2, at, word;

	*out = (struct elf_script){ 0 };
	if (n < 2 || text[0] != '#' || text[1] != '!')
		return false;
	if (n > ELF_SCRIPT_MAX - 1)
		n = ELF_SCRIPT_MAX - 1;
	while (end < n && text[end] != '\n' && text[end])
		end++;
	at = word = skip_blanks(text, 2, end);
	while (word < end && text[word] != ' ' && text[word] != '\t')
		word++;
	if (word == at)
		return false;
	memcpy(out->program, text + at, word - at);
	word = skip_blanks(text, word, end);
	while (end > word && (text[end - 1] == ' ' || text[end - 1] == '\t'))
		end--;
	memcpy(out->argument, text + word, end - word);
	return true;
}
