/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "setup/cni.h"
#include "tests/unit/unit.h"

#define OUT_MAX 65536

static char *conf_in(const char *dir, const char *version, const char *subnet, const char *more)
{
	return k3_xasprintf("{\"cniVersion\":\"%s\",\"name\":\"k3simg\",\"type\":\"k3simg-cni\","
			    "\"subnet\":\"%s\",\"stateDir\":\"%s/leases\"%s}",
			    version, subnet, dir, more);
}

static char *conf(const char *version, const char *subnet, const char *more)
{
	return conf_in(unit_tmpdir(), version, subnet, more);
}

/* The network namespace of this process: it enters its own, where that is allowed. */
static int ask(const char *command, const char *container, const char *config, struct k3_buf *out)
{
	struct setup_cni_env env = { command, container, "/proc/self/ns/net", "eth0" };

	k3_buf_reset(out);
	return setup_cni(&env, config, strlen(config), out);
}

static uint64_t code_of(const struct k3_buf *out)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err err;
	uint64_t code = 0;

	OK(k3_json_parse(out->p, out->len, &doc, &err));
	CHECK(k3_json_str(k3_json_get(k3_json_root(doc), "cniVersion")));
	if (!k3_json_u64(k3_json_get(k3_json_root(doc), "code"), &code))
		return 0;
	CHECK(k3_json_str(k3_json_get(k3_json_root(doc), "msg")));
	return code;
}

static uint64_t fails(const char *command, const char *container, const char *config)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);

	EQ_INT(ask(command, container, config, &out), 1);
	return code_of(&out);
}

TEST(versions_are_told)
{
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);

	EQ_INT(ask("VERSION", NULL, "{\"cniVersion\":\"1.0.0\"}", &out), 0);
	HAS_STR((char *)out.p, "\"cniVersion\": \"1.0.0\"");
	HAS_STR((char *)out.p, "\"supportedVersions\"");
	HAS_STR((char *)out.p, "\"1.1.0\"");
	EQ_INT(ask("VERSION", NULL, "{}", &out), 0);
	HAS_STR((char *)out.p, "\"cniVersion\": \"1.1.0\"");
}

TEST(errors_have_the_codes_of_the_specification)
{
	K3_AUTO_FREE char *good = conf("1.0.0", "10.88.0.0/16", "");
	K3_AUTO_FREE char *old = conf("0.2.0", "10.88.0.0/16", "");
	K3_AUTO_FREE char *wide = conf("1.0.0", "10.0.0.0/4", "");
	K3_AUTO_FREE char *word = conf("1.0.0", "10.0.0/16", "");

	EQ_INT(fails("ADD", "c", old), 1);
	EQ_INT(fails("ADD", "c", "{}"), 1);
	EQ_INT(fails("ADD", NULL, good), 4);
	EQ_INT(fails("ADD", "../c", good), 4);
	EQ_INT(fails("OTHER", "c", good), 4);
	EQ_INT(fails(NULL, "c", good), 4);
	EQ_INT(fails("ADD", "c", "{"), 6);
	EQ_INT(fails("ADD", "c", ""), 6);
	EQ_INT(fails("ADD", "c", wide), 7);
	EQ_INT(fails("ADD", "c", word), 7);
	EQ_INT(fails("GC", "c", good), 7);
	EQ_INT(fails("CHECK", "c", good), 7);
}

TEST(no_namespace_no_lease)
{
	K3_AUTO_FREE char *good = conf("1.0.0", "10.88.0.0/16", "");
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	struct setup_cni_env env = { "ADD", "gone", "/no/such/ns", "eth0" };
	struct cni_config c;
	struct k3_err err;
	uint32_t a;
	bool found;

	EQ_INT(setup_cni(&env, good, strlen(good), &out), 1);
	EQ_INT(code_of(&out), 5);
	OK(cni_config_parse(good, strlen(good), &c, &err));
	OK(lease_find(&c, "gone", "eth0", &a, &found, &err));
	CHECK(!found);
	cni_config_release(&c);
	/* it is taken down all the same, as often as asked */
	env.command = "DEL";
	EQ_INT(setup_cni(&env, good, strlen(good), &out), 0);
}

