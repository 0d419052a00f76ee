/* SPDX-License-Identifier: Apache-2.0 */
/* registries.yaml, CRI's tables, and which file comes first. */
#include "tests/unit/registry_help.h"

static unsigned machines;
static struct k3_err err;

static char *machine(void)
{
	return k3_xasprintf("%s/%u", unit_tmpdir(), machines++);
}

static struct registry *from_yaml(const char *sys, const char *text)
{
	K3_AUTO_FREE char *file = k3_xasprintf("%s/registries.yaml", sys);
	const struct registry_opts o = { .registries = file };

	put(sys, "/registries.yaml", text);
	return registry_new(&o);
}

static void yaml_fails(const char *text, const char *reason)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_yaml(sys, text);
	const struct registry_host *h;

	FAILS(registry_find(r, "a.test", &h, &err), K3_FORMAT);
	HAS_STR(err.msg, "/registries.yaml: line ");
	HAS_STR(err.msg, reason);
	registry_free(r);
}

static struct registry *from_toml(const char *sys, const char *text)
{
	K3_AUTO_FREE char *file = k3_xasprintf("%s/config.toml", sys);
	const char *const files[] = { file };
	const struct registry_opts o = { .config_files = files,
					 .nconfig_files = 1,
					 .sysroot = sys };

	put(sys, "/config.toml", text);
	return registry_new(&o);
}

static void toml_fails(const char *text, const char *reason)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_toml(sys, text);
	const struct registry_host *h;

	FAILS(registry_find(r, "a.test", &h, &err), K3_FORMAT);
	HAS_STR(err.msg, "/config.toml: line ");
	HAS_STR(err.msg, reason);
	registry_free(r);
}

static void rewrites_to(const struct registry_endpoint *ep, const char *repo, const char *want)
{
	char *got = NULL;

	OK(registry_rewrite(ep, repo, &got, &err));
	EQ_STR(got, want);
	free(got);
}

/* ---- registries.yaml ---- */

TEST(yaml_mirrors_endpoint)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_yaml(
		sys, "mirrors:\n  docker.io:\n    endpoint:\n"
		     "      - https://m.test:5000\n      - \"http://n.test/v2/proxy\"\n"
		     "      - localhost:5000\n      - bare.test\n      - https://m.test:5000\n"
		     "  own.test:5000:\n    endpoint: ['http://own.test:5000']\n"
		     "  empty.test:\n");

	has_urls(r, "docker.io",
		 "https://m.test:5000/v2 http://n.test/v2/proxy http://localhost:5000/v2 "
		 "https://bare.test/v2 https://registry-1.docker.io/v2?");
	CHECK(warned(r, "endpoint \"https://m.test:5000\" is there twice"));
	/* that the registry speaks plain HTTP is all this says */
	has_urls(r, "own.test:5000", "http://own.test:5000/v2");
	has_urls(r, "empty.test", "https://empty.test/v2?");
	has_urls(r, "other.test", "https://other.test/v2?");
	EQ_STR(endpoint(r, "docker.io", 0)->from.entry, "mirrors.\"docker.io\"");
	EQ_INT(endpoint(r, "docker.io", 0)->from.line, 3);
	registry_free(r);
}

TEST(yaml_wildcard)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_yaml(sys, "mirrors:\n  '*': {endpoint: ['https://all.test']}\n"
					    "  a.test: {endpoint: ['https://a-mirror.test']}\n"
					    "configs:\n  tls-only.test: {tls: {ca_file: /c.pem}}\n"
					    "  '*': {tls: {insecure_skip_verify: true}}\n");

	has_urls(r, "any.test", "https://all.test/v2 https://any.test/v2?");
	CHECK(endpoint(r, "any.test", 1)->skip_verify);
	CHECK(!endpoint(r, "any.test", 0)->skip_verify);
	has_urls(r, "a.test", "https://a-mirror.test/v2 https://a.test/v2?");
	CHECK(!endpoint(r, "a.test", 1)->skip_verify);
	has_urls(r, "tls-only.test", "https://all.test/v2 https://tls-only.test/v2?");
	EQ_STR(endpoint(r, "tls-only.test", 1)->ca.items[0], "/c.pem");
	registry_free(r);
}

