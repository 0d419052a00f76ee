/* SPDX-License-Identifier: Apache-2.0 */
/* Names and orders were checked against containerd's platforms package (Parse, Only). */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "oci/oci.h"

static void expect(const char *text, const char *want)
{
	struct oci_platform p;
	struct k3_err err;
	char out[128];

	OK(oci_platform_parse(text, &p, &err));
	oci_platform_format(&p, out, sizeof(out));
	EQ_STR(out, want);
}

TEST(platform_names)
{
	static const char *const t[][2] = {
		{ "linux/amd64", "linux/amd64" },
		{ "linux/amd64/v1", "linux/amd64" },
		{ "linux/amd64/v3", "linux/amd64/v3" },
		{ "linux/x86_64", "linux/amd64" },
		{ "linux/x86-64/v2", "linux/amd64/v2" },
		{ "Linux/AMD64", "linux/amd64" },
		{ "linux/aarch64", "linux/arm64" },
		{ "linux/arm64/v8", "linux/arm64" },
		{ "linux/arm64/8", "linux/arm64" },
		{ "linux/aarch64/v8.0", "linux/arm64" },
		{ "linux/arm64/v9.0", "linux/arm64/v9" },
		{ "linux/arm64/v8.2", "linux/arm64/v8.2" },
		{ "linux/arm", "linux/arm/v7" },
		{ "linux/arm/7", "linux/arm/v7" },
		{ "linux/arm/v6", "linux/arm/v6" },
		{ "linux/arm/5", "linux/arm/v5" },
		{ "linux/armhf", "linux/arm/v7" },
		{ "linux/armel", "linux/arm/v6" },
		{ "linux/i386", "linux/386" },
		{ "linux/i486", "linux/386" },
		{ "linux/i586", "linux/386" },
		{ "linux/i686", "linux/386" },
		{ "linux/386", "linux/386" },
		{ "linux/riscv64", "linux/riscv64" },
		{ "macos/arm64", "darwin/arm64" },
		{ "windows/amd64", "windows/amd64" },
		{ "amd64", "linux/amd64" },
		{ "x86_64", "linux/amd64" },
		{ "arm64", "linux/arm64" },
		{ "armhf", "linux/arm/v7" },
		{ "i686", "linux/386" },
		{ "s390x", "linux/s390x" },
	};

	for (size_t i = 0; i < K3_ARRAY_LEN(t); i++)
		expect(t[i][0], t[i][1]);
}

TEST(platform_refuses)
{
	static const char *const t[] = {
		"",
		"/",
		"linux/",
		"/amd64",
		"linux//v8",
		"linux/arm/v7/x",
		"linux/*",
		"amd65",
		"linux",
		"linux/am d64",
		"linux/0123456789012345678901234567890123456789",
	};
	struct oci_platform p;
	struct k3_err err;

	for (size_t i = 0; i < K3_ARRAY_LEN(t); i++) {
		FAILS(oci_platform_parse(t[i], &p, &err), K3_USAGE);
		HAS_STR(err.hint, "os/architecture[/variant]");
	}
}

/* Each row: what a machine wants, then all it accepts, best first. */
static const char *const ranks[][24] = {
	{ "linux/amd64", "linux/amd64", "linux/386" },
	{ "linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386" },
	{ "linux/386", "linux/386" },
	{ "linux/arm/v5", "linux/arm/v5" },
	{ "linux/arm/v6", "linux/arm/v6", "linux/arm/v5" },
	{ "linux/arm/v7", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
	{ "linux/arm/v8", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
	{ "linux/arm64", "linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6",
	  "linux/arm/v5" },
	{ "linux/arm64/v8.2", "linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64", "linux/arm/v8",
	  "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
	{ "linux/arm64/v9", "linux/arm64/v9", "linux/arm64/v8.5", "linux/arm64/v8.2",
	  "linux/arm64/v8.1", "linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6",
	  "linux/arm/v5" },
	{ "linux/arm64/v9.2", "linux/arm64/v9.2", "linux/arm64/v9", "linux/arm64/v8.7",
	  "linux/arm64/v8.5", "linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64", "linux/arm/v8",
	  "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
	{ "linux/arm64/v10" },
	{ "linux/riscv64", "linux/riscv64" },
	{ "linux/s390x", "linux/s390x" },
	{ "windows/amd64", "windows/amd64" },
};

static const char *const offered[] = {
	"linux/amd64",      "linux/amd64/v2",   "linux/amd64/v3",   "linux/amd64/v4",
	"linux/386",        "linux/386/sse2",   "linux/arm/v5",     "linux/arm/v6",
	"linux/arm/v7",     "linux/arm/v8",     "linux/arm/v9",     "linux/arm64",
	"linux/arm64/v8.1", "linux/arm64/v8.2", "linux/arm64/v8.5", "linux/arm64/v8.7",
	"linux/arm64/v9",   "linux/arm64/v9.2", "linux/arm64/v9.8", "linux/arm64/v10",
	"linux/riscv64",    "linux/s390x",      "linux/ppc64le",    "windows/amd64",
	"unknown/unknown",  "linux/amd64/x",    "linux/amd64/v03",
};

static int place(const char *const row[24], const char *have)
{
	for (int i = 1; i < 24 && row[i]; i++)
		if (!strcmp(row[i], have))
			return i;
	return -1;
}

TEST(platform_ranks)
{
	struct k3_err err;
	struct oci_platform want, have;

	for (size_t r = 0; r < K3_ARRAY_LEN(ranks); r++) {
		int rank_of[24] = { 0 };

		OK(oci_platform_parse(ranks[r][0], &want, &err));
		for (size_t i = 0; i < K3_ARRAY_LEN(offered); i++) {
			OK(oci_platform_parse(offered[i], &have, &err));
			int rank = oci_platform_rank(&want, &have),
			    at = place(ranks[r], offered[i]);

			if ((rank >= 0) != (at > 0))
				unit_fail(__FILE__, __LINE__, "%s for %s has rank %d", offered[i],
					  ranks[r][0], rank);
			if (at > 0)
				rank_of[at] = rank;
		}
		for (int i = 1; i < 24 && ranks[r][i]; i++)
			if (i == 1 ? rank_of[i] != 0 : rank_of[i] <= rank_of[i - 1])
				unit_fail(__FILE__, __LINE__, "%s: %s is out of order", ranks[r][0],
					  ranks[r][i]);
	}
}

TEST(platform_host)
{
	struct oci_platform p;

	oci_platform_host(&p);
	EQ_STR(p.os, "linux");
	CHECK(p.arch[0] != '\0');
	EQ_INT(oci_platform_rank(&p, &p), 0);
#ifdef __x86_64__
	EQ_STR(p.arch, "amd64");
	EQ_STR(p.variant, "");
#endif
}

TEST(platform_format_is_cut)
{
	struct oci_platform p;
	struct k3_err err;
	char out[8];

	OK(oci_platform_parse("linux/riscv64", &p, &err));
	oci_platform_format(&p, out, sizeof(out));
	EQ_STR(out, "linux/r");
	oci_platform_format(&(struct oci_platform){ .os = "linux" }, out, sizeof(out));
	EQ_STR(out, "linux/u");
}

UNIT_MAIN
