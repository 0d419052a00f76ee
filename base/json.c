/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* struct k3_json and struct k3_json_doc are jansson's json_t under our own names. */
static const json_t *raw(const struct k3_json *v)
{
	return (const json_t *)(const void *)v;
}

static const struct k3_json *view(const json_t *v)
{
	return (const struct k3_json *)(const void *)v;
}

/*
 * jansson recurses per level and needs up to 300 bytes per value: a hostile document of a few
 * MiB would take the stack of a thread or hundreds of MiB.  So count before parsing; on text
 * that is no JSON the counts mean nothing and jansson says what is wrong.
 */
static int check_shape(const char *p, size_t n, struct k3_err *e)
{
	size_t values = 1, depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '"')
			in_string = !in_string;
		else if (in_string)
			i += p[i] == '\\';
		else if (p[i] == '{' || p[i] == '[')
			depth++, values++;
		else if ((p[i] == '}' || p[i] == ']') && depth)
			depth--;
		else if (p[i] == ',')
			values++;
		if (depth > K3_JSON_DEPTH_MAX)
			return k3_fail(e, K3_LIMIT,
				       "JSON nested deeper than the limit of %d levels",
				       K3_JSON_DEPTH_MAX);
		if (values > K3_JSON_VALUES_MAX)
			return k3_fail(e, K3_LIMIT, "JSON with more than the limit of %d values",
				       K3_JSON_VALUES_MAX);
	}
	return 0;
}

int k3_json_parse(const void *text, size_t n, struct k3_json_doc **out, struct k3_err *e)
{
	json_error_t err;
	const char *nul = n ? memchr(text, '\0', n) : NULL;

	/* jansson reads numbers as C strings and overlooks one behind them */
	if (nul)
		return k3_fail(e, K3_FORMAT, "not valid JSON: a NUL at byte %zu",
			       (size_t)(nul - (const char *)text));
	if (check_shape(text, n, e))
		return -1;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &err);

	if (!root)
		return k3_fail(e, K3_FORMAT, "not valid JSON: %s at line %d, column %d", err.text,
			       err.line, err.column);
	*out = (struct k3_json_doc *)(void *)root;
	return 0;
}

void k3_json_free(struct k3_json_doc *doc)
{
	json_decref((json_t *)(void *)doc);
}

void k3_json_freep(struct k3_json_doc **doc)
{
	k3_json_free(*doc);
	*doc = NULL;
}

const struct k3_json *k3_json_root(const struct k3_json_doc *doc)
{
	return (const struct k3_json *)(const void *)doc;
}

const struct k3_json *k3_json_get(const struct k3_json *obj, const char *key)
{
	return view(json_object_get(raw(obj), key));
}

const struct k3_json *k3_json_at(const struct k3_json *arr, size_t i)
{
	return view(json_array_get(raw(arr), i));
}

size_t k3_json_len(const struct k3_json *arr)
{
	return json_array_size(raw(arr));
}

bool k3_json_is_obj(const struct k3_json *v)
{
	return json_is_object(raw(v));
}

bool k3_json_is_arr(const struct k3_json *v)
{
	return json_is_array(raw(v));
}

bool k3_json_is_null(const struct k3_json *v)
{
	return json_is_null(raw(v));
}

const char *k3_json_str(const struct k3_json *v)
{
	return json_string_value(raw(v));
}

bool k3_json_u64(const struct k3_json *v, uint64_t *out)
{
	if (!json_is_integer(raw(v)) || json_integer_value(raw(v)) < 0)
		return false;
	*out = (uint64_t)json_integer_value(raw(v));
	return true;
}

bool k3_json_true(const struct k3_json *v)
{
	return json_is_true(raw(v));
}

void k3_json_each(const struct k3_json *obj, k3_json_member_fn *fn, void *arg)
{
	/* jansson's iterator takes a mutable object but changes nothing in it. */
	json_t *o = (json_t *)(uintptr_t)raw(obj);

	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it))
		if (!fn(arg, json_object_iter_key(it), view(json_object_iter_value(it))))
			return;
}

static void put(struct k3_jw *w, const char *s, size_t n)
{
	if (!w->failed && k3_buf_add(w->out, s, n, &w->err))
		w->failed = true;
}

