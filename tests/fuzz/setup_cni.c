/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CNI request: the first line is CNI_COMMAND, the rest the configuration.  The answer is JSON,
 * with a code where it failed.  Nothing touches the disk: leases are below a file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "setup/setup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (4u << 20)
#define COMMAND_MAX 16

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t n = end ? (size_t)(end - data) : 0;
	char command[COMMAND_MAX] = "CHECK";
	K3_AUTO_BUF struct k3_buf out = K3_BUF(OUT_MAX);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	struct k3_err e;

	if (n && n < sizeof(command)) {
		memcpy(command, data, n);
		command[n] = '\0';
	}
	/* these two make directories where the configuration says */
	if (!strcmp(command, "STATUS") || !strcmp(command, "GC") || !strcmp(command, "DEL"))
		return 0;
	struct setup_cni_env env = {
		.command = command,
		.container = "c1",
		/* ADD goes no further than this */
		.netns = strcmp(command, "ADD") != 0 ? "/proc/self/ns/net" : "",
		.ifname = "eth0",
	};
	int status = setup_cni(&env, end ? end + 1 : data, size - (end ? n + 1 : 0), &out);

	if (!status && !out.len)
		return 0; /* what CHECK says when all is well */
	must(!k3_json_parse(out.p, out.len, &doc, &e));
	uint64_t code = 0;

	must(k3_json_str(k3_json_get(k3_json_root(doc), "cniVersion")));
	must(status == (k3_json_u64(k3_json_get(k3_json_root(doc), "code"), &code) ? 1 : 0));
	must(!status || (code && k3_json_str(k3_json_get(k3_json_root(doc), "msg"))));
	return 0;
}
