/* SPDX-License-Identifier: Apache-2.0 */
/* What setup wants to be there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "setup/files.h"

#define SUBNET "10.88.0.0/16"

struct setup_file *setup_plan_add(struct setup_plan *p, char *path)
{
	p->files = k3_xgrow(p->files, p->n, &p->cap, sizeof(*p->files));
	struct setup_file *f = &p->files[p->n++];

	*f = (struct setup_file){ .path = path, .text = K3_BUF(SETUP_FILE_MAX) };
	return f;
}

void setup_plan_release(struct setup_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->files[i].path);
		free(p->files[i].link);
		k3_buf_release(&p->files[i].text);
	}
	free(p->files);
	*p = (struct setup_plan){ 0 };
}

/* Only 1.0.0: every containerd from 1.6 on knows it, and what 1.1.0 adds is not for one node. */
static int add_network(const struct setup_opts *o, struct setup_plan *p, struct k3_err *e)
{
	struct setup_file *f = setup_plan_add(
		p, k3_xasprintf("%s" SETUP_CNI_CONF_DIR "/10-k3simg.conflist", o->prefix));
	K3_AUTO_FREE char *leases = k3_xasprintf("%s" SETUP_LEASES, o->prefix);
	struct k3_jw w = K3_JW(&f->text);

	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "_comment", SETUP_HEADER);
	k3_jw_str(&w, "cniVersion", "1.0.0");
	k3_jw_str(&w, "name", "k3simg");
	k3_jw_arr(&w, "plugins");
	k3_jw_obj(&w, NULL);
	k3_jw_str(&w, "type", "k3simg-cni");
	k3_jw_str(&w, "subnet", SUBNET);
	k3_jw_str(&w, "stateDir", leases);
	k3_jw_close_obj(&w);
	k3_jw_close_arr(&w);
	k3_jw_close_obj(&w);
	return k3_jw_end(&w, e);
}

static void add_link(const struct setup_opts *o, struct setup_plan *p, const char *path, bool spare)
{
	struct setup_file *f = setup_plan_add(p, k3_xasprintf("%s%s", o->prefix, path));

	f->link = k3_xstrdup(o->exe);
	f->spare = spare;
}

static int add_runtime(const struct setup_opts *o, struct setup_plan *p, struct k3_err *e)
{
	add_link(o, p, SETUP_RUNTIME_LINK, false);
	if (!o->runtime)
		return 0;
	struct setup_file *f = setup_plan_add(p, k3_xasprintf("%s" SETUP_RUNTIME_FILE, o->prefix));

	return k3_buf_addf(&f->text, e, "# " SETUP_HEADER "\n%s\n", o->runtime);
}

/* What needs no quoting in TOML, YAML, a template and a line of text. */
static int check_word(const char *what, const char *word, bool path, struct k3_err *e)
{
	if (!word || (path && !*word))
		return 0;
	if (path && word[0] != '/')
		return k3_fail(e, K3_USAGE, "%s has to be an absolute path, not \"%s\"", what,
			       word);
	if (!*word || strlen(word) >= SETUP_PATH_MAX)
		return k3_fail(e, K3_USAGE, "%s is empty, or longer than %d bytes", what,
			       SETUP_PATH_MAX - 1);
	for (const char *c = word; *c; c++)
		if (*c <= ' ' || *c == 0x7f || strchr("'\"\\{}#", *c))
			return k3_fail(e, K3_USAGE,
				       "%s \"%s\" has a character that does not go into a "
				       "configuration",
				       what, word);
	return 0;
}

int setup_plan_make(const struct setup_opts *o, struct setup_plan *out, struct k3_err *e)
{
	if (check_word("the prefix", o->prefix, true, e) ||
	    check_word("the root", o->root, true, e) ||
	    check_word("the path of k3simg", o->exe, true, e) ||
	    check_word("the OCI runtime", o->runtime, false, e) ||
	    check_word("the pause image", o->pause, false, e))
		return -1;
	if (o->target == SETUP_K3S) {
		if (k3s_files(o, out, e))
			return -1;
	} else {
		struct setup_file *f =
			setup_plan_add(out, k3_xasprintf("%s" SETUP_CONFIG_FILE, o->prefix));

		if (containerd_config(o, &f->text, e))
			return -1;
	}
	if (add_network(o, out, e))
		return -1;
	add_link(o, out, SETUP_CNI_BIN_DIR "/k3simg-cni", false);
	/* containerd asks for this plugin by name; the one of the CNI project does the same */
	add_link(o, out, SETUP_CNI_BIN_DIR "/loopback", true);
	return add_runtime(o, out, e);
}
