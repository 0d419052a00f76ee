/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/findings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

/* Bytes of the UTF-8 sequence at p, 0 when it is none. */
static size_t utf8_length(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (p[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what is above U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* Names in a store are any bytes: control characters and what is no UTF-8 become \xNN. */
static char *safe_text(const char *s)
{
	size_t size = 4 * strlen(s) + 1, n = 0;
	K3_AUTO_FREE char *utf8 = k3_xcalloc(1, size);
	char *out = k3_xcalloc(1, size);

	for (const unsigned char *p = (const unsigned char *)s; *p;) {
		size_t len = utf8_length(p);

		if (!len) {
			n += (size_t)snprintf(utf8 + n, size - n, "\\x%02x", *p++);
			continue;
		}
		memcpy(utf8 + n, p, len);
		n += len;
		p += len;
	}
	k3_escape(out, size, utf8);
	return out;
}

static bool is_warning(const struct pl_finding *f)
{
	return f->kind == IMP_NOTE || f->kind == IMP_LEFTOVER;
}

void findings_print(const struct pl_report *r, bool quiet)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct pl_finding *f = &r->findings[i];
		K3_AUTO_FREE char *image = safe_text(f->image ? f->image : "store");
		K3_AUTO_FREE char *path = safe_text(f->path);
		K3_AUTO_FREE char *text = safe_text(f->text);

		if (!is_warning(f))
			printf("%s: %s: %s\n", image, path, text);
		else if (!quiet)
			fprintf(stderr, "%s: %s: %s: %s\n", imp_trouble_name(f->kind), image, path,
				text);
	}
}

void findings_json(struct k3_jw *w, const char *key, const struct pl_report *r)
{
	k3_jw_arr(w, key);
	for (size_t i = 0; i < r->n; i++) {
		const struct pl_finding *f = &r->findings[i];
		K3_AUTO_FREE char *image = f->image ? safe_text(f->image) : NULL;
		K3_AUTO_FREE char *path = safe_text(f->path);
		K3_AUTO_FREE char *text = safe_text(f->text);

		k3_jw_obj(w, NULL);
		k3_jw_str(w, "image", image);
		k3_jw_str(w, "kind", imp_trouble_name(f->kind));
		k3_jw_str(w, "path", path);
		k3_jw_str(w, "message", text);
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
}

size_t findings_count(const struct pl_report *r, enum imp_trouble kind)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->findings[i].kind == kind;
	return n;
}

void findings_progress(void *arg, const char *text)
{
	K3_AUTO_FREE char *safe = safe_text(text);

	(void)arg;
	fprintf(stderr, "%s\n", safe);
}