TEST(yaml_mirrors_only)
{
	K3_AUTO_FREE char *sys = machine();
	const struct registry_opts o = { .k3s_agent = "/nowhere/agent",
					 .mirrors_only = true,
					 .sysroot = sys };

	put(sys, "/etc/rancher/k3s/registries.yaml",
	    "mirrors:\n  '*': {endpoint: ['https://all.test']}\n"
	    "  a.test: {endpoint: ['https://a-mirror.test']}\n"
	    "  b.test: {endpoint: ['https://b-mirror.test', 'https://b.test']}\n  empty.test:\n"
	    "configs:\n  tls-only.test: {tls: {ca_file: /c.pem}}\n");
	struct registry *r = registry_new(&o);

	has_urls(r, "a.test", "https://a-mirror.test/v2");
	/* Who wants it all the same names it. */
	has_urls(r, "b.test", "https://b-mirror.test/v2 https://b.test/v2");
	/* Only of registries that have mirrors of their own. */
	has_urls(r, "empty.test", "https://empty.test/v2?");
	has_urls(r, "any.test", "https://all.test/v2 https://any.test/v2?");
	has_urls(r, "tls-only.test", "https://all.test/v2 https://tls-only.test/v2?");
	registry_free(r);
}

TEST(yaml_rewrite)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r =
		from_yaml(sys, "mirrors:\n  docker.io:\n    endpoint: [https://m.test]\n"
			       "    rewrite:\n      \"^rancher/(.*)\": \"proxy/rancher/$1\"\n"
			       "      \"^library/(.*)\": \"lib//$1/\"\n"
			       "      \"^bad.*\": \"Not A Repo\"\n");
	const struct registry_endpoint *ep = endpoint(r, "docker.io", 0);
	char *repo;

	rewrites_to(ep, "rancher/pause", "proxy/rancher/pause");
	rewrites_to(ep, "library/nginx", "lib/nginx");
	rewrites_to(ep, "org/app", "org/app");
	FAILS(registry_rewrite(ep, "bad/x", &repo, &err), K3_FORMAT);
	HAS_STR(err.msg, "registries.yaml: rewrite \"^bad.*\" makes no repository name");
	/* the registry itself calls it as we do */
	rewrites_to(endpoint(r, "docker.io", 1), "rancher/pause", "rancher/pause");
	registry_free(r);
	yaml_fails("mirrors:\n  a.test:\n    rewrite:\n      '(': x\n",
		   "line 4: regular expression");
}

TEST(yaml_tls)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_yaml(
		sys,
		"mirrors:\n  docker.io: {endpoint: ['https://m.test:5000', 'https://o.test']}\n"
		"configs:\n  m.test:5000:\n    tls:\n      ca_file: /ca.pem\n"
		"      cert_file: /c.pem\n      key_file: /k.pem\n"
		"      insecure_skip_verify: true\n"
		"  registry-1.docker.io:\n    tls: {ca_file: /hub.pem}\n");
	const struct registry_endpoint *ep = endpoint(r, "docker.io", 0);

	EQ_STR(ep->ca.items[0], "/ca.pem");
	EQ_STR(ep->cert, "/c.pem");
	EQ_STR(ep->key, "/k.pem");
	CHECK(ep->skip_verify);
	EQ_STR(ep->tls_from.entry, "configs.\"m.test:5000\".tls");
	EQ_INT(ep->tls_from.line, 6);
	CHECK(!endpoint(r, "docker.io", 1)->skip_verify);
	EQ_INT(endpoint(r, "docker.io", 1)->ca.n, 0);
	EQ_STR(endpoint(r, "docker.io", 2)->ca.items[0], "/hub.pem");
	/* as a registry of its own, too */
	EQ_STR(endpoint(r, "m.test:5000", 0)->cert, "/c.pem");
	registry_free(r);
}

