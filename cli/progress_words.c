/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress_words.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

static const struct progress_words all[] = {
	[PROGRESS_PRELOAD] = { "layer", "layers", "reading", "read", "unpacking", "unpacked",
			       "writing to disk" },
	[PROGRESS_FETCH] = { "blob", "blobs", "copying", "copied", "", "", "writing to disk" },
	[PROGRESS_CREATE] = { "layer", "layers", "reading", "read", "measuring", "measured",
			      "writing the bundle" },
	[PROGRESS_APPLY] = { "layer", "layers", "reading", "read", "unpacking", "unpacked",
			     "writing to disk" },
	[PROGRESS_UNPACK] = { "layer", "layers", "reading", "read", "unpacking", "unpacked", "" },
	[PROGRESS_REPAIR] = { "layer", "layers", "reading", "read", "unpacking", "unpacked",
			      "writing to disk" },
};

const struct progress_words *progress_words(enum progress_work work)
{
	return &all[work];
}

const char *words_layer(const struct progress_words *w, const struct layer_progress *l)
{
	bool fetching = (l->needs & PL_NEEDS_BYTES) && l->fetched < l->total;

	if (layer_was_there(l))
		return "present";
	if (l->phase == PL_LAYER_WAITING)
		return "waiting";
	if (l->phase == PL_LAYER_DONE)
		return w->unpacked;
	if (layer_is_done(l) || (l->phase < PL_LAYER_UNPACKING && !fetching))
		return l->local ? w->read : "downloaded";
	/* Unpacking goes on behind the download: that is the one that is waited for. */
	if (fetching)
		return l->local ? w->reading : "downloading";
	return w->unpacking;
}

void words_pair(uint64_t done, uint64_t total, char *out, size_t size)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	double t = (double)total, d = (double)(done < total ? done : total);
	size_t u = 0;

	/* As cli_size() chooses, for both. */
	while (t >= 999.5 && u + 1 < K3_ARRAY_LEN(units)) {
		t /= 1000;
		d /= 1000;
		u++;
	}
	snprintf(out, size, u && t < 99.95 ? "%.1f/%.1f%s" : "%.0f/%.0f%s", d, t, units[u]);
}

void words_rate(const struct flow *f, char *out, size_t size)
{
	cli_size((uint64_t)f->rate, out, size);
	size_t n = strlen(out);

	snprintf(out + n, size - n, "/s");
}

void words_left(double ms, char *out, size_t size)
{
	uint64_t s = (uint64_t)(ms / 1000 + 0.5);

	if (s >= 3600)
		snprintf(out, size, "%lluh%02llum", (unsigned long long)(s / 3600),
			 (unsigned long long)(s / 60 % 60));
	else if (s >= 600)
		snprintf(out, size, "%llum", (unsigned long long)((s + 30) / 60));
	else if (s >= 60)
		snprintf(out, size, "%llum%02llus", (unsigned long long)(s / 60),
			 (unsigned long long)(s / 5 * 5 % 60));
	else
		snprintf(out, size, "%llus", (unsigned long long)(s ? s : 1));
}
