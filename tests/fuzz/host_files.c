/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a machine: the first byte says which, any others are taken or refused. */
#include <stdlib.h>

#include "base/mem.h"
#include "host/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mounts(const uint8_t *data, size_t size)
{
	K3_AUTO_FREE char *text = k3_xstrndup((const char *)data, size);
	struct host h = { 0 };
	struct k3_err err;

	if (!host_parse_mounts(text, &h, &err) && h.cgroups == HOST_CGROUPS_UNKNOWN)
		abort();
	(void)host_mount_of(&h, "/var/lib/kubelet");
	host_release(&h);
}

static void cni(const uint8_t *data, size_t size, bool list)
{
	struct host_cni c = { 0 };

	host_parse_cni(data, size, list, &c);
	/* What has no trouble has a name and programs to look for. */
	if (!c.trouble && (!c.name || !c.nplugins))
		abort();
	host_cni_release(&c);
}

static void yaml(const uint8_t *data, size_t size, bool k3s)
{
	struct host h = { .kubelet = { .gc_high = 85 } };
	struct k3_err err;

	if (k3s)
		(void)!host_parse_k3s(data, size, &h.k3s, &h.kubelet, &err);
	else
		(void)!host_parse_kubelet(data, size, &h.kubelet, &err);
	if (h.kubelet.gc_high > 100)
		abort();
	host_release(&h);
}

static void template(const uint8_t *data, size_t size)
{
	K3_AUTO_FREE char *binary = host_parse_template(data, size, "k3simg");

	if (binary && !*binary)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0]) {
	case 'm':
		mounts(data + 1, size - 1);
		break;
	case 'c':
	case 'l':
		cni(data + 1, size - 1, data[0] == 'l');
		break;
	case 't':
		template(data + 1, size - 1);
		break;
	default:
		yaml(data + 1, size - 1, data[0] == 'k');
		break;
	}
	return 0;
}