/* What is no UTF-8 becomes U+FFFD: a document that is not all text is none. */
static void put_str(struct k3_jw *w, const char *s)
{
	put(w, "\"", 1);
	while (*s) {
		uint32_t code = 0xfffd;
		char esc[8];
		size_t len = k3_utf8(s, &code);

		if (len && !k3_is_control(code) && code != '"' && code != '\\') {
			put(w, s, len);
		} else {
			int n = snprintf(esc, sizeof(esc),
					 code == '"' || code == '\\' ? "\\%c" : "\\u%04x", code);

			put(w, esc, (size_t)n);
		}
		s += len ? len : 1;
	}
	put(w, "\"", 1);
}

static void newline(struct k3_jw *w)
{
	if (w->one_line)
		return;
	put(w, "\n", 1);
	for (unsigned i = 0; i < w->depth; i++)
		put(w, "  ", 2);
}

static void member(struct k3_jw *w, const char *key)
{
	if (w->need_comma)
		put(w, ",", 1);
	if (w->depth)
		newline(w);
	if (key) {
		put_str(w, key);
		put(w, ": ", w->one_line ? 1 : 2);
	}
	w->need_comma = true;
}

static void open_with(struct k3_jw *w, const char *key, const char *bracket)
{
	member(w, key);
	put(w, bracket, 1);
	w->depth++;
	w->need_comma = false;
}

static void close_with(struct k3_jw *w, const char *bracket)
{
	bool empty = !w->need_comma;

	w->depth--;
	if (!empty)
		newline(w);
	put(w, bracket, 1);
	w->need_comma = true;
}

void k3_jw_obj(struct k3_jw *w, const char *key)
{
	open_with(w, key, "{");
}

void k3_jw_arr(struct k3_jw *w, const char *key)
{
	open_with(w, key, "[");
}

void k3_jw_close_obj(struct k3_jw *w)
{
	close_with(w, "}");
}

void k3_jw_close_arr(struct k3_jw *w)
{
	close_with(w, "]");
}

void k3_jw_str(struct k3_jw *w, const char *key, const char *value)
{
	member(w, key);
	if (value)
		put_str(w, value);
	else
		put(w, "null", 4);
}

void k3_jw_u64(struct k3_jw *w, const char *key, uint64_t value)
{
	char num[24];
	int n = snprintf(num, sizeof(num), "%" PRIu64, value);

	member(w, key);
	put(w, num, (size_t)n);
}

void k3_jw_bool(struct k3_jw *w, const char *key, bool value)
{
	member(w, key);
	put(w, value ? "true" : "false", value ? 4 : 5);
}

static void put_number(struct k3_jw *w, const char *key, const json_t *v)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY);

	member(w, key);
	if (text)
		put(w, text, strlen(text));
	else if (!w->failed)
		w->failed = k3_fail(&w->err, K3_NOMEM, "out of memory for JSON");
	free(text);
}

static bool put_member(void *arg, const char *key, const struct k3_json *v)
{
	k3_jw_value(arg, key, v);
	return true;
}

/* Recursion is bounded by K3_JSON_DEPTH_MAX. */
void k3_jw_value(struct k3_jw *w, const char *key, const struct k3_json *value)
{
	switch (json_typeof(raw(value))) {
	case JSON_OBJECT:
		k3_jw_obj(w, key);
		k3_json_each(value, put_member, w);
		k3_jw_close_obj(w);
		break;
	case JSON_ARRAY:
		k3_jw_arr(w, key);
		for (size_t i = 0; i < k3_json_len(value); i++)
			k3_jw_value(w, NULL, k3_json_at(value, i));
		k3_jw_close_arr(w);
		break;
	case JSON_STRING:
		k3_jw_str(w, key, k3_json_str(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		k3_jw_bool(w, key, k3_json_true(value));
		break;
	case JSON_NULL:
		k3_jw_str(w, key, NULL);
		break;
	default:
		put_number(w, key, raw(value));
		break;
	}
}

int k3_jw_end(struct k3_jw *w, struct k3_err *e)
{
	put(w, "\n", 1);
	if (w->failed) {
		*e = w->err;
		return -1;
	}
	return 0;
}
