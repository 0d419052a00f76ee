/* SPDX-License-Identifier: Apache-2.0 */
/* One request to a CNI plugin (the CNI specification, version 1.1). */
#include "setup/cni.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

#define ANSWER_VERSION "1.1.0" /* when the request does not tell one that we know */
#define IFNAME_LONGEST 15      /* IFNAMSIZ */

struct request {
	const struct setup_cni_env *env;
	struct cni_config config;
	struct k3_buf *out;
};

/* ---- the environment --------------------------------------------------------------------- */

static bool is_container(const char *name)
{
	if (!name || !isalnum((unsigned char)*name) || strlen(name) > CNI_NAME_MAX)
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_.-", *c))
			return false;
	return true;
}

static bool is_ifname(const char *name)
{
	if (!name || !*name || strlen(name) > IFNAME_LONGEST || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return false;
	for (const char *c = name; *c; c++)
		if (*c == '/' || *c == ':' || isspace((unsigned char)*c))
			return false;
	return true;
}

static int check_attachment(const struct request *r, bool netns, struct k3_err *e)
{
	if (!is_container(r->env->container))
		return k3_fail(e, K3_PROTO, "CNI_CONTAINERID is missing or no name");
	if (!is_ifname(r->env->ifname))
		return k3_fail(e, K3_PROTO, "CNI_IFNAME is missing or no name of a device");
	if (netns && (!r->env->netns || r->env->netns[0] != '/'))
		return k3_fail(e, K3_PROTO, "CNI_NETNS is missing or no absolute path");
	return 0;
}

/* ---- results ----------------------------------------------------------------------------- */

static bool is_old(const char *version)
{
	return version[0] == '0';
}

static int put_result(const struct request *r, const char *device, const char *address,
		      unsigned bits, struct k3_err *e)
{
	K3_AUTO_FREE char *cidr = k3_xasprintf("%s/%u", address, bits);
	struct k3_jw w = K3_JW(r->out);

	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "cniVersion", r->config.version);
	k3_jw_arr(&w, "interfaces");
	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "name", device);
	k3_jw_str(&w, "sandbox", r->env->netns);
	k3_jw_close_obj(&w);
	k3_jw_close_arr(&w);
	k3_jw_arr(&w, "ips");
	k3_jw_obj(&w, NULL);
	if (is_old(r->config.version))
		k3_jw_str(&w, "version", "4");
	k3_jw_str(&w, "address", cidr);
	k3_jw_u64(&w, "interface", 0);
	k3_jw_close_obj(&w);
	k3_jw_close_arr(&w);
	k3_jw_obj(&w, "dns");
	k3_jw_close_obj(&w);
	k3_jw_close_obj(&w);
	return k3_jw_end(&w, e);
}

/* The error codes of the specification; from 100 on they are ours. */
static unsigned error_code(enum k3_code code)
{
	switch (code) {
	case K3_UNSUPPORTED:
		return 1; /* incompatible CNI version */
	case K3_NOTFOUND:
		return 3; /* container unknown */
	case K3_PROTO:
		return 4; /* necessary environment variables */
	case K3_FORMAT:
		return 6; /* failed to decode content */
	case K3_USAGE:
		return 7; /* invalid network config */
	case K3_LIMIT:
		return 11; /* try again later */
	case K3_STORE:
		return 100; /* a pod is not as ADD left it */
	default:
		return 5; /* I/O failure */
	}
}

static void put_error(const struct request *r, const struct k3_err *why)
{
	struct k3_jw w = K3_JW(r->out);
	struct k3_err ignored;

	k3_buf_reset(r->out);
	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "cniVersion", r->config.version ? r->config.version : ANSWER_VERSION);
	k3_jw_u64(&w, "code", error_code(why->code));
	k3_jw_str(&w, "msg", why->msg);
	if (why->hint[0])
		k3_jw_str(&w, "details", why->hint);
	k3_jw_close_obj(&w);
	if (k3_jw_end(&w, &ignored))
		k3_buf_reset(r->out);
}

/* ---- operations -------------------------------------------------------------------------- */

static int add(const struct request *r, struct k3_err *e)
{
	char address[CNI_ADDRESS_MAX];
	uint32_t a;

	if (check_attachment(r, true, e))
		return -1;
	if (r->config.loopback)
		return loopback_raise(r->env->netns, 0, e)
			       ? -1
			       : put_result(r, r->env->ifname, "127.0.0.1", 8, e);
	if (lease_take(&r->config, r->env->container, r->env->ifname, &a, e))
		return -1;
	cni_address(a, address);
	if (loopback_raise(r->env->netns, a, e) ||
	    put_result(r, r->env->ifname, address, r->config.bits, e)) {
		struct k3_err ignored;

		if (lease_drop(&r->config, r->env->container, r->env->ifname, &ignored))
			k3_hint(e, "the address stays leased: %s", ignored.msg);
		return -1;
	}
	return 0;
}

