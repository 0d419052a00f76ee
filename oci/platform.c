/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Platform names and their order, as containerd's platforms.Only(): what a machine can run
 * besides its own platform is a matter of the wanted one only.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __arm__
#include <sys/auxv.h>
#endif

#include "base/mem.h"
#include "oci/oci.h"
#include "oci/platform.h"

#define VARIANT_NUMBER_MAX 99 /* far above any real variant, far below overflow */
#define ARM_OLDEST 5

#if defined(__x86_64__)
#define HOST_ARCH "amd64"
#elif defined(__i386__)
#define HOST_ARCH "386"
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#elif defined(__arm__)
#define HOST_ARCH "arm"
#elif defined(__riscv) && __riscv_xlen == 64
#define HOST_ARCH "riscv64"
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HOST_ARCH "ppc64le"
#elif defined(__s390x__)
#define HOST_ARCH "s390x"
#elif defined(__loongarch64)
#define HOST_ARCH "loong64"
#else
#error "which platform is this? add its GOARCH name"
#endif

struct alias {
	const char *arch, *variant;       /* as written; NULL variant = any */
	const char *to_arch, *to_variant; /* NULL to_variant = kept */
};

/* What containerd itself takes as equal; descriptors are compared after this. */
static const struct alias aliases[] = {
	{ "i386", NULL, "386", "" },         { "x86_64", "v1", "amd64", "" },
	{ "x86-64", "v1", "amd64", "" },     { "amd64", "v1", "amd64", "" },
	{ "x86_64", NULL, "amd64", NULL },   { "x86-64", NULL, "amd64", NULL },
	{ "aarch64", "8", "arm64", "" },     { "aarch64", "v8", "arm64", "" },
	{ "aarch64", "v8.0", "arm64", "" },  { "aarch64", "9", "arm64", "v9" },
	{ "aarch64", "9.0", "arm64", "v9" }, { "aarch64", "v9.0", "arm64", "v9" },
	{ "arm64", "8", "arm64", "" },       { "arm64", "v8", "arm64", "" },
	{ "arm64", "v8.0", "arm64", "" },    { "arm64", "9", "arm64", "v9" },
	{ "arm64", "9.0", "arm64", "v9" },   { "arm64", "v9.0", "arm64", "v9" },
	{ "aarch64", NULL, "arm64", NULL },  { "armhf", NULL, "arm", "v7" },
	{ "armel", NULL, "arm", "v6" },      { "arm", "", "arm", "v7" },
	{ "arm", "5", "arm", "v5" },         { "arm", "6", "arm", "v6" },
	{ "arm", "7", "arm", "v7" },         { "arm", "8", "arm", "v8" },
};

/* More names that people type; containerd does not know them, so they count only there. */
static const struct alias typed_aliases[] = {
	{ "i486", NULL, "386", "" },
	{ "i586", NULL, "386", "" },
	{ "i686", NULL, "386", "" },
};

static const char *const known_arches[] = {
	"386",    "amd64",    "arm",   "arm64",   "armbe",   "arm64be", "loong64", "mips", "mipsle",
	"mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x",   "sparc64", "wasm",
};

static void copy_lower(char out[OCI_PLATFORM_PART_MAX], const char *s)
{
	size_t n = 0;

	for (; s[n] && n < OCI_PLATFORM_PART_MAX - 1; n++)
		out[n] = (char)tolower((unsigned char)s[n]);
	memset(out + n, 0, OCI_PLATFORM_PART_MAX - n);
}

static void apply_alias(const struct alias *table, size_t n, struct oci_platform *p)
{
	for (size_t i = 0; i < n; i++) {
		const struct alias *a = &table[i];

		if (strcmp(a->arch, p->arch) || (a->variant && strcmp(a->variant, p->variant)))
			continue;
		copy_lower(p->arch, a->to_arch);
		if (a->to_variant)
			copy_lower(p->variant, a->to_variant);
		return;
	}
}

void oci_platform_normal(const char *os, const char *arch, const char *variant,
			 struct oci_platform *out)
{
	copy_lower(out->os, *os ? os : "linux");
	copy_lower(out->arch, arch);
	copy_lower(out->variant, variant);
	if (!strcmp(out->os, "macos"))
		copy_lower(out->os, "darwin");
	apply_alias(aliases, K3_ARRAY_LEN(aliases), out);
}

static bool known_arch(const char *arch)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(known_arches); i++)
		if (!strcmp(known_arches[i], arch))
			return true;
	return false;
}

static bool part_ok(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("_.-", s[i]))
			return false;
	return n > 0 && n < OCI_PLATFORM_PART_MAX;
}

static int bad_platform(const char *s, const char *why, struct k3_err *e)
{
	k3_fail(e, K3_USAGE, "platform \"%.100s\": %s", s, why);
	return k3_hint(e, "write os/architecture[/variant], e.g. linux/amd64 or linux/arm/v7");
}

