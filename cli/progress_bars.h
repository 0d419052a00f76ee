/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress as lines at the end of a terminal that are drawn again and again.  They fit, whatever
 * its size: what does not is folded into one line.  Each drawing is one write that leaves the
 * cursor visible and below the lines, so that the program may end at any moment.
 */
#ifndef K3_CLI_PROGRESS_BARS_H
#define K3_CLI_PROGRESS_BARS_H

#include "cli/progress.h"
#include "cli/progress_state.h"
#include "cli/row.h"
#include "cli/terminal.h"

/* Most bytes of lines above: a path, escaped, has room. */
#define BARS_ABOVE_MAX (64u << 10)

struct bars {
	const struct terminal *terminal;
	struct row_look look;
	struct k3_buf frame;
	struct terminal_size size; /* of the last drawing */
	size_t *widths, nlines;    /* of the lines that are on the screen, in columns */
	unsigned level;            /* how much is folded */
	uint64_t calm_ms;          /* since then less of it would do */
	uint64_t drawn_ms;
	bool lost; /* nobody reads any more */
};

struct bars_view {
	const struct progress_state *state;
	const char *const *names; /* escaped */
	const struct progress_words *words;
	const char *status; /* what is done now, where that is no plan of layers; or NULL */
};

void bars_init(struct bars *b, const struct terminal *t);
void bars_release(struct bars *b);
/* `above`: whole lines that are to stay above, or "". */
void bars_draw(struct bars *b, const struct bars_view *v, const char *above, uint64_t now);
/* Takes them away; keep: a line for each image that is done or failed stays in their place. */
void bars_end(struct bars *b, const struct bars_view *v, const char *above, bool keep,
	      uint64_t now);

#endif