/* The namespace may be gone, and with it what ADD did in there. */
static int del(const struct request *r, struct k3_err *e)
{
	if (check_attachment(r, false, e))
		return -1;
	if (r->config.loopback)
		return 0;
	return lease_drop(&r->config, r->env->container, r->env->ifname, e);
}

static bool has_address(const struct k3_json *prev, const char *cidr)
{
	const struct k3_json *ips = k3_json_get(prev, "ips");

	for (size_t i = 0; i < k3_json_len(ips); i++) {
		const char *is = k3_json_str(k3_json_get(k3_json_at(ips, i), "address"));

		if (is && !strcmp(is, cidr))
			return true;
	}
	return false;
}

static int check(const struct request *r, struct k3_err *e)
{
	const struct k3_json *prev = k3_json_get(k3_json_root(r->config.doc), "prevResult");
	char address[CNI_ADDRESS_MAX];
	uint32_t a;
	bool found;

	if (check_attachment(r, true, e))
		return -1;
	if (!k3_json_is_obj(prev))
		return k3_fail(e, K3_USAGE, "CHECK needs prevResult");
	if (r->config.loopback)
		return 0;
	if (lease_find(&r->config, r->env->container, r->env->ifname, &a, &found, e))
		return -1;
	if (!found)
		return k3_fail(e, K3_NOTFOUND, "container %s has no address here",
			       r->env->container);
	cni_address(a, address);
	K3_AUTO_FREE char *cidr = k3_xasprintf("%s/%u", address, r->config.bits);

	if (!has_address(prev, cidr))
		return k3_fail(e, K3_STORE, "container %s has %s, which prevResult does not name",
			       r->env->container, cidr);
	return 0;
}

static bool is_valid(void *arg, const char *container, const char *ifname)
{
	const struct k3_json *list = arg;

	for (size_t i = 0; i < k3_json_len(list); i++) {
		const struct k3_json *v = k3_json_at(list, i);
		const char *id = k3_json_str(k3_json_get(v, "containerID"));
		const char *device = k3_json_str(k3_json_get(v, "ifname"));

		if (id && device && !strcmp(id, container) && !strcmp(device, ifname))
			return true;
	}
	return false;
}

static int collect(const struct request *r, struct k3_err *e)
{
	const struct k3_json *root = k3_json_root(r->config.doc);
	const struct k3_json *list = k3_json_get(root, "cni.dev/valid-attachments");

	/* in the text of the specification it had this name first */
	if (!list)
		list = k3_json_get(root, "cni.dev/attachments");
	if (!k3_json_is_arr(list))
		return k3_fail(e, K3_USAGE, "GC needs cni.dev/valid-attachments");
	if (r->config.loopback)
		return 0;
	return lease_sweep(&r->config, is_valid, (void *)(uintptr_t)list, e);
}

static int status(const struct request *r, struct k3_err *e)
{
	return r->config.loopback ? 0 : k3_make_dirs(r->config.leases, 0755, e);
}

static int version(const struct request *r, struct k3_err *e)
{
	static const char *const known[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
	struct k3_jw w = K3_JW(r->out);

	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "cniVersion", r->config.version ? r->config.version : ANSWER_VERSION);
	k3_jw_arr(&w, "supportedVersions");
	for (size_t i = 0; i < K3_ARRAY_LEN(known); i++)
		k3_jw_str(&w, NULL, known[i]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return k3_jw_end(&w, e);
}

static const struct {
	const char *name;
	int (*run)(const struct request *r, struct k3_err *e);
} operations[] = {
	{ "ADD", add }, { "DEL", del }, { "CHECK", check }, { "GC", collect }, { "STATUS", status },
};

static int run(struct request *r, const void *text, size_t n, struct k3_err *e)
{
	const char *command = r->env->command;

	if (!command)
		return k3_fail(e, K3_PROTO, "CNI_COMMAND is missing: this is a CNI plugin");
	int rc = cni_config_parse(text, n, &r->config, e);

	/* it is asked for versions without knowing one */
	if (!strcmp(command, "VERSION"))
		return version(r, e);
	if (rc)
		return -1;
	for (size_t i = 0; i < K3_ARRAY_LEN(operations); i++)
		if (!strcmp(command, operations[i].name))
			return operations[i].run(r, e);
	return k3_fail(e, K3_PROTO, "CNI_COMMAND \"%s\" is unknown", command);
}

int setup_cni(const struct setup_cni_env *env, const void *config, size_t n, struct k3_buf *out)
{
	struct request r = { .env = env, .out = out };
	struct k3_err e;
	int rc = run(&r, config, n, &e);

	if (rc)
		put_error(&r, &e);
	cni_config_release(&r.config);
	return rc ? 1 : 0;
}
