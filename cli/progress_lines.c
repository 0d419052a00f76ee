/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress_lines.h"

#include "base/mem.h"
#include "cli/cli.h"

/* A log in which nothing happens for so long looks as if the run hung. */
#define QUIET_MS 10000u

/* What was done for an image. */
struct deeds {
	bool read, downloaded, unpacked;
};

static struct deeds deeds_of(const struct image_progress *im)
{
	struct deeds d = { 0 };

	for (size_t i = 0; i < im->nlayers; i++) {
		const struct layer_progress *l = &im->layers[i];
		bool came = (l->needs & PL_NEEDS_BYTES) && !layer_was_there(l);

		d.read |= came && l->local;
		d.downloaded |= came && !l->local;
		d.unpacked |= l->phase == PL_LAYER_DONE && (l->needs & PL_NEEDS_UNPACK);
	}
	return d;
}

/* "7 layers" */
static char *parts(const struct lines *l, size_t n)
{
	return k3_xasprintf("%zu %s", n, n == 1 ? l->words->part : l->words->parts);
}

static char *image_line(const struct lines *l, const struct progress_state *st, size_t i)
{
	const struct image_progress *im = &st->images[i];
	const struct deeds d = deeds_of(im);
	K3_AUTO_FREE char *layers = parts(l, im->nlayers);
	char size[16], time[16];

	cli_size(im->bytes, size, sizeof(size));
	cli_duration(im->end_ms - st->start_ms, time, sizeof(time));
	if (!d.read && !d.downloaded && !d.unpacked)
		return k3_xasprintf("%s: %s, %s, present", l->names[i], layers, size);
	return k3_xasprintf("%s: %s, %s, %s%s%s%s%s, %s", l->names[i], layers, size,
			    d.read ? l->words->read : "", d.read && d.downloaded ? ", " : "",
			    d.downloaded ? "downloaded" : "",
			    (d.read || d.downloaded) && d.unpacked ? " and " : "",
			    d.unpacked ? l->words->unpacked : "", time);
}

/* What there is to do, once that is known. */
static char *plan_line(const struct lines *l, struct progress_state *st, uint64_t now)
{
	size_t layers = 0, wanted = 0, unpack = 0;
	char size[16];

	progress_state_look(st, now);
	for (size_t i = 0; i < st->n; i++) {
		const struct image_progress *im = &st->images[i];

		layers += im->nlayers;
		for (size_t k = 0; k < im->nlayers; k++) {
			wanted += !im->layers[k].shared && (im->layers[k].needs & PL_NEEDS_BYTES);
			unpack += !im->layers[k].shared && im->layers[k].needs == PL_NEEDS_UNPACK;
		}
	}
	/* Of a run that has nothing to do the images tell. */
	if (!wanted && !unpack)
		return NULL;
	K3_AUTO_FREE char *all = parts(l, layers);
	K3_AUTO_FREE char *head = st->n == 1 ? k3_xasprintf("%s: %s", l->names[0], all)
					     : k3_xasprintf("%zu images, %s", st->n, all);

	if (!wanted)
		return k3_xasprintf("%s; %zu to unpack", head, unpack);
	cli_size(st->fetch.total - st->fetch.done, size, sizeof(size));
	return k3_xasprintf("%s; %zu to %s, %s", head, wanted, st->local ? "read" : "download",
			    size);
}

static char *still_line(const struct lines *l, struct progress_state *st, uint64_t now)
{
	const struct flow *f = st->fetch.total ? &st->fetch : &st->unpack;
	char pair[24], rate[32] = "", left[24] = "";

	progress_state_look(st, now);
	words_pair(f->done, f->total, pair, sizeof(pair));
	if (st->fetch.left && st->fetch.begin_ms)
		words_rate(&st->fetch, rate, sizeof(rate));
	if (st->has_left)
		words_left(st->left_ms, left, sizeof(left));
	K3_AUTO_FREE char *head = st->n == 1
					  ? k3_xasprintf("%s: ", l->names[0])
					  : k3_xasprintf("%zu of %zu images, ", st->whole, st->n);

	return k3_xasprintf("%s%u%%, %s%s%s%s%s%s", head, st->permille / 10, pair,
			    *rate ? ", " : "", rate, *left ? ", " : "", left, *left ? " left" : "");
}

static char *layer_line(const struct lines *l, const struct progress_state *st,
			const struct pl_event *ev, enum pl_phase before)
{
	const struct layer_progress *layer = &st->images[ev->image].layers[ev->layer];
	char hex[2 * 6 + 1], size[16];
	bool came = ev->phase == PL_LAYER_DOWNLOADED;
	bool done = ev->phase == PL_LAYER_DONE && layer->phase != before;

	if (!l->verbose || ev->shared || (!came && !done))
		return NULL;
	k3_hex(layer->digest.hash, 6, hex);
	cli_size(layer->total, size, sizeof(size));
	return k3_xasprintf("%s: %s %s %s (%s)", l->names[ev->image], l->words->part, hex,
			    layer_was_there(layer)       ? "present"
			    : ev->phase == PL_LAYER_DONE ? l->words->unpacked
			    : layer->local               ? l->words->read
							 : "downloaded",
			    size);
}

static char *commit_line(struct lines *l, const struct progress_state *st,
			 const struct pl_event *ev)
{
	char pair[24];

	if (!ev->done || !st->write_total)
		return l->committing ? NULL : k3_xasprintf("%s", l->words->committing);
	words_pair(ev->done, ev->total, pair, sizeof(pair));
	return k3_xasprintf("%s, %s", l->words->committing, pair);
}

char *lines_event(struct lines *l, struct progress_state *st, const struct pl_event *ev,
		  enum pl_phase before, uint64_t now)
{
	bool quiet = now - l->told_ms >= QUIET_MS;
	char *text = NULL;

	switch (ev->kind) {
	case PL_EV_PLANNED:
		text = plan_line(l, st, now);
		break;
	case PL_EV_WHOLE:
		text = image_line(l, st, ev->image);
		break;
	case PL_EV_LAYER:
		if (ev->layer < st->images[ev->image].nlayers)
			text = layer_line(l, st, ev, before);
		if (!text && quiet && st->planned)
			text = still_line(l, st, now);
		break;
	case PL_EV_WAITING:
		text = k3_xasprintf("waiting for another k3simg that works on this root");
		break;
	case PL_EV_COMMIT:
		if (!l->committing || quiet)
			text = commit_line(l, st, ev);
		l->committing = true;
		break;
	case PL_EV_RESOLVED:
	case PL_EV_FAILED:
	case PL_EV_RETRY:
	case PL_EV_NOTICE:
	case PL_EV_LOSS:
		break;
	}
	if (text)
		l->told_ms = now;
	return text;
}
