/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: any bytes end, and what is handed out is text with a line, or counted. */
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

static void texts(const struct kube_words *w, size_t max)
{
	if (w->n > max || (w->n && !w->set))
		abort();
	for (size_t i = 0; i < w->n; i++)
		if (!w->v[i].s || !w->v[i].line)
			abort();
}

static int container(void *arg, const struct kube_container *c, struct k3_err *e)
{
	(void)arg;
	(void)e;
	if (!c->image.s || !*c->image.s || !c->image.line || !c->name || !c->kind || !c->object)
		abort();
	texts(&c->command, KUBE_WORDS_MAX);
	texts(&c->args, KUBE_WORDS_MAX);
	texts(&c->mounts, KUBE_MOUNTS_MAX);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct kube_visitor v = { .image = image, .note = note, .container = container };
	struct k3_err err = { 0 };

	if (kube_images(data, size, &v, &err) && (!err.code || !err.msg[0]))
		abort();
	return 0;
}
