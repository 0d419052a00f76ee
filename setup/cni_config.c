/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "setup/cni.h"
#include "setup/files.h"

#define SUBNET_DEFAULT "10.88.0.0/16"
#define BITS_LEAST 8u
#define BITS_MOST 29u /* six pods */

static const char *const versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

static int take_version(struct cni_config *c, struct k3_err *e)
{
	const char *v = k3_json_str(k3_json_get(k3_json_root(c->doc), "cniVersion"));

	for (size_t i = 0; v && i < K3_ARRAY_LEN(versions); i++)
		if (!strcmp(v, versions[i])) {
			c->version = versions[i];
			return 0;
		}
	return k3_fail(e, K3_UNSUPPORTED, "CNI version %s is not one of 0.3.0 to 1.1.0",
		       v ? v : "0.1.0 (none is given)");
}

static int take_subnet(struct cni_config *c, const char *text, struct k3_err *e)
{
	unsigned p[4], bits;
	char more;

	if (sscanf(text, "%3u.%3u.%3u.%3u/%2u%c", &p[0], &p[1], &p[2], &p[3], &bits, &more) != 5 ||
	    p[0] > 255 || p[1] > 255 || p[2] > 255 || p[3] > 255 || bits < BITS_LEAST ||
	    bits > BITS_MOST)
		return k3_fail(
			e, K3_USAGE,
			"subnet \"%s\" is no IPv4 network of %u to %u bits, as " SUBNET_DEFAULT,
			text, BITS_LEAST, BITS_MOST);
	uint32_t hosts = UINT32_MAX >> bits;
	uint32_t net = (p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]) & ~hosts;

	/* neither the network itself, nor the first one, by custom a router's, nor broadcast */
	c->first = net + 2;
	c->last = net + hosts - 1;
	c->bits = bits;
	return 0;
}

int cni_config_parse(const void *text, size_t n, struct cni_config *out, struct k3_err *e)
{
	*out = (struct cni_config){ 0 };
	if (k3_json_parse(text, n, &out->doc, e))
		return k3_wrap(e, "network configuration");
	const struct k3_json *root = k3_json_root(out->doc), *v;
	const char *type = k3_json_str(k3_json_get(root, "type"));
	const char *subnet = SUBNET_DEFAULT;

	out->leases = SETUP_LEASES;
	out->loopback = type && !strcmp(type, "loopback");
	if (take_version(out, e))
		return -1;
	v = k3_json_get(root, "subnet");
	if (v && !(subnet = k3_json_str(v)))
		return k3_fail(e, K3_USAGE, "subnet is no text");
	v = k3_json_get(root, "stateDir");
	if (v && (!(out->leases = k3_json_str(v)) || out->leases[0] != '/'))
		return k3_fail(e, K3_USAGE, "stateDir is no absolute path");
	return take_subnet(out, subnet, e);
}

void cni_config_release(struct cni_config *c)
{
	k3_json_free(c->doc);
	*c = (struct cni_config){ 0 };
}
