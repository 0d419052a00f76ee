/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci.h"

#define ALG_TEXT_MAX 48

static const struct {
	const char *name;
	enum k3_hash_alg alg;
} algorithms[] = {
	{ "sha256", K3_SHA256 },
	{ "sha512", K3_SHA512 },
};

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* image-spec descriptor.md: component [separator component]..., components lower-case. */
static bool algorithm_ok(const char *s, size_t n)
{
	bool after_component = false;

	for (size_t i = 0; i < n; i++) {
		if (is_lower_alnum(s[i]))
			after_component = true;
		else if (after_component && strchr("+._-", s[i]))
			after_component = false;
		else
			return false;
	}
	return after_component;
}

static bool encoded_ok(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++)
		if (!is_lower_alnum(s[n]) && !(s[n] >= 'A' && s[n] <= 'Z') && !strchr("=_-", s[n]))
			return false;
	return n > 0;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool unhex(const char *s, size_t bytes, uint8_t *out)
{
	if (strlen(s) != 2 * bytes)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		int high = nibble(s[2 * i]), low = nibble(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

int oci_digest_parse(const char *s, struct oci_digest *out, struct k3_err *e)
{
	const char *colon = strchr(s, ':');
	size_t n = colon ? (size_t)(colon - s) : 0;
	struct oci_digest d = { 0 };

	if (!colon || !algorithm_ok(s, n) || !encoded_ok(colon + 1))
		return k3_fail(e, K3_FORMAT, "\"%.100s\" is not a digest", s);
	for (size_t i = 0; i < K3_ARRAY_LEN(algorithms); i++) {
		if (strlen(algorithms[i].name) != n || memcmp(algorithms[i].name, s, n))
			continue;
		d.alg = algorithms[i].alg;
		if (!unhex(colon + 1, k3_hash_len(d.alg), d.hash))
			return k3_fail(e, K3_FORMAT,
				       "\"%.150s\" is not a %s digest: want %zu lower-case hex "
				       "digits",
				       s, algorithms[i].name, 2 * k3_hash_len(d.alg));
		*out = d;
		return 0;
	}
	return k3_fail(e, K3_UNSUPPORTED, "digest algorithm \"%.*s\" is not supported",
		       (int)(n < ALG_TEXT_MAX ? n : ALG_TEXT_MAX), s);
}

void oci_digest_format(const struct oci_digest *d, char out[OCI_DIGEST_TEXT_MAX])
{
	int n = snprintf(out, OCI_DIGEST_TEXT_MAX, "%s:", oci_alg_name(d->alg));

	k3_hex(d->hash, k3_hash_len(d->alg), out + n);
}

bool oci_digest_eq(const struct oci_digest *a, const struct oci_digest *b)
{
	return a->alg == b->alg && !memcmp(a->hash, b->hash, k3_hash_len(a->alg));
}

const char *oci_alg_name(enum k3_hash_alg alg)
{
	return alg == K3_SHA512 ? "sha512" : "sha256";
}

void oci_digest_of(enum k3_hash_alg alg, const void *p, size_t n, struct oci_digest *out)
{
	*out = (struct oci_digest){ .alg = alg };
	k3_hash_once(alg, p, n, out->hash);
}

void oci_digest_final(struct k3_hash *h, enum k3_hash_alg alg, struct oci_digest *out)
{
	*out = (struct oci_digest){ .alg = alg };
	k3_hash_final(h, out->hash);
}
