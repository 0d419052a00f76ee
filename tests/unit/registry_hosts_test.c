/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.toml and docker's layout: every setting. */
#include <sys/stat.h>

#include "tests/unit/registry_help.h"

/* A registry whose certs.d is a directory of this test alone. */
struct machine {
	char *dir;
	struct registry *r;
};

static unsigned machines;

static struct machine begin(void)
{
	struct machine m = { .dir = k3_xasprintf("%s/%u", unit_tmpdir(), machines++) };
	const struct registry_opts o = { .hosts_dir = m.dir };

	m.r = registry_new(&o);
	return m;
}

static void end(struct machine *m)
{
	registry_free(m->r);
	free(m->dir);
}

static struct machine with(const char *hosts_toml)
{
	struct machine m = begin();

	put(m.dir, "/reg.test/hosts.toml", hosts_toml);
	return m;
}

static void fails(const char *hosts_toml, const char *reason)
{
	struct machine m = with(hosts_toml);
	const struct registry_host *h;
	struct k3_err err;

	FAILS(registry_find(m.r, "reg.test", &h, &err), K3_FORMAT);
	HAS_STR(err.msg, "/reg.test/hosts.toml: line ");
	HAS_STR(err.msg, reason);
	end(&m);
}

TEST(hosts_server_and_order)
{
	struct machine m = with("server = \"https://up.test\"\n"
				"[host.\"https://z.test\"]\n[host.\"http://a.test:5000/x/\"]\n"
				"[host.\"m.test/v2\"]\n[host.'https://h.test/api/v2']\n");

	has_urls(m.r, "reg.test",
		 "https://z.test/v2 http://a.test:5000/x/v2 https://m.test/v2 "
		 "https://h.test/api/v2 https://up.test/v2");
	EQ_STR(endpoint(m.r, "reg.test", 1)->host, "a.test:5000");
	CHECK(endpoint(m.r, "reg.test", 1)->mirror);
	/* for containerd a server of another name is a mirror, too */
	CHECK(endpoint(m.r, "reg.test", 4)->mirror);
	EQ_INT(endpoint(m.r, "reg.test", 1)->from.line, 3);
	EQ_STR(endpoint(m.r, "reg.test", 1)->from.entry, "[host.\"http://a.test:5000/x/\"]");
	HAS_STR(endpoint(m.r, "reg.test", 1)->from.file, "/reg.test/hosts.toml");
	EQ_STR(endpoint(m.r, "reg.test", 4)->from.entry, "server");
	end(&m);
}

TEST(hosts_no_server_is_the_registry_itself)
{
	struct machine m = with("[host.\"https://m.test\"]\n");

	put(m.dir, "/docker.io/hosts.toml", "[host.\"https://m.test\"]\n");
	has_urls(m.r, "reg.test", "https://m.test/v2 https://reg.test/v2?");
	CHECK(!endpoint(m.r, "reg.test", 1)->mirror);
	has_urls(m.r, "docker.io", "https://m.test/v2 https://registry-1.docker.io/v2?");
	EQ_STR(endpoint(m.r, "docker.io", 1)->host, "docker.io");
	CHECK(!endpoint(m.r, "docker.io", 1)->mirror);
	end(&m);
	m = with("server = \"reg.test\"\n[host.\"https://reg.test\"]\n");
	has_urls(m.r, "reg.test", "https://reg.test/v2");
	end(&m);
	m = begin();
	put(m.dir, "/docker.io/hosts.toml", "server = 'https://docker.io'\n");
	has_urls(m.r, "docker.io", "https://registry-1.docker.io/v2");
	CHECK(!endpoint(m.r, "docker.io", 0)->mirror);
	end(&m);
}

TEST(hosts_capabilities)
{
	struct machine m = with(
		"server = \"https://up.test\"\ncapabilities = [\"resolve\"]\n"
		"[host.\"https://a.test\"]\ncapabilities = [\"pull\"]\n"
		"[host.\"https://b.test\"]\ncapabilities = [\"Pull\", \"RESOLVE\", \"push\"]\n"
		"[host.\"https://c.test\"]\ncapabilities = []\n");

	EQ_INT(endpoint(m.r, "reg.test", 0)->caps, REGISTRY_PULL);
	EQ_INT(endpoint(m.r, "reg.test", 1)->caps, 7);
	EQ_INT(endpoint(m.r, "reg.test", 2)->caps, 7);
	EQ_INT(endpoint(m.r, "reg.test", 3)->caps, REGISTRY_RESOLVE);
	end(&m);
	fails("[host.\"https://a\"]\ncapabilities = [\"fly\"]\n", "line 2: unknown capability");
	fails("capabilities = 'pull'\n", "must be an array");
}

