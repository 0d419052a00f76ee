/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/losses.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/*
 * Text kept for the JSON of a run, some 40,000 losses: an image may have one for each of its
 * files.  What is beyond is counted.
 */
#define TEXT_MAX (4u << 20)

static const char *const policies[] = {
	[PL_LOSS_WARN] = "warn",
	[PL_LOSS_IGNORE] = "ignore",
	[PL_LOSS_FAIL] = "fail",
};

struct image_losses {
	uint64_t count[UNPACK_LOSS_KINDS];
	uint64_t total, kept;
	struct k3_buf text; /* kind, path, NUL, what, NUL, why, NUL for each one kept */
};

struct losses {
	size_t n, bytes;
	struct image_losses images[];
};

void losses_opts(const char **text, struct opt rows[LOSSES_ROWS])
{
	rows[0] = (struct opt){
		"on-loss",
		0,
		OPT_STR,
		"[CLASS=]POLICY,...",
		"what the file system refuses of an image (xattr,\ndevice, owner): warn (default) "
		"and go without it,\nfail the image, or ignore; for all classes or for one",
		text,
	};
	rows[1] = (struct opt){ 0 };
}

static int find(const char *const *names, size_t n, const char *s, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == len && !memcmp(names[i], s, len))
			return (int)i;
	return -1;
}

static int policy_word(const char *word, size_t len, enum pl_on_loss out[UNPACK_LOSS_KINDS],
		       struct k3_err *e)
{
	const char *eq = memchr(word, '=', len);
	size_t skip = eq ? (size_t)(eq - word) + 1 : 0;
	const char *classes[UNPACK_LOSS_KINDS];
	int class = -1;
	int policy = find(policies, K3_ARRAY_LEN(policies), word + skip, len - skip);

	for (int i = 0; i < UNPACK_LOSS_KINDS; i++)
		classes[i] = unpack_loss_name((enum unpack_loss_kind)i);
	if (eq)
		class = find(classes, UNPACK_LOSS_KINDS, word, skip - 1);

	if ((eq && class < 0) || policy < 0) {
		k3_fail(e, K3_USAGE, "--on-loss: \"%.*s\" is no policy", (int)len, word);
		return k3_hint(e, "warn, fail or ignore, or a class with one of them: "
				  "xattr=warn,device=ignore,owner=fail");
	}
	for (int i = 0; i < UNPACK_LOSS_KINDS; i++)
		if (class < 0 || class == i)
			out[i] = (enum pl_on_loss)policy;
	return 0;
}

int losses_policy(const char *text, enum pl_on_loss out[UNPACK_LOSS_KINDS], struct k3_err *e)
{
	for (int i = 0; i < UNPACK_LOSS_KINDS; i++)
		out[i] = PL_LOSS_WARN;
	while (text) {
		size_t n = strcspn(text, ",");

		if (policy_word(text, n, out, e))
			return -1;
		text = text[n] ? text + n + 1 : NULL;
	}
	return 0;
}

struct losses *losses_new(size_t n)
{
	struct losses *l = k3_xcalloc(1, sizeof(*l) + n * sizeof(l->images[0]));

	l->n = n;
	for (size_t i = 0; i < n; i++)
		l->images[i].text = K3_BUF(TEXT_MAX);
	return l;
}

void losses_free(struct losses *l)
{
	for (size_t i = 0; i < l->n; i++)
		k3_buf_release(&l->images[i].text);
	free(l);
}

static void keep(struct losses *l, struct image_losses *im, const struct pl_loss *loss)
{
	const char *why = strerrordesc_np(loss->errnum);
	size_t before = im->text.len;
	uint8_t kind = (uint8_t)loss->kind;
	struct k3_err full;

	why = why ? why : "";
	l->bytes += strlen(loss->path) + strlen(loss->what) + strlen(why) + 4;
	if (l->bytes > TEXT_MAX)
		return;
	if (k3_buf_add(&im->text, &kind, 1, &full) ||
	    k3_buf_add(&im->text, loss->path, strlen(loss->path) + 1, &full) ||
	    k3_buf_add(&im->text, loss->what, strlen(loss->what) + 1, &full) ||
	    k3_buf_add(&im->text, why, strlen(why) + 1, &full))
		im->text.len = before;
	else
		im->kept++;
}

void losses_event(struct losses *l, const struct pl_event *ev)
{
	if (ev->kind != PL_EV_LOSS)
		return;
	struct image_losses *im = &l->images[ev->image];

	im->total++;
	im->count[ev->loss->kind]++;
	keep(l, im, ev->loss);
}

void losses_listen(void *arg, const struct pl_event *ev)
{
	struct listeners *to = arg;

	losses_event(to->losses, ev);
	progress_event(to->progress, ev);
}

void losses_warn(const struct losses *l, size_t image, const char *name, bool told)
{
	const struct image_losses *im = &l->images[image];
	const char *comma = "";

	if (!im->total)
		return;
	fprintf(stderr, "warning: %s: the file system refused", name);
	for (int i = 0; i < UNPACK_LOSS_KINDS; i++) {
		if (!im->count[i])
			continue;
		fprintf(stderr, "%s %llu %s%s", comma, (unsigned long long)im->count[i],
			unpack_loss_name((enum unpack_loss_kind)i), im->count[i] == 1 ? "" : "s");
		comma = ",";
	}
	fprintf(stderr, "%s\n", told ? "" : "; -v lists them, --on-loss decides about them");
}

void losses_json(const struct losses *l, size_t image, struct k3_jw *w)
{
	const struct image_losses *im = &l->images[image];
	const char *p = (const char *)im->text.p;

	k3_jw_u64(w, "losses", im->total);
	k3_jw_arr(w, "lossPaths");
	for (uint64_t i = 0; i < im->kept; i++) {
		k3_jw_obj(w, NULL);
		k3_jw_str(w, "class", unpack_loss_name((enum unpack_loss_kind)(uint8_t)*p++));
		k3_jw_str(w, "path", p);
		p += strlen(p) + 1;
		k3_jw_str(w, "what", p);
		p += strlen(p) + 1;
		k3_jw_str(w, "error", p);
		p += strlen(p) + 1;
		k3_jw_close_obj(w);
	}
	k3_jw_close_arr(w);
	if (im->kept < im->total)
		k3_jw_u64(w, "lossPathsOmitted", im->total - im->kept);
}
