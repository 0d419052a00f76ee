/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/http.h"

#include <stdlib.h>

#include "fetch/blob.h"
#include "fetch/retry.h"
#include "tests/unit/unit.h"

static struct k3_err err;

static void expect_origin(const char *url, const char *want)
{
	char got[HTTP_ORIGIN_MAX] = "";

	OK(http_url_origin(url, got, &err));
	EQ_STR(got, want);
}

static void expect_join(const char *base, const char *location, const char *want)
{
	char *got = NULL;

	OK(http_url_join(base, location, &got, &err));
	EQ_STR(got, want);
	free(got);
}

TEST(origins)
{
	expect_origin("https://A.Example/x?y", "https://a.example");
	expect_origin("https://a.example:443/", "https://a.example");
	expect_origin("http://a.example:443/", "http://a.example:443");
	expect_origin("http://[::1]:80/x", "http://[::1]");
	expect_origin("HTTP://127.0.0.1:5000", "http://127.0.0.1:5000");
}

TEST(locations)
{
	expect_join("https://a/v2/x/blobs/1", "/y?z=%2f", "https://a/y?z=%2f");
	expect_join("https://a/v2/x/blobs/1", "2", "https://a/v2/x/blobs/2");
	expect_join("https://a/v2/x", "//b/c", "https://b/c");
	expect_join("https://a/v2/x", "http://b:1/c#f", "http://b:1/c");
}

TEST(unusable_urls)
{
	static const char *const bad[] = { "ftp://a/",        "file:///etc/passwd",
					   "https://u:p@a/",  "https://u@a/",
					   "gopher://a/",     "https://",
					   "https://a:99999/" };
	char *got = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		FAILS(http_url_join("https://a/b", bad[i], &got, &err), K3_PROTO);
}

TEST(queries)
{
	char *url = strdup("https://a/t?x=1");

	OK(http_url_add_query(&url, "service", "a b&c", &err));
	OK(http_url_add_query(&url, "scope", "repository:x/y:pull", &err));
	EQ_STR(url, "https://a/t?x=1&service=a+b%26c&scope=repository%3ax%2fy%3apull");
	free(url);
}

TEST(loopback_origins)
{
	CHECK(http_origin_is_loopback("http://127.0.0.1:5000"));
	CHECK(http_origin_is_loopback("https://127.9.9.9"));
	CHECK(http_origin_is_loopback("https://localhost:1"));
	CHECK(http_origin_is_loopback("https://[::1]:5000"));
	CHECK(!http_origin_is_loopback("https://127.0.0.1.example"));
	CHECK(!http_origin_is_loopback("https://localhost.example"));
	CHECK(!http_origin_is_loopback("https://10.0.0.1"));
	CHECK(!http_origin_is_loopback("https://[::2]"));
}

TEST(fields_by_name)
{
	char text[] = "A: 1\0WWW-Authenticate:x\0www-authenticate:\ty z\0B:";
	const struct http_head h = { .fields = { .p = (uint8_t *)text, .len = sizeof(text) } };
	const struct http_head none = { 0 };

	EQ_STR(http_field(&h, "a", 0), "1");
	EQ_STR(http_field(&h, "WWW-Authenticate", 0), "x");
	EQ_STR(http_field(&h, "WWW-Authenticate", 1), "y z");
	EQ_STR(http_field(&h, "WWW-Authenticate", 2), NULL);
	EQ_STR(http_field(&h, "B", 0), "");
	EQ_STR(http_field(&h, "C", 0), NULL);
	EQ_STR(http_field(&none, "C", 0), NULL);
}

TEST(retry_after)
{
	const time_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */

	EQ_INT(retry_after_ms("7", now), 7000);
	EQ_INT(retry_after_ms("0", now), 0);
	EQ_INT(retry_after_ms("99999999999999999999999", now), 86400000);
	EQ_INT(retry_after_ms("Sun, 06 Nov 1994 08:50:00 GMT", now), 23000);
	EQ_INT(retry_after_ms("Sunday, 06-Nov-94 08:50:00 GMT", now), 23000);
	EQ_INT(retry_after_ms("Sun, 06 Nov 1994 08:00:00 GMT", now), 0);
	EQ_INT(retry_after_ms("-5", now), 0);
	EQ_INT(retry_after_ms("soon", now), 0);
	EQ_INT(retry_after_ms("", now), 0);
	EQ_INT(retry_after_ms(NULL, now), 0);
}

TEST(content_range)
{
	static const char *const bad[] = { "",
					   "bytes",
					   "bytes */5",
					   "bytes 1-2",
					   "bytes 3-2/5",
					   "bytes 0-5/5",
					   "bytes 0-4/5x",
					   "bytes 0-18446744073709551616/*",
					   "items 0-1/2",
					   "bytes -1/2" };
	struct blob_range r;

	CHECK(blob_range_parse("bytes 3-9/10", &r));
	EQ_INT(r.first, 3);
	EQ_INT(r.last, 9);
	EQ_INT(r.total, 10);
	CHECK(blob_range_parse("Bytes 0-0/*", &r));
	CHECK(r.total == UINT64_MAX);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!blob_range_parse(bad[i], &r));
}

UNIT_MAIN