TEST(hosts_ca)
{
	struct machine m = with("ca = '/abs/up.pem'\n[host.'https://a.test']\n"
				"ca = ['one.pem', '/two.pem']\n");
	const struct registry_endpoint *ep = endpoint(m.r, "reg.test", 0);
	K3_AUTO_FREE char *one = k3_xasprintf("%s/reg.test/one.pem", m.dir);

	EQ_INT(ep->ca.n, 2);
	EQ_STR(ep->ca.items[0], one);
	EQ_STR(ep->ca.items[1], "/two.pem");
	EQ_INT(ep->tls_from.line, 3);
	EQ_STR(endpoint(m.r, "reg.test", 1)->ca.items[0], "/abs/up.pem");
	end(&m);
	fails("ca = 3\n", "\"ca\" must be");
	fails("[host.'https://a']\nca = [3]\n", "line 2: [host.\"https://a\"]: \"ca\" must be");
}

TEST(hosts_client)
{
	struct machine m = with(
		"client = 'both.pem'\n"
		"[host.'https://a.test']\nclient = ['/x.pem']\n"
		"[host.'https://b.test']\nclient = [['/c.pem', '/k.pem'], ['/d.pem', '']]\n");
	K3_AUTO_FREE char *both = k3_xasprintf("%s/reg.test/both.pem", m.dir);

	EQ_STR(endpoint(m.r, "reg.test", 0)->cert, "/x.pem");
	EQ_STR(endpoint(m.r, "reg.test", 0)->key, NULL);
	EQ_STR(endpoint(m.r, "reg.test", 1)->cert, "/c.pem");
	EQ_STR(endpoint(m.r, "reg.test", 1)->key, "/k.pem");
	EQ_STR(endpoint(m.r, "reg.test", 2)->cert, both);
	CHECK(warned(m.r, "line 5: only the first client certificate is used, not \"/d.pem\""));
	end(&m);
	fails("client = [['a']]\n", "\"client\" must be");
	fails("client = true\n", "\"client\" must be");
}

TEST(hosts_skip_verify)
{
	struct machine m = with("[host.'https://a.test']\nskip_verify = true\n"
				"[host.'https://b.test']\nskip_verify = false\n");

	CHECK(endpoint(m.r, "reg.test", 0)->skip_verify);
	EQ_INT(endpoint(m.r, "reg.test", 0)->tls_from.line, 2);
	CHECK(!endpoint(m.r, "reg.test", 1)->skip_verify);
	CHECK(!endpoint(m.r, "reg.test", 2)->skip_verify);
	end(&m);
	fails("skip_verify = 'yes'\n", "must be true or false");
}

TEST(hosts_header)
{
	struct machine m =
		with("[host.'https://a.test'.header]\nX-One = 'v'\nX-Two = ['a', 'b']\n");
	const struct registry_endpoint *ep = endpoint(m.r, "reg.test", 0);

	EQ_INT(ep->headers.n, 3);
	EQ_STR(ep->headers.items[0], "X-One: v");
	EQ_STR(ep->headers.items[2], "X-Two: b");
	EQ_INT(endpoint(m.r, "reg.test", 1)->headers.n, 0);
	end(&m);
	fails("[host.'https://a'.header]\nX = 3\n", "must be a string or an array");
	fails("[host.'https://a'.header]\n'X Y' = 'v'\n", "no name of a header");
	fails("[host.'https://a'.header]\nX = \"a\\r\\nB: c\"\n", "control characters");
}

TEST(hosts_override_path)
{
	struct machine m = with("[host.'https://a.test/x']\noverride_path = true\n"
				"[host.'https://b.test']\noverride_path = true\n"
				"[host.'https://c.test/x/../y//v2/']\noverride_path = false\n");

	has_urls(m.r, "reg.test",
		 "https://a.test/x https://b.test https://c.test/y/v2 https://reg.test/v2?");
	end(&m);
	fails("[host.'https://a']\noverride_path = 1\n", "must be true or false");
}

TEST(hosts_rewrite_of_k3s)
{
	struct machine m = with("[host.'https://a.test']\n[host.'https://a.test'.rewrite]\n"
				"'^rancher/(.*)' = 'proxy/$1'\n");
	char *repo = NULL;
	struct k3_err err;

	OK(registry_rewrite(endpoint(m.r, "reg.test", 0), "rancher/pause", &repo, &err));
	EQ_STR(repo, "proxy/pause");
	free(repo);
	OK(registry_rewrite(endpoint(m.r, "reg.test", 1), "rancher/pause", &repo, &err));
	EQ_STR(repo, "rancher/pause");
	free(repo);
	end(&m);
	fails("[host.'https://a'.rewrite]\n'(' = 'x'\n", "line 2: regular expression");
}

