/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A config.json, fitted to a machine that lacks all there is to lack: what comes out is a document,
 * with which nothing is left to do; with nothing lacking it is the same, byte for byte.  The first
 * byte of the input says what the machine has.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_text.h"
#include "setup/setup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (8u << 20)

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct host_container machine(uint8_t bits)
{
	struct host_container f = {
		.cgroup = bits & 1,
		.hugetlb = bits & 2,
		.cgroup_ns = bits & 4,
		.time_ns = bits & 8,
		.apparmor = bits & 16,
		.selinux = bits & 32,
		.oom_min = bits & 64 ? -1000 : 0,
		.rlimits = bits & 128 ? UINT32_MAX : 0,
		.proc = "/proc",
	};
	return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	K3_AUTO_BUF struct k3_buf once = K3_BUF(OUT_MAX), twice = K3_BUF(OUT_MAX);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	K3_AUTO_JT struct k3_jt t = { 0 };
	struct host_container f = machine(size ? data[0] : 0);
	const char *text = size ? (const char *)data + 1 : "";
	size_t n = size ? size - 1 : 0;
	struct k3_err e = { 0 };
	bool changed;

	/* what the other reader takes, this one takes */
	bool valid = !k3_json_parse(text, n, &doc, &e);

	if (setup_spec_fit(text, n, &f, &once, &changed, &e)) {
		must(e.code == K3_FORMAT || e.code == K3_LIMIT);
		must(!valid || n > K3_JT_NODES_MAX);
		return 0;
	}
	if (!changed)
		must(once.len == n && !memcmp(once.p, text, n));
	must(!k3_jt_parse(once.p, once.len, &t, &e));
	if (valid) {
		k3_json_freep(&doc);
		must(!k3_json_parse(once.p, once.len, &doc, &e));
	}
	must(!setup_spec_fit(once.p, once.len, &f, &twice, &changed, &e));
	/* of two members with one name the last counts, and another becomes the last */
	must(!valid || !changed);
	return 0;
}