TEST(yaml_auth)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_yaml(sys,
				       "configs:\n  a.test:\n    auth:\n      username: bob\n"
				       "      password: \"s3cret\"\n"
				       "  docker.io: {auth: {auth: Ym9iOng=}}\n"
				       "  t.test: {auth: {identity_token: tok}}\n"
				       "auths:\n  https://old.test: {username: 1, password: 2}\n");
	struct registry_auth a;

	has_urls(r, "a.test", "https://a.test/v2?");
	CHECK(registry_auth(r, "a.test", &a));
	EQ_STR(a.user, "bob");
	EQ_STR(a.password, "s3cret");
	EQ_STR(a.from->entry, "configs.\"a.test\".auth");
	EQ_INT(a.from->line, 4);
	CHECK(registry_auth(r, "docker.io", &a));
	EQ_STR(a.auth, "Ym9iOng=");
	CHECK(registry_auth(r, "t.test", &a));
	EQ_STR(a.identity_token, "tok");
	CHECK(registry_auth(r, "old.test", &a));
	EQ_STR(a.password, "2");
	CHECK(!registry_auth(r, "b.test", &a));
	registry_free(r);
}

TEST(yaml_unknown_keys_are_warnings)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_yaml(sys,
				       "mirors: {}\nmirrors:\n  a.test:\n    endpoints: [x]\n"
				       "configs:\n  b.test:\n    tsl: {}\n    tls: {cafile: x}\n");

	has_urls(r, "a.test", "https://a.test/v2?");
	CHECK(warned(r, "line 1: unknown key \"mirors\" is ignored"));
	CHECK(warned(r, "line 4: unknown key \"endpoints\" in mirrors.\"a.test\" is ignored"));
	CHECK(warned(r, "line 7: unknown key \"tsl\" in configs.\"b.test\""));
	CHECK(warned(r, "line 8: unknown key \"cafile\" in configs.\"b.test\".tls"));
	registry_free(r);
}

TEST(yaml_syntax_errors_name_file_line_and_column)
{
	const struct registry_opts missing = { .registries = "/nonexistent/registries.yaml" };
	struct registry *r = registry_new(&missing);
	const struct registry_host *h;

	FAILS(registry_find(r, "a.test", &h, &err), K3_NOTFOUND);
	HAS_STR(err.msg, "/nonexistent/registries.yaml");
	registry_free(r);
	yaml_fails("mirrors:\n  a: [\n", "column ");
	yaml_fails("- a\n", "not a mapping");
	yaml_fails("mirrors: [a]\n", "\"mirrors\" must be a mapping");
	yaml_fails("mirrors: {a.test: x}\n", "\"a.test\" must be a mapping");
	yaml_fails("mirrors: {a.test: {endpoint: https://x}}\n", "must be a list of URLs");
	yaml_fails("mirrors: {a.test: {endpoint: ['ftp://x']}}\n", "neither http nor https");
	yaml_fails("configs: {a.test: {tls: {insecure_skip_verify: maybe}}}\n", "true or false");
	yaml_fails("configs: {a.test: {auth: {username: [x]}}}\n", "must be a string");
}

/* ---- config.toml ---- */

