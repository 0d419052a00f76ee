/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

TEST(err_fail_and_wrap)
{
	struct k3_err err = { .sys = 7, .retry = true, .hint = "old" };

	EQ_INT(k3_fail(&err, K3_DIGEST, "blob %d", 3), -1);
	EQ_INT(err.code, K3_DIGEST);
	EQ_INT(err.sys, 0);
	EQ_INT(err.retry, false);
	EQ_STR(err.hint, "");
	err.retry = true;
	EQ_INT(k3_wrap(&err, "layer %s", "x"), -1);
	EQ_STR(err.msg, "layer x: blob 3");
	EQ_INT(err.code, K3_DIGEST);
	EQ_INT(err.retry, true);
}

TEST(err_hint_innermost_wins)
{
	struct k3_err err;

	k3_fail(&err, K3_IO, "x");
	EQ_INT(k3_hint(&err, "do %s", "this"), -1);
	k3_hint(&err, "do that");
	EQ_STR(err.hint, "do this");
	k3_wrap(&err, "outer");
	EQ_STR(err.hint, "do this");
}

TEST(err_sys_codes)
{
	struct k3_err err;

	EQ_INT(k3_fail_sys(&err, ENOSPC, "cannot write %s", "f"), -1);
	EQ_INT(err.code, K3_NOSPC);
	EQ_INT(err.sys, ENOSPC);
	EQ_STR(err.msg, "cannot write f: No space left on device");
	CHECK(err.hint[0] != '\0');
	k3_fail_sys(&err, EDQUOT, "x");
	EQ_INT(err.code, K3_NOSPC);
	k3_fail_sys(&err, EROFS, "x");
	EQ_INT(err.code, K3_STORE);
	k3_fail_sys(&err, ENOMEM, "x");
	EQ_INT(err.code, K3_NOMEM);
	k3_fail_sys(&err, EACCES, "x");
	EQ_INT(err.code, K3_IO);
	EQ_STR(err.hint, "");
}

TEST(err_long_messages_are_cut)
{
	struct k3_err err;
	char big[2 * K3_ERR_MSG_MAX];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	k3_fail(&err, K3_FORMAT, "%s", big);
	CHECK(strlen(err.msg) < K3_ERR_MSG_MAX);
	k3_fail_sys(&err, EIO, "%s", big);
	CHECK(strlen(err.msg) < K3_ERR_MSG_MAX);
	k3_fail(&err, K3_FORMAT, "%.300s", big);
	k3_wrap(&err, "%.300s", big);
	EQ_INT(strlen(err.msg), K3_ERR_MSG_MAX - 1);
	EQ_STR(err.msg + K3_ERR_MSG_MAX - 4, "...");
	k3_hint(&err, "%s", big);
	CHECK(strlen(err.hint) < K3_ERR_HINT_MAX);
}

TEST(err_control_bytes_are_escaped)
{
	struct k3_err err;

	k3_fail(&err, K3_FORMAT, "a\x1b[2J%s", "\n\t\x7f");
	EQ_STR(err.msg, "a\\x1b[2J\\x0a\\x09\\x7f");
	k3_wrap(&err, "%s", "\r");
	EQ_STR(err.msg, "\\x0d: a\\x1b[2J\\x0a\\x09\\x7f");
	k3_hint(&err, "%s", "\x1b");
	EQ_STR(err.hint, "\\x1b");
}

TEST(escape_table)
{
	static const struct {
		const char *in, *out;
		size_t size;
	} t[] = {
		{ "plain", "plain", 16 },
		{ "", "", 16 },
		{ "\xc3\xa9\xe2\x80\xa6", "\xc3\xa9\xe2\x80\xa6", 16 },
		{ "\xc2\x9b"
		  "2J",
		  "\\xc2\\x9b"
		  "2J",
		  16 },                  /* C1 CSI; a bare 0x9b is one, too */
		{ "\x9b", "\\x9b", 16 }, /* no UTF-8: stray, cut, overlong, surrogate */
		{ "a\xe2\x82", "a\\xe2\\x82", 16 },
		{ "\xc0\xaf", "\\xc0\\xaf", 16 },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", 16 },
		{ "\xf4\x90\x80", "\\xf4\\x90\\x80", 16 },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", 16 },
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae", 16 },    /* right-to-left override */
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8", 16 },    /* line separator */
		{ "ab\xe2\x82\xac\xe2\x82\xac", "ab...", 8 }, /* never half a character */
		{ "\xe2\x82\xac\xe2\x82\xac", "...", 6 },
		{ "\xc2\xa0", "\xc2\xa0", 16 },
		{ "abcdef", "ab...", 6 },
		{ "abcde", "abcde", 6 },
		{ "abcdef", "...", 4 },
		{ "abcdef", "ab", 3 },
		{ "abcdef", "", 1 },
		{ "ab\n", "ab...", 6 },
	};
	char out[16];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		memset(out, '#', sizeof(out));
		k3_escape(out, t[i].size, t[i].in);
		EQ_STR(out, t[i].out);
		if (t[i].size < sizeof(out))
			EQ_INT(out[t[i].size], '#');
	}
	out[0] = '#';
	k3_escape(out, 0, "abc");
	EQ_INT(out[0], '#');
}

TEST(err_exit_statuses)
{
	EQ_INT(k3_exit_status(K3_OK), 0);
	EQ_INT(k3_exit_status(K3_BUG), 1);
	EQ_INT(k3_exit_status(K3_USAGE), 2);
	EQ_INT(k3_exit_status(K3_NOTFOUND), 3);
	EQ_INT(k3_exit_status(K3_AUTH), 4);
	EQ_INT(k3_exit_status(K3_NET), 5);
	EQ_INT(k3_exit_status(K3_DIGEST), 6);
	EQ_INT(k3_exit_status(K3_PLATFORM), 6);
	EQ_INT(k3_exit_status(K3_STORE), 7);
	EQ_INT(k3_exit_status(K3_NOSPC), 8);
	EQ_INT(k3_exit_status(K3_CANCELLED), 130);
	EQ_INT(k3_exit_status((enum k3_code)99), 1);
	for (int c = K3_OK; c <= K3_BUG; c++)
		CHECK(k3_code_name((enum k3_code)c) != NULL);
	EQ_STR(k3_code_name(K3_NOTFOUND), "NOT_FOUND");
	EQ_STR(k3_code_name((enum k3_code)99), "BUG");
}

UNIT_MAIN
