/* SPDX-License-Identifier: Apache-2.0 */
/* What a config says of the process: entrypoint, command, PATH, user, working directory. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "oci/json.h"

#define WHERE "config"

static int read_words(const struct k3_json *obj, const char *key, struct oci_words *out,
		      struct k3_err *e)
{
	const struct k3_json *list;

	/* An absent list is as good as an empty one. */
	if (!oci_json_member(obj, key))
		return 0;
	if (oci_json_arr(obj, WHERE, key, &list, e))
		return -1;
	out->v = k3_xcalloc(k3_json_len(list), sizeof(char *));
	for (size_t i = 0; i < k3_json_len(list); i++) {
		const char *word = k3_json_str(k3_json_at(list, i));

		if (!word)
			return k3_fail(e, K3_FORMAT, WHERE ".%s[%zu] is not a string", key, i);
		out->v[out->n++] = k3_xstrdup(word);
	}
	return 0;
}

static int read_text(const struct k3_json *obj, const char *key, char **out, struct k3_err *e)
{
	const char *text;

	if (oci_json_str(obj, WHERE, key, &text, e))
		return -1;
	*out = k3_xstrdup(text ? text : "");
	return 0;
}

static void release_words(struct oci_words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
}

static int read_path(const struct k3_json *obj, struct oci_process *out, struct k3_err *e)
{
	struct oci_words env = { 0 };
	int rc = read_words(obj, "Env", &env, e);

	for (size_t i = 0; i < env.n; i++) {
		if (strncmp(env.v[i], "PATH=", 5) != 0)
			continue;
		free(out->path);
		out->path = k3_xstrdup(env.v[i] + 5);
	}
	release_words(&env);
	return rc;
}

int oci_process_parse(const void *config, size_t n, struct oci_process *out, struct k3_err *e)
{
	K3_AUTO_JSON struct k3_json_doc *doc = NULL;
	const struct k3_json *obj;

	*out = (struct oci_process){ 0 };
	if (oci_json_open(config, n, &doc, e) ||
	    oci_json_obj(k3_json_root(doc), "", WHERE, &obj, e) ||
	    read_words(obj, "Entrypoint", &out->entrypoint, e) ||
	    read_words(obj, "Cmd", &out->command, e) || read_path(obj, out, e) ||
	    read_text(obj, "User", &out->user, e) ||
	    read_text(obj, "WorkingDir", &out->workdir, e)) {
		oci_process_release(out);
		return k3_wrap(e, "config");
	}
	return 0;
}

void oci_process_release(struct oci_process *p)
{
	release_words(&p->entrypoint);
	release_words(&p->command);
	free(p->path);
	free(p->user);
	free(p->workdir);
	*p = (struct oci_process){ 0 };
}