TEST(leases_are_distinct_and_come_back)
{
	const char *dir = unit_tmpdir();
	K3_AUTO_FREE char *text = conf_in(dir, "1.0.0", "10.88.4.0/29", "");
	struct cni_config c;
	struct k3_err err;
	uint32_t a[8] = { 0 }, again;
	bool found;

	OK(cni_config_parse(text, strlen(text), &c, &err));
	EQ_INT(c.last - c.first, 4);
	for (uint32_t i = 0; i < 5; i++) {
		char name[8];

		snprintf(name, sizeof(name), "c%u", i);
		OK(lease_take(&c, name, "eth0", &a[i], &err));
		CHECK(a[i] >= c.first && a[i] <= c.last);
		for (uint32_t j = 0; j < i; j++)
			CHECK(a[i] != a[j]);
	}
	OK(lease_take(&c, "c2", "eth0", &again, &err));
	EQ_INT(again, a[2]);
	FAILS(lease_take(&c, "c9", "eth0", &again, &err), K3_LIMIT);
	OK(lease_drop(&c, "c3", "eth0", &err));
	OK(lease_drop(&c, "c3", "eth0", &err));
	OK(lease_drop(&c, "c3", "eth1", &err));
	OK(lease_take(&c, "c9", "eth0", &again, &err));
	EQ_INT(again, a[3]);
	OK(lease_find(&c, "c3", "eth0", &again, &found, &err));
	CHECK(!found);
	cni_config_release(&c);
	/* GC keeps what is listed */
	K3_AUTO_FREE char *gc =
		conf_in(dir, "1.1.0", "10.88.4.0/29",
			",\"cni.dev/valid-attachments\":[{\"containerID\":\"c1\","
			"\"ifname\":\"eth0\"},{\"containerID\":\"c2\",\"ifname\":\"x\"}]");
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);

	EQ_INT(ask("GC", NULL, gc, &out), 0);
	EQ_INT(out.len, 0);
	OK(cni_config_parse(text, strlen(text), &c, &err));
	OK(lease_find(&c, "c1", "eth0", &again, &found, &err));
	CHECK(found && again == a[1]);
	OK(lease_find(&c, "c2", "eth0", &again, &found, &err));
	CHECK(!found);
	cni_config_release(&c);
}

TEST(check_compares_with_the_result)
{
	const char *dir = unit_tmpdir();
	K3_AUTO_FREE char *text = conf_in(dir, "1.0.0", "10.88.8.0/29", "");
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	char address[CNI_ADDRESS_MAX];
	struct cni_config c;
	struct k3_err err;
	uint32_t a;

	OK(cni_config_parse(text, strlen(text), &c, &err));
	OK(lease_take(&c, "k", "eth0", &a, &err));
	cni_config_release(&c);
	cni_address(a, address);
	K3_AUTO_FREE char *prev =
		k3_xasprintf(",\"prevResult\":{\"ips\":[{\"address\":\"%s/29\"}]}", address);
	K3_AUTO_FREE char *right = conf_in(dir, "1.0.0", "10.88.8.0/29", prev);
	K3_AUTO_FREE char *wrong = conf_in(dir, "1.0.0", "10.88.8.0/29", ",\"prevResult\":{}");

	EQ_INT(ask("CHECK", "k", right, &out), 0);
	EQ_INT(out.len, 0);
	EQ_INT(fails("CHECK", "k", wrong), 100);
	EQ_INT(fails("CHECK", "unknown", right), 3);
}

TEST(status_needs_a_place_for_leases)
{
	K3_AUTO_FREE char *good = conf("1.1.0", "10.88.0.0/16", "");
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);

	EQ_INT(ask("STATUS", NULL, good, &out), 0);
	EQ_INT(out.len, 0);
	EQ_INT(fails("STATUS", NULL, "{\"cniVersion\":\"1.1.0\",\"stateDir\":\"/proc/no/such\"}"),
	       5);
}

UNIT_MAIN
