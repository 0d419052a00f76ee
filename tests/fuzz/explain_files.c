/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a tree: the first byte says which, any others are taken or refused. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "explain/elf.h"
#include "explain/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file is larger than what was read of it by the second byte. */
static void program(const uint8_t *data, size_t size)
{
	K3_AUTO_FREE struct elf *f = k3_xcalloc(1, sizeof(*f));
	uint64_t more = size ? (uint64_t)data[0] << 12 : 0;
	char name[24];

	if (!size || !elf_read(data + 1, size - 1, size - 1 + more, f))
		return;
	if (strnlen(f->loader, ELF_LOADER_MAX) == ELF_LOADER_MAX || (!f->known && f->loader[0]))
		abort();
	elf_machine_name(f->machine, name);
	if (!name[0] || elf_fits(f, "vax") != ELF_UNKNOWN || elf_fits(f, "amd64") == ELF_UNKNOWN)
		abort();
}

static void script(const uint8_t *data, size_t size)
{
	struct elf_script s;

	if (!elf_read_script(data, size, &s))
		return;
	if (!s.program[0] || strpbrk(s.program, " \t\n") || strchr(s.argument, '\n'))
		abort();
}

static void users(const uint8_t *data, size_t size)
{
	const uint8_t *cut = size ? memchr(data, '\n', size) : NULL;
	uint32_t id = 0, group = 0;

	if (!cut)
		return;
	K3_AUTO_FREE char *name = k3_xstrndup((const char *)data, (size_t)(cut - data));

	(void)users_number(name, &id);
	if (users_find((const char *)cut + 1, size - (size_t)(cut - data) - 1, name, &id, &group) &&
	    (id > INT32_MAX || group > INT32_MAX))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0]) {
	case 'e':
		program(data + 1, size - 1);
		break;
	case 's':
		script(data + 1, size - 1);
		break;
	default:
		users(data + 1, size - 1);
		break;
	}
	return 0;
}
