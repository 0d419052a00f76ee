/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/origin.h"

#include <stdlib.h>

#include "tests/unit/unit.h"

static bool excepted(const char *list, const char *origin)
{
	setenv("no_proxy", list, 1);
	return http_origin_is_excepted(origin);
}

TEST(no_proxy_with_a_port)
{
	static const struct {
		const char *list, *origin;
		bool want;
	} cases[] = {
		{ "reg.test:5000", "https://reg.test:5000", true },
		{ "reg.test:5000", "http://reg.test:5000", true },
		{ "REG.test:5000", "http://reg.TEST:5000", true },
		{ "reg.test:5000", "https://reg.test:5001", false },
		{ "reg.test:5000", "https://reg.test:50", false },
		{ "reg.test:5000", "https://reg.test", false },
		{ "reg.test:443", "https://reg.test", true },
		{ "reg.test:443", "http://reg.test", false },
		{ "reg.test:80", "http://reg.test", true },
		/* A domain has what is below it; with a dot it is only that. */
		{ "test:5000", "https://reg.test:5000", true },
		{ "est:5000", "https://reg.test:5000", false },
		{ ".test:5000", "https://reg.test:5000", true },
		{ "*.test:5000", "https://a.reg.test:5000", true },
		{ ".reg.test:5000", "https://reg.test:5000", false },
		{ "*:5000", "https://reg.test:5000", false },
		{ ":5000", "https://reg.test:5000", false },
		/* Lists, addresses. */
		{ "a.test, b.test:1 ,reg.test:5000", "https://reg.test:5000", true },
		{ "10.0.0.1:5000", "http://10.0.0.1:5000", true },
		{ "[fd00::1]:5000", "http://[fd00::1]:5000", true },
		{ "[fd00::1]:80", "http://[fd00::1]", true },
		{ "fd00::1", "http://[fd00::1]:5000", false },
		{ "[fd00::2]:5000", "http://[fd00::1]:5000", false },
		/* Without a port they are libcurl's. */
		{ "reg.test", "https://reg.test", false },
		{ "*", "https://reg.test", false },
		{ "[", "https://reg.test", false },
		{ ":", "https://reg.test", false },
		{ "]:", "https://reg.test", false },
		{ "[:1", "https://reg.test:1", false },
		{ "", "https://reg.test", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool got = excepted(cases[i].list, cases[i].origin);

		if (got != cases[i].want)
			fprintf(stderr, "no_proxy=%s, %s\n", cases[i].list, cases[i].origin);
		EQ_INT(got, cases[i].want);
	}
	unsetenv("no_proxy");
	setenv("NO_PROXY", "reg.test:5000", 1);
	CHECK(http_origin_is_excepted("https://reg.test:5000"));
	setenv("no_proxy", "other.test", 1);
	CHECK(!http_origin_is_excepted("https://reg.test:5000"));
	unsetenv("no_proxy");
	unsetenv("NO_PROXY");
	CHECK(!http_origin_is_excepted("https://reg.test:5000"));
}

UNIT_MAIN
