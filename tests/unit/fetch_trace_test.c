/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/trace.h"

#include "tests/unit/unit.h"

static void url_is(const char *url, const char *want)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(TRACE_MAX);

	trace_url(&out, url);
	EQ_STR((const char *)out.p, want);
}

TEST(urls_without_secrets)
{
	url_is("https://a/v2/x/manifests/1", "https://a/v2/x/manifests/1");
	url_is("https://a/x?ns=docker.io&token=abc", "https://a/x?ns=docker.io&token=***");
	url_is("https://t/?service=r&scope=repository%3ax%3apull",
	       "https://t/?service=r&scope=repository%3ax%3apull");
	url_is("https://s/b?X-Amz-Signature=s3cr3t&X-Amz-Credential=c&se=2",
	       "https://s/b?X-Amz-Signature=***&X-Amz-Credential=***&se=***");
	url_is("https://s/b?barekey", "https://s/b?***");
	url_is("https://s/b?", "https://s/b?");
	url_is("https://s/b?a=b&&c#frag", "https://s/b?a=***&&***");
}

TEST(requests)
{
	static const char *const fields[] = { "X-Key: hunter2", "Authorization: Basic aaaa", NULL };
	const struct http_req rq = {
		.url = "https://a/x?sig=hunter2",
		.authorization = "Bearer hunter2",
		.accept = "text/x",
		.range_from = 5,
		.range_to = 9,
		.fields = fields,
	};
	K3_AUTO_BUF struct k3_buf out = K3_BUF(TRACE_MAX);

	trace_request(&out, &rq, "k3simg");
	EQ_STR((const char *)out.p,
	       "> GET https://a/x?sig=***\n> User-Agent: k3simg\n> Authorization: Bearer ***\n"
	       "> Accept: text/x\n> Range: bytes=5-9\n> X-Key: ***\n> Authorization: Basic ***\n");
}

TEST(answers)
{
	static const char fields[] =
		"Content-Type: x/y\0Set-Cookie: a=hunter2\0X-Auth-Token: hunter2\0"
		"Location: https://s/b?sig=hunter2\0"
		"WWW-Authenticate: Bearer realm=\"https://t\"";
	struct http_head h = { .status = 307, .fields = K3_BUF(1000) };
	K3_AUTO_BUF struct k3_buf out = K3_BUF(TRACE_MAX);
	struct k3_err err;

	OK(k3_buf_add(&h.fields, fields, sizeof(fields), &err));
	trace_answer(&out, &h, "https://a");
	EQ_STR((const char *)out.p,
	       "< HTTP 307 from https://a\n< Content-Type: x/y\n< Set-Cookie: ***\n"
	       "< X-Auth-Token: ***\n< Location: https://s/b?sig=***\n"
	       "< WWW-Authenticate: Bearer realm=\"https://t\"\n");
	k3_buf_release(&h.fields);
}

UNIT_MAIN
