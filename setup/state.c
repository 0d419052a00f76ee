/* SPDX-License-Identifier: Apache-2.0 */
#include "setup/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

#define STATE_SCHEMA 1u

void state_release(struct state *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->entries[i].path);
	for (size_t i = 0; i < s->ndirs; i++)
		free(s->dirs[i]);
	free(s->entries);
	free(s->dirs);
	*s = (struct state){ 0 };
}

struct state_entry *state_find(const struct state *s, const char *path)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->entries[i].path, path))
			return &s->entries[i];
	return NULL;
}

struct state_entry *state_add(struct state *s, const char *path)
{
	s->entries = k3_xgrow(s->entries, s->n, &s->cap, sizeof(*s->entries));
	struct state_entry *entry = &s->entries[s->n++];

	*entry = (struct state_entry){ .path = k3_xstrdup(path) };
	return entry;
}

void state_remove(struct state *s, struct state_entry *entry)
{
	size_t at = (size_t)(entry - s->entries);

	free(entry->path);
	memmove(entry, entry + 1, (--s->n - at) * sizeof(*entry));
}

void state_add_dir(struct state *s, char *dir)
{
	s->dirs = k3_xgrow(s->dirs, s->ndirs, &s->dirs_cap, sizeof(*s->dirs));
	s->dirs[s->ndirs++] = dir;
}

void state_digest(bool link, const void *p, size_t n, char out[STATE_DIGEST_MAX])
{
	uint8_t sum[K3_HASH_MAX];
	char hex[2 * K3_HASH_MAX + 1];

	k3_hash_once(K3_SHA256, n ? p : "", n, sum);
	k3_hex(sum, k3_hash_len(K3_SHA256), hex);
	snprintf(out, STATE_DIGEST_MAX, "%s:%.64s", link ? "link" : "sha256", hex);
}

void state_digest_of(const struct setup_file *f, char out[STATE_DIGEST_MAX])
{
	if (f->link)
		state_digest(true, f->link, strlen(f->link), out);
	else
		state_digest(false, f->text.p, f->text.len, out);
}

static int damaged(const char *path, struct k3_err *e)
{
	k3_fail(e, K3_FORMAT, "%s is damaged, or of another version", path);
	return k3_hint(e, "remove it, and look for *" SETUP_BACKUP " by hand");
}

static int take_entries(const struct k3_json *list, struct state *out)
{
	for (size_t i = 0; i < k3_json_len(list); i++) {
		const struct k3_json *v = k3_json_at(list, i);
		const char *path = k3_json_str(k3_json_get(v, "path"));
		const char *digest = k3_json_str(k3_json_get(v, "digest"));

		if (!path || path[0] != '/' || !digest || strlen(digest) >= STATE_DIGEST_MAX)
			return -1;
		struct state_entry *entry = state_add(out, path);

		snprintf(entry->digest, sizeof(entry->digest), "%s", digest);
		entry->backup = k3_json_true(k3_json_get(v, "backup"));
	}
	return 0;
}

static int take_dirs(const struct k3_json *list, struct state *out)
{
	for (size_t i = 0; i < k3_json_len(list); i++) {
		const char *dir = k3_json_str(k3_json_at(list, i));

		if (!dir || dir[0] != '/')
			return -1;
		state_add_dir(out, k3_xstrdup(dir));
	}
	return 0;
}

int state_read(const char *prefix, struct state *out, struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s" SETUP_STATE_FILE, prefix);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(SETUP_FILE_MAX);
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	uint64_t schema;

	*out = (struct state){ 0 };
	if (k3_read_file(AT_FDCWD, path, &text, e))
		return e->code == K3_NOTFOUND ? 0 : -1;
	if (k3_json_parse(text.p, text.len, &doc, e))
		return damaged(path, e);
	const struct k3_json *root = k3_json_root(doc);

	if (!k3_json_u64(k3_json_get(root, "schemaVersion"), &schema) || schema != STATE_SCHEMA ||
	    take_entries(k3_json_get(root, "files"), out) ||
	    take_dirs(k3_json_get(root, "directories"), out)) {
		state_release(out);
		return damaged(path, e);
	}
	out->there = true;
	return 0;
}

int state_write(const char *prefix, const struct state *s, struct k3_err *e)
{
	K3_AUTO_FREE char *path = k3_xasprintf("%s" SETUP_STATE_FILE, prefix);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(SETUP_FILE_MAX);
	struct k3_jw w = K3_JW(&text);

	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "_comment", SETUP_HEADER);
	k3_jw_u64(&w, "schemaVersion", STATE_SCHEMA);
	k3_jw_arr(&w, "files");
	for (size_t i = 0; i < s->n; i++) {
		k3_jw_obj(&w, NULL);
		k3_jw_str(&w, "path", s->entries[i].path);
		k3_jw_str(&w, "digest", s->entries[i].digest);
		k3_jw_bool(&w, "backup", s->entries[i].backup);
		k3_jw_close_obj(&w);
	}
	k3_jw_close_arr(&w);
	k3_jw_arr(&w, "directories");
	for (size_t i = 0; i < s->ndirs; i++)
		k3_jw_str(&w, NULL, s->dirs[i]);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	if (k3_jw_end(&w, e))
		return -1;
	return file_replace(path, text.p, text.len, 0644, e);
}
