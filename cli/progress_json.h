/* SPDX-License-Identifier: Apache-2.0 */
/* Progress as a stream of JSON objects, one a line: docs/progress.md, docs/schema/. */
#ifndef K3_CLI_PROGRESS_JSON_H
#define K3_CLI_PROGRESS_JSON_H

#include "cli/progress.h"
#include "cli/progress_state.h"

struct json_stream {
	const struct terminal *out;
	const char *command;
	const char *const *names;
	uint64_t wall_ms; /* the wall clock's time when that of the events is 0 */
	uint64_t told_ms; /* when the whole run was told of */
	bool lost;        /* nobody reads any more */
};

void json_start(struct json_stream *s, const struct progress_state *st, uint64_t now);
/* After progress_state_event; before: the layer's phase until then. */
void json_event(struct json_stream *s, struct progress_state *st, const struct pl_event *ev,
		enum pl_phase before, uint64_t now);
/* "status", "warning", "waiting", "retry": an event that is a message; image may be NULL. */
void json_message(struct json_stream *s, const char *type, const char *image, const char *text,
		  uint64_t now);
void json_error(struct json_stream *s, const char *image, const struct k3_err *e, uint64_t now);
void json_summary(struct json_stream *s, struct progress_state *st, int status, uint64_t now);

#endif
