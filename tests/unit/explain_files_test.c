/* SPDX-License-Identifier: Apache-2.0 */
/* Programs, scripts and users in a tree. */
#include "tests/unit/unit.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "explain/elf.h"
#include "explain/program.h"
#include "explain/users.h"

#define LOADER "/lib/ld.so.1"
#define ELF_SIZE (sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + sizeof(LOADER))

/* A 64-bit program of this machine with a loader ("" = none). */
static size_t make_elf(uint8_t *p, unsigned machine, const char *loader)
{
	Elf64_Ehdr h = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				      EV_CURRENT },
			 .e_type = ET_DYN,
			 .e_machine = (Elf64_Half)machine,
			 .e_phoff = sizeof(h),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1 };
	Elf64_Phdr ph = { .p_type = *loader ? PT_INTERP : PT_LOAD,
			  .p_offset = sizeof(h) + sizeof(ph),
			  .p_filesz = strlen(loader) + 1 };

	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), &ph, sizeof(ph));
	memcpy(p + sizeof(h) + sizeof(ph), loader, strlen(loader) + 1);
	return sizeof(h) + sizeof(ph) + strlen(loader) + 1;
}

/* ---- ELF ------------------------------------------------------------------------------------ */

TEST(elf_header)
{
	uint8_t p[256] = { 0 };
	struct elf f;
	size_t n = make_elf(p, EM_X86_64, LOADER);
	char name[24];

	CHECK(elf_read(p, n, n, &f));
	EQ_INT(f.machine, EM_X86_64);
	CHECK(f.wide && !f.big && f.known);
	EQ_STR(f.loader, LOADER);
	EQ_INT(elf_fits(&f, "amd64"), ELF_FITS);
	EQ_INT(elf_fits(&f, "arm64"), ELF_FOREIGN);
	EQ_INT(elf_fits(&f, "vax"), ELF_UNKNOWN);
	elf_machine_name(f.machine, name);
	EQ_STR(name, "x86-64");
	elf_machine_name(4711, name);
	EQ_STR(name, "machine 4711");
	/* What is cut off cannot be read, and is not refused for it. */
	CHECK(elf_read(p, n - 3, n, &f) && !f.known && !f.loader[0]);
	CHECK(elf_read(p, 100, n, &f) && !f.known);
	for (size_t k = 0; k < 64; k++)
		CHECK(!elf_read(p, k, k, &f));
	CHECK(!elf_read(p, n - 3, n - 3, &f));
	n = make_elf(p, EM_X86_64, "");
	CHECK(elf_read(p, n, n, &f) && f.known && !f.loader[0]);
}

TEST(elf_refused)
{
	uint8_t p[256];
	size_t n = make_elf(p, EM_X86_64, LOADER);
	struct elf f;
	static const struct {
		size_t at;
		uint8_t byte;
	} breaks[] = { { 0, 'x' }, { EI_CLASS, 7 }, { EI_DATA, 0 }, { 16, ET_CORE },
		       { 54, 1 },  { 56, 0 },       { 57, 0xff },   { 39, 0x80 } };

	for (size_t k = 0; k < sizeof(breaks) / sizeof(breaks[0]); k++) {
		uint8_t q[256];

		memcpy(q, p, sizeof(q));
		q[breaks[k].at] = breaks[k].byte;
		if (elf_read(q, n, n, &f))
			unit_fail(__FILE__, __LINE__, "byte %zu is taken", breaks[k].at);
	}
	p[n - 1] = 'x'; /* the loader's name without its end */
	CHECK(!elf_read(p, n, n, &f));
}