static void cri_of_version(const char *head, const char *plugin)
{
	K3_AUTO_FREE char *sys = machine();
	K3_AUTO_FREE char *text = k3_xasprintf(
		"%s[plugins.'%s'.registry.mirrors.'docker.io']\nendpoint = ['https://m.test', "
		"'n.test/x']\n"
		"[plugins.'%s'.registry.mirrors.'*']\nendpoint = ['https://all.test']\n"
		"[plugins.'%s'.registry.mirrors.'docker.io'.rewrite]\n'^a/(.*)' = 'b/$1'\n"
		"[plugins.'%s'.registry.configs.'m.test'.tls]\nca_file = '/ca'\ncert_file = '/c'\n"
		"key_file = '/k'\ninsecure_skip_verify = true\n"
		"[plugins.'%s'.registry.configs.'m.test'.auth]\nusername = 'u'\npassword = 'p'\n"
		"[plugins.'%s'.registry.configs.'t.test'.auth]\nauth = 'YQ=='\nidentitytoken = "
		"'i'\n"
		"[plugins.'%s'.registry.auths.'https://old.test/v1/']\nusername = 'o'\npassword = "
		"'q'\n"
		"[plugins.'%s'.registry.headers]\nX-Meta = ['k3simg', 'two']\n",
		head, plugin, plugin, plugin, plugin, plugin, plugin, plugin, plugin);
	struct registry *r = from_toml(sys, text);
	struct registry_auth a;

	has_urls(r, "docker.io",
		 "https://m.test/v2 https://n.test/x https://registry-1.docker.io/v2?");
	has_urls(r, "a.test", "https://all.test/v2 https://a.test/v2?");
	const struct registry_endpoint *ep = endpoint(r, "docker.io", 0);

	EQ_STR(ep->ca.items[0], "/ca");
	EQ_STR(ep->cert, "/c");
	EQ_STR(ep->key, "/k");
	CHECK(ep->skip_verify);
	rewrites_to(ep, "a/x", "b/x");
	EQ_STR(ep->from.entry, "mirrors.\"docker.io\"");
	EQ_INT(ep->headers.n, 2);
	EQ_STR(ep->headers.items[0], "X-Meta: k3simg");
	EQ_INT(endpoint(r, "a.test", 1)->headers.n, 2);
	CHECK(registry_auth(r, "m.test", &a));
	EQ_STR(a.user, "u");
	EQ_STR(a.password, "p");
	CHECK(registry_auth(r, "t.test", &a));
	EQ_STR(a.auth, "YQ==");
	EQ_STR(a.identity_token, "i");
	CHECK(registry_auth(r, "old.test", &a));
	EQ_STR(a.user, "o");
	registry_free(r);
}

TEST(cri_tables_of_each_version)
{
	cri_of_version("", "cri");
	cri_of_version("version = 2\n", "io.containerd.grpc.v1.cri");
	cri_of_version("version = 3\n", "io.containerd.cri.v1.images");
}

#define V3 "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry"

TEST(cri_config_path)
{
	K3_AUTO_FREE char *sys = machine();
	K3_AUTO_FREE char *all = k3_xasprintf(V3
					      "]\nconfig_path = '%s/one:%s/two'\n"
					      "[plugins.'io.containerd.cri.v1.images'.registry"
					      ".mirrors.'a.test']\nendpoint=['https://x.test']\n",
					      sys, sys);
	struct registry *r = from_toml(sys, all);

	put(sys, "/two/a.test/hosts.toml", "server = 'http://two.test'\n");
	put(sys, "/two/_default/hosts.toml", "server = 'http://default.test'\n");
	put(sys, "/one/b.test/hosts.toml", "server = 'http://one.test'\n");
	has_urls(r, "a.test", "http://two.test/v2");
	has_urls(r, "b.test", "http://one.test/v2");
	has_urls(r, "c.test", "http://default.test/v2");
	CHECK(warned(r, "config_path is set: containerd does not start with mirrors beside it"));
	registry_free(r);
}

TEST(cri_errors_and_warnings)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_toml(sys, V3 "]\nconfigpath = 'x'\n");

	has_urls(r, "a.test", "https://a.test/v2?");
	CHECK(warned(r, "line 3: unknown key \"configpath\" in registry is ignored"));
	registry_free(r);
	toml_fails(V3 "]\nconfig_path = 3\n", "\"config_path\" must be a string");
	toml_fails(V3 "]\nmirrors = 3\n", "\"mirrors\" must be a table");
	toml_fails(V3 ".mirrors.'a.test']\nendpoint = 'x'\n", "must be an array of URLs");
	toml_fails(V3 ".mirrors.'a.test']\nendpoint = ['ftp://x']\n", "neither http nor https");
	toml_fails(V3 ".configs.'a.test'.tls]\nca_file = 3\n", "\"ca_file\" must be a string");
	toml_fails("a = [\n", "line 2");
}

/* ---- which file comes first ---- */

#define AGENT "/var/lib/rancher/k3s/agent"