int oci_platform_parse(const char *s, struct oci_platform *out, struct k3_err *e)
{
	K3_AUTO_FREE char *copy = k3_xstrdup(s);
	const char *part[3] = { "", "", "" };
	char *rest = copy;
	size_t n = 0;

	while (rest && n < K3_ARRAY_LEN(part)) {
		part[n] = strsep(&rest, "/");
		if (!part_ok(part[n++]))
			return bad_platform(s, "it does not parse", e);
	}
	if (rest)
		return bad_platform(s, "it has too many parts", e);
	struct oci_platform p;

	if (n == 1)
		oci_platform_normal("linux", part[0], "", &p);
	else
		oci_platform_normal(part[0], part[1], part[2], &p);
	apply_alias(typed_aliases, K3_ARRAY_LEN(typed_aliases), &p);
	if (n == 1 && !known_arch(p.arch))
		return bad_platform(s, "there is no such architecture", e);
	*out = p;
	return 0;
}

void oci_platform_host(struct oci_platform *out)
{
	const char *variant = "";
#ifdef __arm__
	/* "v6l", "v7l", "v8l": what the kernel found the CPU to be. */
	const char *cpu = (const char *)getauxval(AT_PLATFORM);
	char text[3] = "";

	if (cpu && cpu[0] == 'v' && cpu[1] >= '5' && cpu[1] <= '8') {
		memcpy(text, cpu, 2);
		variant = text;
	}
#endif
	oci_platform_normal("linux", HOST_ARCH, variant, out);
}

void oci_platform_format(const struct oci_platform *p, char *out, size_t size)
{
	snprintf(out, size, "%s/%s%s%s", p->os, p->arch[0] ? p->arch : "unknown",
		 p->variant[0] ? "/" : "", p->variant);
}

/* The N of a wanted "vN" (or "N", as containerd reads it), or -1. */
static int wanted_level(const char *v)
{
	char *end;

	v += v[0] == 'v';
	if (!isdigit((unsigned char)v[0]))
		return -1;
	long n = strtol(v, &end, 10);

	return *end || n > VARIANT_NUMBER_MAX ? -1 : (int)n;
}

/* The N of an offered "vN", which has one spelling only, or -1. */
static int offered_level(const char *v)
{
	return v[0] == 'v' && v[1] != '0' ? wanted_level(v) : -1;
}

/* Major and minor of arm64's "", "v8.4", "v9"; false for one that containerd does not know. */
static bool arm64_version(const char *v, int *major, int *minor)
{
	if (!*v)
		v = "v8";
	if (v[0] != 'v' || (v[1] != '8' && v[1] != '9'))
		return false;
	*major = v[1] - '0';
	*minor = 0;
	if (!v[2])
		return true;
	if (v[2] != '.' || !isdigit((unsigned char)v[3]) || v[3] == '0' || v[4])
		return false;
	*minor = v[3] - '0';
	return *major == 8 || *minor <= 7;
}

/* amd64/vN runs amd64/vN-1 ... v1 and then 386. */
static int rank_for_amd64(const char *want, const struct oci_platform *have)
{
	int level = wanted_level(want);
	int lower = level > 1 ? level - 1 : 0; /* number of lower amd64 levels */

	if (!strcmp(have->arch, "amd64")) {
		int got = have->variant[0] ? offered_level(have->variant) : 1;

		if (!strcmp(have->variant, want))
			return 0;
		return got >= 1 && got <= lower ? level - got : -1;
	}
	return !strcmp(have->arch, "386") && !have->variant[0] ? lower + 1 : -1;
}

/* arm/vN runs arm/vN-1 ... v5. */
static int rank_for_arm(const char *want, const struct oci_platform *have)
{
	int level = wanted_level(want), got = offered_level(have->variant);

	if (strcmp(have->arch, "arm"))
		return -1;
	if (!strcmp(have->variant, want))
		return 0;
	return got >= ARM_OLDEST && got < level ? level - got : -1;
}

/*
 * arm64/v8.x runs v8.x ... v8; arm64/v9.x runs v9.x ... v9 and then v8.(x+5) ... v8, whose
 * minors stop at 9; both then arm/v8 and lower.
 */
static int rank_for_arm64(const char *want, const struct oci_platform *have)
{
	int major, minor, got_major, got_minor;

	if (!arm64_version(want, &major, &minor))
		return -1;
	int v8_minor = major == 8 ? minor : (minor + 5 < 9 ? minor + 5 : 9);
	int v9_count = major == 9 ? minor + 1 : 0;

	if (!strcmp(have->arch, "arm")) {
		int r = rank_for_arm("v8", have);

		return r < 0 ? -1 : v9_count + v8_minor + 1 + r;
	}
	if (strcmp(have->arch, "arm64") || !arm64_version(have->variant, &got_major, &got_minor))
		return -1;
	if (got_major == 9)
		return major == 9 && got_minor <= minor ? minor - got_minor : -1;
	return got_minor <= v8_minor ? v9_count + v8_minor - got_minor : -1;
}

int oci_platform_rank(const struct oci_platform *want, const struct oci_platform *have)
{
	if (strcmp(want->os, have->os))
		return -1;
	if (!strcmp(want->arch, "amd64"))
		return rank_for_amd64(want->variant, have);
	if (!strcmp(want->arch, "arm"))
		return rank_for_arm(want->variant, have);
	if (!strcmp(want->arch, "arm64"))
		return rank_for_arm64(want->variant, have);
	return !strcmp(want->arch, have->arch) && !strcmp(want->variant, have->variant) ? 0 : -1;
}