TEST(elf_other_layouts)
{
	uint8_t p[128] = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2MSB, 1 };
	struct elf f;

	p[17] = ET_EXEC;
	p[19] = 8; /* mips, big-endian */
	p[31] = 52;
	p[43] = 32;
	p[45] = 1;
	p[55] = PT_INTERP;
	p[52 + 7] = 84;
	p[52 + 19] = 3;
	memcpy(p + 84, "/l", 3);
	CHECK(elf_read(p, 87, 87, &f));
	CHECK(!f.wide && f.big);
	EQ_INT(f.machine, 8);
	EQ_STR(f.loader, "/l");
	EQ_INT(elf_fits(&f, "amd64"), ELF_FOREIGN);
	f = (struct elf){ .machine = EM_386 };
	EQ_INT(elf_fits(&f, "amd64"), ELF_FITS);
	EQ_INT(elf_fits(&f, "386"), ELF_FITS);
	f = (struct elf){ .machine = EM_ARM };
	EQ_INT(elf_fits(&f, "arm64"), ELF_FITS);
	EQ_INT(elf_fits(&f, "amd64"), ELF_FOREIGN);
}

static void is_script(const char *text, const char *program, const char *argument)
{
	struct elf_script s;

	CHECK(elf_read_script((const uint8_t *)text, strlen(text), &s));
	EQ_STR(s.program, program);
	EQ_STR(s.argument, argument);
}

TEST(scripts)
{
	struct elf_script s;

	is_script("#!/bin/sh\necho\n", "/bin/sh", "");
	is_script("#! \t/bin/sh -e x \n", "/bin/sh", "-e x");
	is_script("#!/usr/bin/env python3", "/usr/bin/env", "python3");
	is_script("#!/bin/sh\r\n", "/bin/sh\r", "");
	CHECK(!elf_read_script((const uint8_t *)"#!\n", 3, &s));
	CHECK(!elf_read_script((const uint8_t *)"#/bin/sh", 8, &s));
	CHECK(!elf_read_script((const uint8_t *)"#", 1, &s));
}

/* ---- users ---------------------------------------------------------------------------------- */

TEST(users_in_files)
{
	static const char text[] = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nno:x:id:1\n"
				   "app:x:1000:1001:App:/:/bin/sh\nbig:x:4294967295:1\nlast:*:7";
	uint32_t id = 9, group = 9;

	CHECK(users_find(text, strlen(text), "app", &id, &group));
	EQ_INT(id, 1000);
	EQ_INT(group, 1001);
	CHECK(users_find(text, strlen(text), "last", &id, &group));
	EQ_INT(id, 7);
	EQ_INT(group, 0);
	CHECK(!users_find(text, strlen(text), "ap", &id, &group));
	CHECK(!users_find(text, strlen(text), "broken", &id, &group));
	CHECK(!users_find(text, strlen(text), "no", &id, &group));
	CHECK(!users_find(text, strlen(text), "big", &id, &group));
	CHECK(!users_find("", 0, "root", &id, &group));
	CHECK(users_number("65534", &id) && id == 65534);
	CHECK(users_number("2147483647", &id));
	CHECK(!users_number("2147483648", &id));
	CHECK(!users_number("", &id) && !users_number("1a", &id) && !users_number("-1", &id));
}

/* ---- trees ---------------------------------------------------------------------------------- */

/* One tree for all tests: each call of unit_tmpdir makes another directory. */
static const char *tree_path(void)
{
	static const char *path;

	if (!path)
		path = unit_tmpdir();
	return path;
}

static void put(const char *path, const void *p, size_t n, mode_t mode)
{
	K3_AUTO_FREE char *full = k3_xasprintf("%s/%s", tree_path(), path);

	for (char *s = full + strlen(tree_path()) + 1; (s = strchr(s, '/')); s++) {
		*s = '\0';
		(void)!mkdir(full, 0755);
		*s = '/';
	}
	K3_AUTO_FD int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n && !fchmod(fd, mode));
}

static void put_text(const char *path, const char *text, mode_t mode)
{
	put(path, text, strlen(text), mode);
}

static void put_link(const char *target, const char *path)
{
	K3_AUTO_FREE char *full = k3_xasprintf("%s/%s", tree_path(), path);

	(void)!unlink(full);
	CHECK(!symlink(target, full));
}

