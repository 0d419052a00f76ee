/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

struct unit_test *unit_tests;
int unit_failed_checks;
static const char *running;
static char tmpdir[128];

void unit_register(struct unit_test *t)
{
	struct unit_test **end = &unit_tests;

	while (*end)
		end = &(*end)->next;
	*end = t;
}

void unit_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	unit_failed_checks++;
	fprintf(stderr, "%s:%d: %s: ", file, line, running);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void remove_tmpdir(void)
{
	struct k3_err e;

	/* Trees of tests are deeper than PATH_MAX: only ours gets them. */
	if (tmpdir[0] && k3_remove_tree(AT_FDCWD, tmpdir, &e))
		fprintf(stderr, "unit: %s\n", e.msg);
	tmpdir[0] = '\0';
}

const char *unit_tmpdir(void)
{
	const char *base = getenv("TMPDIR");

	remove_tmpdir();
	snprintf(tmpdir, sizeof(tmpdir), "%s/k3simg-unit.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(tmpdir)) {
		perror(tmpdir);
		exit(1);
	}
	return tmpdir;
}

/* Arguments choose tests by name; none runs all. */
static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc < 2;
}

int unit_main(int argc, char **argv)
{
	int passed = 0, failed = 0;
	const char *slash = strrchr(argv[0], '/');

	atexit(remove_tmpdir);
	for (struct unit_test *t = unit_tests; t; t = t->next) {
		if (!wanted(t->name, argc, argv))
			continue;
		unit_failed_checks = 0;
		running = t->name;
		t->run();
		if (unit_failed_checks)
			failed++;
		else
			passed++;
	}
	printf("%s: %d passed, %d failed\n", slash ? slash + 1 : argv[0], passed, failed);
	return failed ? 1 : 0;
}