TEST(hosts_names_of_the_directory)
{
	struct machine m = begin();

	put(m.dir, "/a.test:5000/hosts.toml", "server = 'http://colon'\n");
	put(m.dir, "/b.test:5000/hosts.toml", "server = 'http://colon'\n");
	put(m.dir, "/b.test_5000_/hosts.toml", "server = 'http://underscore'\n");
	put(m.dir, "/c.test/hosts.toml", "server = 'http://no-port'\n");
	put(m.dir, "/[::1]_5000_/hosts.toml", "server = 'http://v6'\n");
	has_urls(m.r, "a.test:5000", "http://colon/v2");
	has_urls(m.r, "b.test:5000", "http://underscore/v2");
	has_urls(m.r, "c.test:5000", "https://c.test:5000/v2?");
	has_urls(m.r, "[::1]:5000", "http://v6/v2");
	end(&m);
}

TEST(hosts_default)
{
	struct machine m = begin();

	put(m.dir, "/_default/hosts.toml", "[host.'http://mirror.test']\n");
	put(m.dir, "/own.test/hosts.toml", "server = 'http://own.test'\n");
	has_urls(m.r, "any.test", "http://mirror.test/v2 https://any.test/v2?");
	has_urls(m.r, "own.test", "http://own.test/v2");
	end(&m);
}

TEST(docker_layout)
{
	struct machine m = begin();

	put(m.dir, "/reg.test/ca.crt", "x");
	put(m.dir, "/reg.test/b.crt", "x");
	put(m.dir, "/reg.test/client.cert", "x");
	put(m.dir, "/reg.test/client.key", "x");
	put(m.dir, "/reg.test/zweit.cert", "x");
	put(m.dir, "/reg.test/readme.txt", "x");
	put(m.dir, "/alone.test/c.cert", "x");
	put(m.dir, "/empty.test/hosts.toml", "");
	put(m.dir, "/empty.test/ca.crt", "x");
	const struct registry_endpoint *ep = endpoint(m.r, "reg.test", 0);
	K3_AUTO_FREE char *cert = k3_xasprintf("%s/reg.test/client.cert", m.dir);
	K3_AUTO_FREE char *key = k3_xasprintf("%s/reg.test/client.key", m.dir);

	has_urls(m.r, "reg.test", "https://reg.test/v2?");
	EQ_INT(ep->ca.n, 2);
	EQ_STR(ep->cert, cert);
	EQ_STR(ep->key, key);
	CHECK(warned(m.r, "not \"zweit.cert\""));
	CHECK(endpoint(m.r, "alone.test", 0)->cert != NULL);
	EQ_STR(endpoint(m.r, "alone.test", 0)->key, NULL);
	EQ_INT(endpoint(m.r, "empty.test", 0)->ca.n, 1);
	end(&m);
}

TEST(hosts_dial_timeout_and_unknown_keys_are_warnings)
{
	struct machine m = with("srever = 'x'\n[host.'https://a.test']\ndial_timeout = '1s'\n"
				"skip_verfy = true\nserver = 'y'\n");

	has_urls(m.r, "reg.test", "https://a.test/v2 https://reg.test/v2?");
	CHECK(warned(m.r, "line 1: unknown key \"srever\" is ignored"));
	CHECK(warned(m.r, "line 3: dial_timeout is not used"));
	CHECK(warned(m.r, "line 4: unknown key \"skip_verfy\" in [host.\"https://a.test\"]"));
	CHECK(warned(m.r, "line 5: unknown key \"server\""));
	end(&m);
}

TEST(hosts_syntax_errors_name_file_and_line)
{
	fails("server = 'https://a'\n[host.'x'\n", "line 2");
	fails("server = 3\n", "\"server\" must be a string");
	fails("host = 3\n", "\"host\" must be a table");
	fails("[host]\nx = 3\n", "must be a table");
	fails("server = 'ftp://x'\n", "neither http nor https");
	fails("server = 'https://user:pw@x'\n", "credentials belong elsewhere");
	fails("server = 'https://x?y=1'\n", "a query");
	fails("server = 'https:///v2'\n", "no host");
	fails("server = 'https://a b'\n", "blanks");
}

UNIT_MAIN