static int open_tree(void)
{
	return open(tree_path(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

TEST(files_below_the_tree_only)
{
	K3_AUTO_FD int fd = open_tree();
	struct k3_root root = { .fd = fd };
	struct tree_file f;
	struct k3_err err;
	static const char *const ways[] = { "/usr/bin/real",
					    "usr//bin/./real",
					    "/link",
					    "/up",
					    "/dir/real",
					    "/usr/bin/../bin/real",
					    "/../../usr/bin/real",
					    "/dir/../bin/real" };

	put_text("usr/bin/real", "x", 0755);
	put_link("/usr/bin/real", "link");
	put_link("../../../../usr/bin/real", "up");
	put_link("usr/bin", "dir");
	put_link("/etc/hostname", "outside");
	put_link("loop", "loop");
	for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
		OK(tree_find(&root, ways[k], &f, &err));
		EQ_STR(f.path, "/usr/bin/real");
		CHECK(f.fd >= 0 && S_ISREG(f.st.st_mode));
		tree_file_release(&f);
	}
	OK(tree_find(&root, "/dir/", &f, &err));
	CHECK(S_ISDIR(f.st.st_mode) && f.fd < 0);
	tree_file_release(&f);
	OK(tree_find(&root, "", &f, &err));
	EQ_STR(f.path, "/");
	tree_file_release(&f);
	FAILS(tree_find(&root, "/outside", &f, &err), K3_NOTFOUND);
	FAILS(tree_find(&root, "/loop", &f, &err), K3_UNSAFE);
	FAILS(tree_find(&root, "/none/x", &f, &err), K3_NOTFOUND);
	FAILS(tree_find(&root, "/usr/bin/real/x", &f, &err), K3_FORMAT);
}

/* What is found with these words; of amd64. */
static void finds(const struct program_search *how, enum program_state state, const char *path,
		  const char *other)
{
	K3_AUTO_FD int fd = open_tree();
	struct k3_root root = { .fd = fd };
	struct program_search s = *how;
	struct program p;

	s.arch = "amd64";
	s.workdir = s.workdir ? s.workdir : "";
	program_find(&root, &s, &p);
	if (p.state != state)
		unit_fail(__FILE__, __LINE__, "%s: state %d, want %d", s.word, p.state, state);
	EQ_STR(p.path, path);
	EQ_STR(p.other, other);
	program_release(&p);
}

#define FINDS(state, path, other, ...)                                                             \
	finds(&(struct program_search){ __VA_ARGS__ }, state, path, other)

TEST(programs)
{
	uint8_t elf[256];
	size_t n = make_elf(elf, EM_X86_64, "");

	put("bin/static", elf, n, 0755);
	put("app/tool", elf, n, 0750);
	put("app/own", elf, n, 0700);
	put("bin/plain", elf, n, 0644);
	put_link("/bin/static", "bin/linked");
	FINDS(PROGRAM_OK, "/bin/static", NULL, .word = "/bin/static");
	FINDS(PROGRAM_OK, "/bin/static", NULL, .word = "static");
	FINDS(PROGRAM_OK, "/bin/static", NULL, .word = "linked");
	FINDS(PROGRAM_OK, "/bin/static", NULL, .word = "./static", .workdir = "/bin");
	FINDS(PROGRAM_OK, "/app/tool", NULL, .word = "tool", .path = "/none:/app");
	FINDS(PROGRAM_OK, "/app/tool", NULL, .word = "tool", .path = "", .workdir = "/app");
	FINDS(PROGRAM_MISSING, NULL, NULL, .word = "tool");
	FINDS(PROGRAM_MISSING, NULL, NULL, .word = "/none");
	FINDS(PROGRAM_MISSING, NULL, NULL, .word = "");
	FINDS(PROGRAM_NO_FILE, "/bin", NULL, .word = "/bin");
	FINDS(PROGRAM_NO_PERMISSION, "/bin/plain", NULL, .word = "/bin/plain");
	FINDS(PROGRAM_NO_PERMISSION, "/app/own", NULL, .word = "/app/own", .user_known = true,
	      .uid = 4711, .gid = 4711);
	FINDS(PROGRAM_OK, "/app/tool", NULL, .word = "/app/tool", .user_known = true, .uid = 4711,
	      .gid = getgid());
}

TEST(what_programs_need)
{
	uint8_t elf[256];
	size_t n = make_elf(elf, EM_X86_64, LOADER);

	put("bin/dynamic", elf, n, 0755);
	FINDS(PROGRAM_NO_LOADER, "/bin/dynamic", LOADER, .word = "/bin/dynamic");
	put_text("lib/ld.so.1", "no program", 0755);
	FINDS(PROGRAM_NO_LOADER, "/bin/dynamic", LOADER, .word = "/bin/dynamic");
	n = make_elf(elf, EM_AARCH64, "");
	put("lib/ld.so.1", elf, n, 0755);
	FINDS(PROGRAM_FOREIGN_LOADER, "/bin/dynamic", LOADER, .word = "/bin/dynamic");
	put("bin/foreign", elf, n, 0755);
	FINDS(PROGRAM_FOREIGN, "/bin/foreign", NULL, .word = "/bin/foreign");
	n = make_elf(elf, EM_X86_64, "");
	put("lib/ld.so.1", elf, n, 0755);
	FINDS(PROGRAM_OK, "/bin/dynamic", NULL, .word = "/bin/dynamic");
	put_text("bin/text", "no program\n", 0755);
	put_text("bin/empty", "", 0755);
	FINDS(PROGRAM_NO_FORMAT, "/bin/text", NULL, .word = "/bin/text");
	FINDS(PROGRAM_NO_FORMAT, "/bin/empty", NULL, .word = "/bin/empty");
}

TEST(interpreters)
{
	uint8_t elf[256];
	size_t n = make_elf(elf, EM_X86_64, "");

	put("bin/sh", elf, n, 0755);
	put("usr/bin/env", elf, n, 0755);
	put_text("bin/good", "#!/bin/sh -e\n", 0755);
	put_text("bin/nested", "#!/bin/good\n", 0755);
	put_text("bin/bad", "#!/bin/none\n", 0755);
	put_text("bin/windows", "#!/bin/sh\r\n", 0755);
	put_text("bin/itself", "#!/bin/itself\n", 0755);
	put_text("bin/on-text", "#!/bin/words\n", 0755);
	put_text("bin/words", "words\n", 0755);
	put_text("bin/py", "#!/usr/bin/env python3\n", 0755);
	put_text("bin/env-sh", "#!/usr/bin/env sh\n", 0755);
	put_text("bin/env-option", "#!/usr/bin/env -S python3 -u\n", 0755);
	FINDS(PROGRAM_OK, "/bin/good", NULL, .word = "good");
	FINDS(PROGRAM_OK, "/bin/nested", NULL, .word = "nested");
	FINDS(PROGRAM_NO_INTERPRETER, "/bin/bad", "/bin/none", .word = "bad");
	FINDS(PROGRAM_NO_INTERPRETER, "/bin/windows", "/bin/sh\r", .word = "windows");
	FINDS(PROGRAM_NO_INTERPRETER, "/bin/itself", "/bin/itself", .word = "itself");
	FINDS(PROGRAM_NO_INTERPRETER, "/bin/on-text", "/bin/words", .word = "on-text");
	FINDS(PROGRAM_NO_INTERPRETER, "/bin/py", "python3", .word = "py");
	FINDS(PROGRAM_OK, "/bin/env-sh", NULL, .word = "env-sh");
	FINDS(PROGRAM_OK, "/bin/env-option", NULL, .word = "env-option");
}

UNIT_MAIN
