/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit test harness: checks print both values, tests go on after a failed check.
 *
 *   TEST(ref_adds_library) { ... EQ_STR(ref.repo, "library/nginx"); ... }
 *   UNIT_MAIN
 *
 * Each program prints one line "<program>: N passed, N failed" and exits 0 or 1.
 */
#ifndef K3_TESTS_UNIT_H
#define K3_TESTS_UNIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

struct unit_test {
	const char *name;
	void (*run)(void);
	struct unit_test *next;
};

extern struct unit_test *unit_tests;
extern int unit_failed_checks;

int unit_main(int argc, char **argv);
void unit_register(struct unit_test *t);
void unit_fail(const char *file, int line, const char *fmt, ...) K3_PRINTF(3, 4);

/* A new empty directory below $TMPDIR or /tmp, removed with its content at exit. */
const char *unit_tmpdir(void);

#define TEST(id)                                                                                   \
	static void test_##id(void);                                                               \
	static struct unit_test unit_##id = { #id, test_##id, NULL };                              \
	__attribute__((constructor)) static void register_##id(void)                               \
	{                                                                                          \
		unit_register(&unit_##id);                                                         \
	}                                                                                          \
	static void test_##id(void)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			unit_fail(__FILE__, __LINE__, "%s", #cond);                                \
	} while (0)

#define EQ_INT(got, want)                                                                          \
	do {                                                                                       \
		long long g_ = (long long)(got), w_ = (long long)(want);                           \
		if (g_ != w_)                                                                      \
			unit_fail(__FILE__, __LINE__, "%s is %lld, want %lld", #got, g_, w_);      \
	} while (0)

#define EQ_STR(got, want)                                                                          \
	do {                                                                                       \
		const char *g_ = (got), *w_ = (want);                                              \
		if (!g_ || !w_ ? g_ != w_ : strcmp(g_, w_) != 0)                                   \
			unit_fail(__FILE__, __LINE__, "%s is \"%s\", want \"%s\"", #got,           \
				  g_ ? g_ : "(null)", w_ ? w_ : "(null)");                         \
	} while (0)

#define HAS_STR(got, part)                                                                         \
	do {                                                                                       \
		const char *g_ = (got), *p_ = (part);                                              \
		if (!strstr(g_, p_))                                                               \
			unit_fail(__FILE__, __LINE__, "%s is \"%s\", which has no \"%s\"", #got,   \
				  g_, p_);                                                         \
	} while (0)

/* The call returns 0; prints the error otherwise.  `err` names a struct k3_err variable. */
#define OK(call)                                                                                   \
	do {                                                                                       \
		err = (struct k3_err){ 0 };                                                        \
		if (call)                                                                          \
			unit_fail(__FILE__, __LINE__, "%s: %s", #call, err.msg);                   \
	} while (0)

/* The call returns -1 with that code. */
#define FAILS(call, want_code)                                                                     \
	do {                                                                                       \
		err = (struct k3_err){ 0 };                                                        \
		if (!(call))                                                                       \
			unit_fail(__FILE__, __LINE__, "%s: succeeded", #call);                     \
		else if (err.code != (want_code))                                                  \
			unit_fail(__FILE__, __LINE__, "%s: code %s (%s), want %s", #call,          \
				  k3_code_name(err.code), err.msg, k3_code_name(want_code));       \
	} while (0)

#define UNIT_MAIN                                                                                  \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return unit_main(argc, argv);                                                      \
	}

#endif
