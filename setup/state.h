/* SPDX-License-Identifier: Apache-2.0 */
/* What setup wrote, kept in PREFIX/var/lib/k3simg/setup.json. */
#ifndef K3_SETUP_STATE_H
#define K3_SETUP_STATE_H

#include "setup/files.h"

#define STATE_DIGEST_MAX 80 /* "sha256:" and 64 digits, or "link:" and the same of its target */

struct state_entry {
	char *path;
	char digest[STATE_DIGEST_MAX];
	bool backup; /* what was there is in PATH.k3simg-backup */
};

struct state {
	struct state_entry *entries;
	size_t n, cap;
	char **dirs; /* made by setup, outermost first */
	size_t ndirs, dirs_cap;
	bool there; /* was read from a file */
};

void state_release(struct state *s);
/* No file: an empty one.  K3_FORMAT when it is damaged. */
K3_MUST int state_read(const char *prefix, struct state *out, struct k3_err *e);
/* Its directory is there. */
K3_MUST int state_write(const char *prefix, const struct state *s, struct k3_err *e);
struct state_entry *state_find(const struct state *s, const char *path);
struct state_entry *state_add(struct state *s, const char *path);
void state_remove(struct state *s, struct state_entry *entry);
void state_add_dir(struct state *s, char *dir);

void state_digest(bool link, const void *p, size_t n, char out[STATE_DIGEST_MAX]);
void state_digest_of(const struct setup_file *f, char out[STATE_DIGEST_MAX]);

#endif
