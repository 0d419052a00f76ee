/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: any bytes end, and what is handed out is text with a line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kube/kube.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int image(void *arg, const char *text, unsigned line, struct k3_err *e)
{
	(void)arg;
	(void)e;
	if (!*text || !line)
		abort();
	return 0;
}

static void note(void *arg, const struct kube_note *n)
{
	(void)arg;
	if (!n->line || !n->what || !n->name || !n->group)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct kube_visitor v = { .image = image, .note = note };
	struct k3_err err = { 0 };

	if (kube_images(data, size, &v, &err) && (!err.code || !err.msg[0]))
		abort();
	return 0;
}