TEST(places_of_k3s)
{
	K3_AUTO_FREE char *sys = machine();
	K3_AUTO_FREE char *agent = k3_xasprintf("%s" AGENT, sys);
	const struct registry_opts o = { .k3s_agent = agent, .sysroot = sys };
	struct registry *r = registry_new(&o);

	put(sys, "/etc/rancher/k3s/registries.yaml",
	    "mirrors:\n  a.test: {endpoint: ['http://yaml.test']}\n"
	    "  '*': {endpoint: ['http://yaml-all.test']}\n");
	put(sys, AGENT "/etc/containerd/certs.d/a.test/hosts.toml", "server = 'http://dir.test'\n");
	put(sys, AGENT "/etc/containerd/certs.d/b.test/hosts.toml", "server = 'http://dir.test'\n");
	put(sys, AGENT "/etc/containerd/certs.d/_default/hosts.toml", "server = 'http://d.test'\n");
	has_urls(r, "a.test", "http://yaml.test/v2 https://a.test/v2?");
	has_urls(r, "b.test", "http://dir.test/v2");
	has_urls(r, "c.test", "http://yaml-all.test/v2 https://c.test/v2?");
	registry_free(r);
	put(sys, "/etc/rancher/k3s/registries.yaml", "");
	r = registry_new(&o);
	has_urls(r, "c.test", "http://d.test/v2");
	registry_free(r);
}

TEST(places_of_rke2)
{
	K3_AUTO_FREE char *sys = machine();
	K3_AUTO_FREE char *agent = k3_xasprintf("%s/var/lib/rancher/rke2/agent", sys);
	const struct registry_opts o = { .k3s_agent = agent, .sysroot = sys };
	struct registry *r = registry_new(&o);

	put(sys, "/etc/rancher/k3s/registries.yaml",
	    "mirrors: {a.test: {endpoint: ['http://k3s']}}");
	put(sys, "/etc/rancher/rke2/registries.yaml",
	    "mirrors: {a.test: {endpoint: ['http://rke2']}}");
	has_urls(r, "a.test", "http://rke2/v2 https://a.test/v2?");
	registry_free(r);
}

TEST(places_of_containerd_and_docker)
{
	K3_AUTO_FREE char *sys = machine();
	struct registry *r = from_toml(sys,
				       V3 ".mirrors.'a.test']\nendpoint = ['http://table.test']\n");

	put(sys, "/etc/containerd/certs.d/a.test/hosts.toml", "server = 'http://dir.test'\n");
	put(sys, "/etc/containerd/certs.d/b.test/hosts.toml", "server = 'http://dir.test'\n");
	put(sys, "/etc/docker/certs.d/b.test/ca.crt", "x");
	put(sys, "/etc/docker/certs.d/c.test/ca.crt", "x");
	has_urls(r, "a.test", "http://table.test/v2 https://a.test/v2?");
	has_urls(r, "b.test", "http://dir.test/v2");
	EQ_INT(endpoint(r, "c.test", 0)->ca.n, 1);
	EQ_STR(endpoint(r, "d.test", 0)->from.file, NULL);
	registry_free(r);
}

TEST(options_come_first)
{
	K3_AUTO_FREE char *sys = machine();
	K3_AUTO_FREE char *dir = k3_xasprintf("%s/certs", sys);
	K3_AUTO_FREE char *file = k3_xasprintf("%s/r.yaml", sys);
	const struct registry_opts o = { .hosts_dir = dir, .registries = file, .sysroot = sys };
	struct registry *r = registry_new(&o);

	put(sys, "/etc/containerd/certs.d/a.test/hosts.toml", "server = 'http://etc.test'\n");
	put(sys, "/r.yaml",
	    "mirrors: {b.test: {endpoint: ['http://yaml']}, c.test: {endpoint: ['http://yaml']}}");
	put(sys, "/certs/c.test/hosts.toml", "server = 'http://dir.test'\n");
	put(sys, "/certs/_default/hosts.toml", "server = 'http://default.test'\n");
	has_urls(r, "a.test", "http://default.test/v2");
	has_urls(r, "b.test", "http://yaml/v2 https://b.test/v2?");
	has_urls(r, "c.test", "http://dir.test/v2");
	registry_free(r);
}

UNIT_MAIN
