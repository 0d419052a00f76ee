/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/pax.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

#define XATTR_PREFIX "SCHILY.xattr."
#define SPARSE_OFFSET "GNU.sparse.offset"
#define SPARSE_LENGTH "GNU.sparse.numbytes"
#define NS_DIGITS 9

static const struct {
	const char *key;
	size_t at;
	bool text; /* may not hold a NUL */
} known_keys[] = {
	{ "path", offsetof(struct pax, path), true },
	{ "linkpath", offsetof(struct pax, linkpath), true },
	{ "uid", offsetof(struct pax, uid), false },
	{ "gid", offsetof(struct pax, gid), false },
	{ "size", offsetof(struct pax, size), false },
	{ "mtime", offsetof(struct pax, mtime), false },
	{ "atime", offsetof(struct pax, atime), false },
	{ "GNU.sparse.major", offsetof(struct pax, sp_major), false },
	{ "GNU.sparse.minor", offsetof(struct pax, sp_minor), false },
	{ "GNU.sparse.name", offsetof(struct pax, sp_name), true },
	{ "GNU.sparse.size", offsetof(struct pax, sp_size), false },
	{ "GNU.sparse.realsize", offsetof(struct pax, sp_realsize), false },
	{ "GNU.sparse.map", offsetof(struct pax, sp_map), false },
};

static bool text_is(struct pax_text t, const char *s)
{
	return t.n == strlen(s) && !memcmp(t.p, s, t.n);
}

bool pax_i64(struct pax_text t, int64_t *out)
{
	int64_t v = 0;
	bool negative = t.n && t.p[0] == '-';
	size_t i = negative || (t.n && t.p[0] == '+');

	if (i == t.n)
		return false;
	for (; i < t.n; i++) {
		int digit = t.p[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, negative ? -digit : digit, &v))
			return false;
	}
	*out = v;
	return true;
}

bool pax_time(struct pax_text t, struct timespec *out)
{
	const char *dot = memchr(t.p, '.', t.n);
	struct pax_text whole = { t.p, dot ? (size_t)(dot - t.p) : t.n };
	int64_t sec;
	long ns = 0;

	if (!pax_i64(whole, &sec))
		return false;
	int digits = 0;

	for (const char *s = dot ? dot + 1 : t.p + t.n; s < t.p + t.n; s++) {
		if (*s < '0' || *s > '9')
			return false;
		if (digits < NS_DIGITS) {
			ns = ns * 10 + (*s - '0');
			digits++;
		}
	}
	for (; digits < NS_DIGITS; digits++)
		ns *= 10;
	if (t.p[0] == '-' && ns) {
		if (sec == INT64_MIN)
			return false;
		sec--;
		ns = 1000000000 - ns;
	}
	*out = (struct timespec){ .tv_sec = sec, .tv_nsec = ns };
	return true;
}

static int add_xattr(struct pax *x, struct pax_text name, struct pax_text value, struct k3_err *e)
{
	size_t i = 0;

	while (i < x->nxattrs &&
	       !(x->xattrs[i].name.n == name.n && !memcmp(x->xattrs[i].name.p, name.p, name.n)))
		i++;
	if (i < x->nxattrs) {
		x->xattr_bytes -= name.n + x->xattrs[i].value.n;
		if (!value.n) {
			x->xattrs[i] = x->xattrs[--x->nxattrs];
			return 0;
		}
	} else {
		if (!value.n)
			return 0;
		if (i == PAX_XATTRS_MAX)
			return k3_fail(e, K3_LIMIT, "more than %d extended attributes",
				       PAX_XATTRS_MAX);
		x->nxattrs++;
	}
	x->xattrs[i] = (struct pax_xattr){ name, value };
	x->xattr_bytes += name.n + value.n;
	return 0;
}

/* GNU 0.0: offset and numbytes records take turns, so their order counts. */
static int add_sparse(struct sparse *s, struct pax_text key, struct pax_text value,
		      struct k3_err *e)
{
	int64_t v;

	if (text_is(key, SPARSE_OFFSET) == s->half || !pax_i64(value, &v) || v < 0)
		return k3_fail(e, K3_FORMAT, "malformed sparse file map");
	return sparse_add_number(s, (uint64_t)v, e);
}

static int add_record(struct pax *x, struct sparse *s, struct pax_text key, struct pax_text value,
		      struct k3_err *e)
{
	size_t prefix = strlen(XATTR_PREFIX);

	if (!key.n || memchr(key.p, 0, key.n))
		return k3_fail(e, K3_FORMAT, "PAX record with an invalid key");
	if (text_is(key, SPARSE_OFFSET) || text_is(key, SPARSE_LENGTH))
		return add_sparse(s, key, value, e);
	if (key.n > prefix && !memcmp(key.p, XATTR_PREFIX, prefix)) {
		struct pax_text name = { key.p + prefix, key.n - prefix };

		return add_xattr(x, name, value, e);
	}
	for (size_t i = 0; i < K3_ARRAY_LEN(known_keys); i++) {
		if (!text_is(key, known_keys[i].key))
			continue;
		if (known_keys[i].text && memchr(value.p, 0, value.n))
			return k3_fail(e, K3_FORMAT, "PAX %s with a NUL in it", known_keys[i].key);
		memcpy((char *)x + known_keys[i].at, &value, sizeof(value));
		break;
	}
	return 0;
}

/* "<length> <key>=<value>\n", the length counting all of it. */
static int next_record(const char **p, size_t *n, struct pax_text *key, struct pax_text *value)
{
	const char *space = memchr(*p, ' ', *n);
	int64_t len;

	if (!space || !pax_i64((struct pax_text){ *p, (size_t)(space - *p) }, &len))
		return -1;
	if (len < 5 || (uint64_t)len > *n || len <= space - *p + 1 || (*p)[len - 1] != '\n')
		return -1;
	const char *end = *p + len - 1, *at = space + 1;
	const char *eq = memchr(at, '=', (size_t)(end - at));

	if (!eq)
		return -1;
	*key = (struct pax_text){ at, (size_t)(eq - at) };
	*value = (struct pax_text){ eq + 1, (size_t)(end - eq - 1) };
	*p += len;
	*n -= (size_t)len;
	return 0;
}

int pax_parse(const char *p, size_t n, struct pax *out, struct sparse *sparse, struct k3_err *e)
{
	memset(out, 0, offsetof(struct pax, xattrs));
	out->nxattrs = out->xattr_bytes = 0;
	while (n) {
		struct pax_text key, value;

		if (next_record(&p, &n, &key, &value))
			return k3_fail(e, K3_FORMAT, "malformed PAX record");
		if (add_record(out, sparse, key, value, e))
			return -1;
	}
	return 0;
}
