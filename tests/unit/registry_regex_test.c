/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/regex.h"

#include <stdlib.h>

#include "base/mem.h"
#include "tests/unit/unit.h"

static struct k3_err err;

/* What Go's regexp.MustCompile(pattern).ReplaceAllString(text, with) gives. */
static void gives(const char *pattern, const char *text, const char *with, const char *want)
{
	struct regex *re = NULL;

	OK(regex_new(pattern, &re, &err));
	if (!re)
		return;
	K3_AUTO_FREE char *got = regex_replace_all(re, text, with, 3000);

	if (!got || strcmp(got, want) != 0)
		unit_fail(__FILE__, __LINE__, "s/%s/%s/ on \"%s\" is \"%s\", want \"%s\"", pattern,
			  with, text, got ? got : "(null)", want);
	regex_free(re);
}

TEST(rewrites_of_the_k3s_documentation)
{
	gives("(^rancher/.*)", "rancher/pause", "mirrorproject/rancher-images/$1",
	      "mirrorproject/rancher-images/rancher/pause");
	gives("^rancher/(.*)", "rancher/pause", "mirrorproject/rancher-images/$1",
	      "mirrorproject/rancher-images/pause");
	gives("^rancher/(.*)", "library/nginx", "x/$1", "library/nginx");
	gives("(.*)", "library/nginx", "proxy/$1", "proxy/library/nginx");
	gives("^library/(.*)", "library/nginx", "$1", "nginx");
	gives("^(.*)/(.*)$", "a/b/c", "$2/${1}_x", "c/a/b_x");
}

TEST(pieces)
{
	gives("a", "banana", "o", "bonono");
	gives("a+", "baaanaa", "o", "bono");
	gives("a?", "bab", "-", "-b-b-");
	gives("a*", "baab", "-", "-b-b-");
	gives("x{2}", "xxxxx", "y", "yyx");
	gives("x{2,}", "xxxxx", "y", "y");
	gives("x{1,2}", "xxxxx", "y", "yyy");
	gives("^x{0,2}$", "xx", "y", "y");
	gives("x{0}b", "xb", "y", "xy");
	gives("x{a", "x{a", "y", "y");
	gives("a.c", "abc a\nc", "x", "x a\nc");
	gives("(?s)a.c", "abc a\nc", "x", "x x");
	gives("(?i)ABC", "xabcx", "-", "x-x");
	gives("(?i:a)B", "aB AB ab", "-", "- - ab");
	gives("[a-c0-2]+", "xabc012x", "-", "x-x");
	gives("[^a-c]+", "abxxc", "-", "ab-c");
	gives("[]a]+", "x]ax", "-", "x-x");
	gives("[a-]+", "x-ax", "y", "xyx");
	gives("[[:digit:]]+[[:^digit:]]", "a123bc", "-", "a-c");
	gives("\\d+\\w\\s", "12a b", "-", "-b");
	gives("[\\d/]+", "a/12/b", "-", "a-b");
	gives("\\D", "1a2", "-", "1-2");
	gives("\\.", "a.b", "-", "a-b");
	gives("\\x61", "bab", "-", "b-b");
	gives("\\bcat\\b", "cat concat cat", "dog", "dog concat dog");
	gives("\\Aa", "aa", "b", "ba");
	gives("a\\z", "aa", "b", "ab");
	gives("", "ab", "-", "-a-b-");
}

TEST(alternatives_and_groups)
{
	/* the first one wins, not the longest one */
	gives("a|ab", "abab", "-", "-b-b");
	gives("(?:a|b|cd)+", "xabcdx", "-", "x-x");
	gives("^(?:docker|library)/(.+)$", "docker/a", "$1", "a");
	gives("(a)|(b)", "ab", "[$1,$2]", "[a,][,b]");
	gives("(?P<org>[a-z]+)/(?<name>.+)", "a/b/c", "${name}-${org}", "b/c-a");
	gives("((a)(b))", "ab", "$3$2$1", "baab");
	gives("(a*)*", "aab", "-", "-b-");
	gives("(a|b)*c", "abbac", "$1", "a");
	gives("(.+?)/(.+)", "a/b/c", "$2 $1", "b/c a");
	gives("(.+)/(.+?)$", "a/b/c", "$2 $1", "c a/b");
	gives("(a{2}){2}", "aaaaa", "-", "-a");
	gives("(|a)b", "ab", "x", "x");
}

TEST(templates)
{
	gives("(b)", "abc", "$$1", "a$1c");
	gives("(b)", "abc", "$1x", "ac");
	gives("(b)", "abc", "${1}x", "abxc");
	gives("(b)", "abc", "$", "a$c");
	gives("(b)", "abc", "${1", "a${1c");
	gives("(b)", "abc", "$7$0", "abc");
}

TEST(time_is_linear)
{
	char text[2001];

	memset(text, 'a', 2000);
	text[2000] = '\0';
	/* what backtracking takes for ever over */
	gives("(a*)*(a*)*(a|aa)*b", text, "x", text);
	gives("(?:a?){30}a{30}$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", "x");
}

TEST(refused)
{
	static const char *const bad[] = { "(",       ")",       "a)",    "[",
					   "[a",      "*a",      "a**",   "a{2}{3}",
					   "a{1001}", "a{3,2}",  "\\q",   "(?=a)",
					   "(?P<n",   "(?P<>a)", "[z-a]", "[[:what:]]",
					   "\\",      "\\pN",    "(?i",   "\xc3[\xc3\xa9]" };
	struct regex *re;
	char deep[500];

	for (size_t i = 0; i < K3_ARRAY_LEN(bad); i++) {
		err = (struct k3_err){ 0 };
		if (!regex_new(bad[i], &re, &err)) {
			unit_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
			regex_free(re);
		}
		EQ_INT(err.code, K3_FORMAT);
	}
	memset(deep, '(', 400);
	deep[400] = '\0';
	FAILS(regex_new(deep, &re, &err), K3_LIMIT);
	FAILS(regex_new("((a{100}){100}){100}", &re, &err), K3_LIMIT);
}

TEST(a_result_has_a_limit)
{
	struct regex *re;

	OK(regex_new("a", &re, &err));
	EQ_STR(regex_replace_all(re, "aaaa", "0123456789", 30), NULL);
	regex_free(re);
}

UNIT_MAIN
