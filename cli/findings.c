/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/findings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

static bool is_warning(const struct pl_finding *f)
{
	return f->kind == IMP_NOTE || f->kind == IMP_LEFTOVER;
}

void findings_print(const struct pl_report *r, bool quiet)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct pl_finding *f = &r->findings[i];
		K3_AUTO_FREE char *image = cli_safe(f->image ? f->image : "store");
		K3_AUTO_FREE char *path = cli_safe(f->path);
		K3_AUTO_FREE char *text = cli_safe(f->text);

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
		K3_AUTO_FREE char *image = f->image ? cli_safe(f->image) : NULL;
		K3_AUTO_FREE char *path = cli_safe(f->path);
		K3_AUTO_FREE char *text = cli_safe(f->text);

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
	K3_AUTO_FREE char *safe = cli_safe(text);

	(void)arg;
	fprintf(stderr, "%s\n", safe);
}
