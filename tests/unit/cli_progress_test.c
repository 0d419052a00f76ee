/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress as people and programs see it, from scripted events and a scripted clock.
 *
 * Screens are compared with tests/golden/progress/; UPDATE=1 writes these.  "--scene NAME" plays
 * one on the terminal and draws it again for each line that it reads: tests/integration/progress.sh
 * compares what tmux shows with the same files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/progress.h"
#include "cli/progress_state.h"
#include "cli/progress_words.h"
#include "cli/row.h"
#include "tests/unit/unit.h"

#define MB 1000000u
#define BOTH (PL_NEEDS_BYTES | PL_NEEDS_UNPACK)
#define IMAGES_MAX 40
#define COLUMNS_MAX 160
#define ROWS_MAX 60
#define GOLDEN "tests/golden/progress/"

static struct k3_err err;

/* ---- a script ------------------------------------------------------------------------------- */

struct play {
	uint64_t now;
	struct progress *p;
	const char *names[IMAGES_MAX];
	char made[IMAGES_MAX][64];
	size_t n;
	enum progress_mode mode;
	enum progress_work work;
	bool verbose;
	struct terminal t;
	struct terminal_size size;
};

static uint64_t play_now(void *arg)
{
	return ((struct play *)arg)->now;
}

static void start(struct play *s)
{
	const struct progress_opts o = {
		.mode = s->mode,
		.work = s->work,
		.verbose = s->verbose,
		.names = s->names,
		.n = s->n,
		.terminal = s->t,
		.now_ms = play_now,
		.arg = s,
		.wall_ms = 1764081661123 - 5000,
	};

	s->now = 5000;
	s->p = progress_new(&o);
}

static void event(struct play *s, struct pl_event ev)
{
	progress_event(s->p, &ev);
}

static void resolved(struct play *s, size_t image, size_t layers, uint64_t bytes)
{
	event(s, (struct pl_event){ .kind = PL_EV_RESOLVED,
				    .image = image,
				    .done = bytes,
				    .total = layers,
				    .digest.hash = { (uint8_t)image } });
}

/* One layer of 10 MB, or of as many as `total` says. */
struct at {
	size_t image, layer;
	uint64_t total;
	unsigned needs;
	bool local, shared;
};

static void layer(struct play *s, struct at at, enum pl_phase phase, uint64_t done)
{
	uint8_t id = (uint8_t)(at.image * 16 + at.layer);

	event(s, (struct pl_event){
			 .kind = PL_EV_LAYER,
			 .image = at.image,
			 .layer = at.layer,
			 .phase = phase,
			 .done = done,
			 .total = at.total,
			 .needs = at.needs,
			 .local = at.local,
			 .shared = at.shared,
			 .digest.hash = { 0xa4, id, 0x96, (uint8_t)(7 * id), 0x3f, 0xe1 } });
}

static void wants(struct play *s, size_t image, size_t i, uint64_t total)
{
	layer(s, (struct at){ image, i, total, BOTH, false, false }, PL_LAYER_WAITING, 0);
}

static void goes(struct play *s, size_t image, size_t i, uint64_t total, uint64_t fetched,
		 uint64_t unpacked)
{
	const struct at at = { image, i, total, BOTH, false, false };

	layer(s, at, PL_LAYER_DOWNLOADING, 0);
	layer(s, at, PL_LAYER_DOWNLOADING, fetched);
	if (fetched == total)
		layer(s, at, PL_LAYER_DOWNLOADED, total);
	if (unpacked)
		layer(s, at, PL_LAYER_UNPACKING, unpacked);
	if (unpacked == total)
		layer(s, at, PL_LAYER_DONE, total);
}

static void whole(struct play *s, size_t image)
{
	event(s, (struct pl_event){ .kind = PL_EV_WHOLE, .image = image });
}

static void fails(struct play *s, size_t image)
{
	struct k3_err why;

	k3_fail(&why, K3_NOTFOUND, "the registry has no such image: HTTP 404, manifest unknown");
	event(s, (struct pl_event){ .kind = PL_EV_FAILED, .image = image, .err = &why });
}

static void planned(struct play *s)
{
	event(s, (struct pl_event){ .kind = PL_EV_PLANNED });
}

/* Time in which nothing is told but that layer 0 of image `image` is where it is. */
static void passes(struct play *s, uint64_t ms)
{
	s->now += ms;
	event(s, (struct pl_event){ .kind = PL_EV_LAYER, .image = 0, .layer = SIZE_MAX });
}

/* ---- scenes --------------------------------------------------------------------------------- */

static void plan_few(struct play *s)
{
	static const char *const names[] = {
		"docker.io/library/busybox:1.36",
		"docker.io/library/nginx:1.27-alpine",
		"docker.io/rancher/mirrored-pause:3.6",
		"ghcr.io/some-organisation/services/an-application-server-with-a-name:v1.24.3",
		"docker.io/library/redis:7",
		"registry.example.org/no/such:1",
	};

	memcpy(s->names, names, sizeof(names));
	s->n = K3_ARRAY_LEN(names);
	start(s);
	for (size_t i = 0; i < 5; i++)
		resolved(s, i,
			 i == 1   ? 7
			 : i == 3 ? 3
				  : 1,
			 i == 1   ? 48 * MB
			 : i == 3 ? 412 * MB
			 : i == 2 ? 298000
				  : 2200000);
	fails(s, 5);
	wants(s, 0, 0, 2200000);
	for (size_t i = 0; i < 7; i++)
		wants(s, 1, i, (i + 1) * 1700000);
	whole(s, 2);
	for (size_t i = 0; i < 3; i++)
		wants(s, 3, i, (i + 1) * 68 * MB);
	wants(s, 4, 0, 2200000);
	planned(s);
}

static void scene_mid(struct play *s)
{
	plan_few(s);
	passes(s, 300);
	goes(s, 0, 0, 2200000, 2200000, 2200000);
	s->now += 500;
	whole(s, 0);
	goes(s, 1, 0, 1700000, 1700000, 1700000);
	goes(s, 1, 1, 3400000, 3400000, 3400000);
	goes(s, 1, 2, 5100000, 5100000, 2 * MB);
	goes(s, 1, 3, 6800000, 6800000, 0);
	goes(s, 1, 4, 8500000, 6100000, 0);
	goes(s, 3, 0, 68 * MB, 41 * MB, 12 * MB);
	goes(s, 3, 1, 136 * MB, 9 * MB, 0);
	passes(s, 1200);
	goes(s, 3, 0, 68 * MB, 59 * MB, 33 * MB);
	goes(s, 3, 1, 136 * MB, 22 * MB, 0);
	passes(s, 1000);
}

/* The same, some time later: everything is there and goes to disk. */
static void scene_commit(struct play *s)
{
	scene_mid(s);
	for (size_t i = 2; i < 7; i++)
		goes(s, 1, i, (i + 1) * 1700000, (i + 1) * 1700000, (i + 1) * 1700000);
	s->now += 2000;
	whole(s, 1);
	for (size_t i = 0; i < 3; i++)
		goes(s, 3, i, (i + 1) * 68 * MB, (i + 1) * 68 * MB, (i + 1) * 68 * MB);
	goes(s, 4, 0, 2200000, 2200000, 2200000);
	whole(s, 4);
	s->now += 7400;
	whole(s, 3);
	event(s, (struct pl_event){ .kind = PL_EV_COMMIT });
	passes(s, 200);
}

static void scene_end(struct play *s)
{
	scene_commit(s);
	progress_end(s->p);
}

static void name_many(struct play *s)
{
	s->n = 20;
	for (size_t i = 0; i < s->n; i++) {
		snprintf(s->made[i], sizeof(s->made[i]),
			 "registry.example.org/shop/service-%02zu:v1", i);
		s->names[i] = s->made[i];
	}
}

/* 20 images of 3 layers: 9 are ready, one has failed, 4 are worked on. */
static void scene_many(struct play *s)
{
	name_many(s);
	start(s);
	for (size_t i = 0; i < s->n; i++)
		if (i != 3)
			resolved(s, i, 3, 60 * MB);
	fails(s, 3);
	for (size_t i = 0; i < s->n; i++)
		for (size_t l = 0; i != 3 && l < 3; l++)
			wants(s, i, l, (l + 1) * 10 * MB);
	planned(s);
	for (size_t i = 0; i < 10; i++) {
		passes(s, 400);
		for (size_t l = 0; i != 3 && l < 3; l++)
			goes(s, i, l, (l + 1) * 10 * MB, (l + 1) * 10 * MB, (l + 1) * 10 * MB);
		if (i != 3)
			whole(s, i);
	}
	for (size_t i = 10; i < 14; i++) {
		goes(s, i, 0, 10 * MB, 10 * MB, 10 * MB);
		goes(s, i, 1, 20 * MB, 20 * MB, (i - 9) * 4 * MB);
		goes(s, i, 2, 30 * MB, (i - 9) * 5 * MB, 0);
	}
	passes(s, 500);
}

static void scene_resolving(struct play *s)
{
	name_many(s);
	start(s);
	for (size_t i = 0; i < 12; i++)
		resolved(s, i, 3, 60 * MB);
	passes(s, 700);
}

/* Names of archives may be anything. */
static void scene_names(struct play *s)
{
	static const char *const names[] = {
		"example.org/\u65e5\u672c\u8a9e\u306e\u540d\u524d/\u753b\u50cf\u30ec\u30b8\u30b9"
		"\u30c8\u30ea\u306e\u9577\u3044\u540d\u524d/\u65e5\u672c\u8a9e\u306e\u540d\u524d:1",
		"example.org/e\u0301a\u0308o\u0302-combined-marks-that-have-no-width-of-their-own-e"
		"\u0301e\u0301:1",
		"example.org/\x1b[31mred\x1b[2J\x07\xff:1",
		"example.org/\u202ereversed\u202c:1",
		"example.org/\U0001f680-rocket:1",
		"x",
	};

	memcpy(s->names, names, sizeof(names));
	s->n = K3_ARRAY_LEN(names);
	start(s);
	for (size_t i = 0; i < s->n; i++) {
		resolved(s, i, 1, 10 * MB);
		wants(s, i, 0, 10 * MB);
	}
	planned(s);
	for (size_t i = 0; i < s->n; i++)
		goes(s, i, 0, 10 * MB, 5 * MB, 0);
	passes(s, 500);
}

/* Everything comes from an archive, and some of it was there. */
static void scene_archive(struct play *s)
{
	const struct at first = { 0, 0, 10 * MB, BOTH, true, false },
			second = { 0, 1, 20 * MB, BOTH, true, false };

	s->names[0] = "docker.io/library/nginx:1.27";
	s->n = 1;
	start(s);
	resolved(s, 0, 3, 40 * MB);
	layer(s, first, PL_LAYER_WAITING, 0);
	layer(s, second, PL_LAYER_WAITING, 0);
	layer(s, (struct at){ 0, 2, 10 * MB, 0, true, false }, PL_LAYER_PRESENT, 0);
	planned(s);
	layer(s, first, PL_LAYER_DOWNLOADING, 10 * MB);
	layer(s, first, PL_LAYER_DOWNLOADED, 10 * MB);
	layer(s, second, PL_LAYER_DOWNLOADING, 0);
	layer(s, second, PL_LAYER_DOWNLOADING, 15 * MB);
	passes(s, 500);
}

static const struct scene {
	const char *name;
	void (*play)(struct play *s);
} scenes[] = {
	{ "mid", scene_mid },         { "commit", scene_commit },       { "end", scene_end },
	{ "many", scene_many },       { "resolving", scene_resolving }, { "names", scene_names },
	{ "archive", scene_archive },
};

static const struct scene *find_scene(const char *name)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(scenes); i++)
		if (!strcmp(scenes[i].name, name))
			return &scenes[i];
	return NULL;
}

/* ---- a terminal ----------------------------------------------------------------------------- */

/* Just what the program uses: it says when something else comes, or does not fit. */
struct screen {
	size_t columns, rows, x, y, scrolled, wrapped, unknown;
	char cell[ROWS_MAX][COLUMNS_MAX][16];
	bool hidden;
	locale_t ctype;
};

static void blank(struct screen *v, size_t y, size_t x)
{
	for (; x < v->columns; x++)
		strcpy(v->cell[y][x], " ");
}

static void newline(struct screen *v)
{
	v->x = 0;
	if (++v->y < v->rows)
		return;
	v->y = v->rows - 1;
	v->scrolled++;
	memmove(v->cell[0], v->cell[1], v->y * sizeof(v->cell[0]));
	blank(v, v->y, 0);
}

/* The sequence behind ESC; returns its length. */
static size_t control(struct screen *v, const char *s)
{
	unsigned n = 1;
	size_t len = strspn(s + 1, "0123456789?;") + 2;
	char end = s[len - 1];

	if (*s != '[') {
		v->unknown++;
		return 1;
	}
	sscanf(s + 1, "%u", &n);
	if (end == 'A')
		v->y -= n < v->y ? n : v->y;
	else if (end == 'K')
		blank(v, v->y, v->x);
	else if (end == 'J')
		for (size_t y = v->y; y < v->rows; y++)
			blank(v, y, y == v->y ? v->x : 0);
	else if (end == 'l' || end == 'h')
		v->hidden = end == 'l';
	else if (end != 'm')
		v->unknown++;
	return len;
}

static size_t show_char(struct screen *v, const char *s)
{
	const struct row_look look = { .ctype = v->ctype };
	uint32_t code;
	size_t len = k3_utf8(s, &code);
	char one[8] = "";

	memcpy(one, s, len ? len : 1);
	size_t wide = row_columns(&look, one);

	if (!len || k3_is_control(code))
		v->unknown++;
	if (v->x + wide > v->columns) {
		v->wrapped++;
		newline(v);
	}
	if (!wide && v->x) {
		char *cell = v->cell[v->y][v->x - 1];
		size_t n = strlen(cell);

		if (n + len < sizeof(v->cell[0][0]))
			memcpy(cell + n, one, len + 1);
		return len;
	}
	for (size_t i = 0; i < wide; i++)
		strcpy(v->cell[v->y][v->x + i], i ? "" : one);
	v->x += wide;
	return len ? len : 1;
}

static void show(struct screen *v, const char *s)
{
	while (*s) {
		if (*s == '\n') {
			newline(v);
			s++;
		} else if (*s == '\r') {
			v->x = 0;
			s++;
		} else if (*s == '\x1b') {
			s++;
			s += control(v, s);
		} else {
			s += show_char(v, s);
		}
	}
}

/* The caller's: lines without blanks at their ends, and no empty ones at the end. */
static char *screen_text(const struct screen *v)
{
	char *out = k3_xcalloc(v->rows * v->columns * 8 + 1, 1);
	size_t end = 0, n = 0;

	for (size_t y = 0; y < v->rows; y++) {
		size_t line = n;

		for (size_t x = 0; x < v->columns; x++) {
			size_t len = strlen(v->cell[y][x]);

			memcpy(out + n, v->cell[y][x], len);
			n += len;
			if (len && strcmp(v->cell[y][x], " ") != 0)
				line = n;
		}
		n = line;
		out[n++] = '\n';
		if (n > 1 && out[n - 2] != '\n')
			end = n;
	}
	out[end] = '\0';
	return out;
}

/* What was written since the last call; the caller's. */
static char *written(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = k3_xcalloc((size_t)size + 1, 1);

	EQ_INT(pread(fd, text, (size_t)size, 0), size);
	EQ_INT(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	return text;
}

static struct screen *new_screen(size_t columns, size_t rows)
{
	struct screen *v = k3_xcalloc(1, sizeof(*v));

	v->columns = columns;
	v->rows = rows;
	v->ctype = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	for (size_t y = 0; y < rows; y++)
		blank(v, y, 0);
	return v;
}

static void free_screen(struct screen *v)
{
	if (v->ctype)
		freelocale(v->ctype);
	free(v);
}

/* Plays a scene on a terminal of that size; its fd is a file. */
static void begin(struct play *s, const char *scene, size_t columns, size_t rows, bool fine,
		  bool colour)
{
	*s = (struct play){ .mode = PROGRESS_BAR,
			    .t = { .fd = memfd_create("screen", 0),
				   .fixed = &s->size,
				   .moves = true,
				   .colour = colour,
				   .unicode = fine },
			    .size = { columns, rows } };
	CHECK(s->t.fd >= 0);
	find_scene(scene)->play(s);
}

static void finish(struct play *s)
{
	progress_free(s->p);
	close(s->t.fd);
}

static void same_as_golden(const char *name, const char *text)
{
	K3_AUTO_FREE char *path = k3_xasprintf(GOLDEN "%s.txt", name);
	K3_AUTO_BUF struct k3_buf want = K3_BUF(1 << 20);
	char piece[4096];
	FILE *f;
	size_t n;

	if (getenv("UPDATE")) {
		f = fopen(path, "w");
		CHECK(f && fputs(text, f) >= 0 && !fclose(f));
		return;
	}
	f = fopen(path, "r");
	CHECK(f != NULL);
	while (f && (n = fread(piece, 1, sizeof(piece), f)) > 0)
		OK(k3_buf_add(&want, piece, n, &err));
	if (f)
		fclose(f);
	if (!want.len || strcmp(text, (char *)want.p) != 0)
		unit_fail(__FILE__, __LINE__, "%s is not what is shown:\n%s", path, text);
}

static void golden(const char *scene, size_t columns, size_t rows, bool fine, bool colour)
{
	K3_AUTO_FREE char *name = k3_xasprintf("%s-%zux%zu%s%s", scene, columns, rows,
					       fine ? "" : "-ascii", colour ? "-colour" : "");
	struct screen *v = new_screen(columns, rows);
	struct play s;

	begin(&s, scene, columns, rows, fine, colour);
	K3_AUTO_FREE char *out = written(s.t.fd);

	show(v, out);
	EQ_INT(v->wrapped, 0);
	EQ_INT(v->unknown, 0);
	CHECK(!v->hidden);
	CHECK(colour == (strstr(out, "\x1b[0m") != NULL));
	K3_AUTO_FREE char *text = screen_text(v);

	if (!colour)
		same_as_golden(name, text);
	free_screen(v);
	finish(&s);
}

TEST(screens_are_as_they_were)
{
	static const size_t sizes[][2] = { { 80, 24 }, { 40, 12 }, { 20, 10 } };

	for (size_t i = 0; i < K3_ARRAY_LEN(sizes); i++)
		for (size_t k = 0; k < K3_ARRAY_LEN(scenes); k++)
			golden(scenes[k].name, sizes[i][0], sizes[i][1], true, false);
	golden("mid", 80, 24, false, false);
	golden("mid", 80, 24, true, true);
	golden("names", 80, 24, false, false);
	golden("mid", 120, 40, true, false);
}

/* Whatever the size: no line wraps, and nothing scrolls away. */
TEST(everything_fits_everywhere)
{
	for (size_t k = 0; k < K3_ARRAY_LEN(scenes); k++) {
		/* Its result is longer than a screen, and stays. */
		if (!strcmp(scenes[k].name, "end"))
			continue;
		for (size_t columns = 2; columns < 130; columns++) {
			size_t rows = 1 + columns % 37;
			struct screen *v = new_screen(columns, rows);
			struct play s;

			begin(&s, scenes[k].name, columns, rows, true, true);
			K3_AUTO_FREE char *out = written(s.t.fd);

			show(v, out);
			if (v->wrapped || v->scrolled || v->unknown || v->hidden)
				unit_fail(__FILE__, __LINE__,
					  "%s at %zux%zu: %zu lines wrapped, %zu "
					  "scrolled, %zu unknown",
					  scenes[k].name, columns, rows, v->wrapped, v->scrolled,
					  v->unknown);
			free_screen(v);
			finish(&s);
		}
	}
}

/* What is shown a second later, as after a resize. */
TEST(drawn_again)
{
	static const size_t sizes[][2] = { { 80, 24 }, { 40, 12 }, { 20, 10 } };

	for (size_t i = 0; i < K3_ARRAY_LEN(sizes); i++) {
		K3_AUTO_FREE char *name = k3_xasprintf("again-%zux%zu", sizes[i][0], sizes[i][1]);
		struct screen *v = new_screen(sizes[i][0], sizes[i][1]);
		struct play s;

		begin(&s, "mid", sizes[i][0], sizes[i][1], true, false);
		passes(&s, 1000);
		K3_AUTO_FREE char *out = written(s.t.fd);

		show(v, out);
		K3_AUTO_FREE char *text = screen_text(v);

		same_as_golden(name, text);
		free_screen(v);
		finish(&s);
	}
}

/* A terminal that changes its size, and does not wrap lines anew. */
TEST(a_resize_leaves_nothing_behind)
{
	static const struct terminal_size sizes[] = {
		{ 80, 24 }, { 61, 24 }, { 40, 12 }, { 40, 24 }
	};
	struct screen *v = new_screen(COLUMNS_MAX, 24);
	struct play s;

	begin(&s, "mid", 100, 24, true, false);
	for (size_t i = 0; i < K3_ARRAY_LEN(sizes); i++) {
		s.size = sizes[i];
		passes(&s, 1000);
	}
	K3_AUTO_FREE char *out = written(s.t.fd);

	show(v, out);
	K3_AUTO_FREE char *text = screen_text(v);

	EQ_INT(v->scrolled, 0);
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
		K3_AUTO_FREE char *one = k3_xstrndup(line, strcspn(line, "\n"));
		const struct row_look look = { .ctype = v->ctype };

		CHECK(row_columns(&look, one) < 40);
	}
	free_screen(v);
	finish(&s);
}

/* Lines above stay whole, and what was drawn goes away. */
TEST(lines_go_above_the_bars)
{
	struct screen *v = new_screen(80, 24);
	struct play s;

	begin(&s, "mid", 80, 24, true, false);
	event(&s, (struct pl_event){ .kind = PL_EV_NOTICE, .text = "few pulls are left\x1b[2J" });
	passes(&s, 100);
	event(&s, (struct pl_event){ .kind = PL_EV_RETRY, .text = "blob: HTTP 503; trying again" });
	passes(&s, 100);
	s.t.results = true;
	progress_end(s.p);
	K3_AUTO_FREE char *out = written(s.t.fd);

	show(v, out);
	K3_AUTO_FREE char *text = screen_text(v);

	HAS_STR(text, "warning: few pulls are left\\x1b[2J\nblob: HTTP 503; trying again\n");
	EQ_INT(v->unknown, 0);
	free_screen(v);
	finish(&s);
}

/* ---- names ---------------------------------------------------------------------------------- */

TEST(names_are_cut_in_the_middle)
{
	static const struct {
		const char *name, *want;
		size_t columns;
	} cases[] = {
		{ "docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27", 28 },
		{ "docker.io/library/nginx:1.27", "docker.\u2026brary/nginx:1.27", 24 },
		{ "docker.io/library/nginx:1.27", "doc\u2026nx:1.27", 11 },
		{ "docker.io/library/nginx:1.27", "d\u20261.27", 6 },
		{ "abc", "abc   ", 6 },
		{ "abc", "a", 1 },
		{ "abc", "", 0 },
		/* A character of two columns is not halved. */
		{ "\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e", "\u65e5\u2026\u65e5\u672c\u8a9e ", 10 },
		{ "\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e", "\u65e5\u2026\u65e5\u672c\u8a9e", 9 },
		/* A mark goes with its letter. */
		{ "abcdefge\u0301\u0301h", "a\u2026e\u0301\u0301h", 4 },
		{ "abcdefge\u0301h", "\u2026h", 2 },
	};
	const struct row_look look = { .ctype = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0) };

	for (size_t i = 0; i < K3_ARRAY_LEN(cases); i++) {
		K3_AUTO_BUF struct k3_buf out = K3_BUF(1000);
		struct row r = { .look = &look, .out = &out, .width = 79 };

		OK(k3_buf_add(&out, "", 0, &err) || k3_buf_reserve(&out, 1, &err));
		row_name(&r, ROW_PLAIN, cases[i].name, cases[i].columns);
		EQ_STR(out.len ? (char *)out.p : "", cases[i].want);
		EQ_INT(r.used, cases[i].columns);
	}
	freelocale(look.ctype);
}

TEST(other_terminals_get_ascii)
{
	const struct row_look look = { 0 };
	K3_AUTO_BUF struct k3_buf out = K3_BUF(1000);
	struct row r = { .look = &look, .out = &out, .width = 20 };

	row_name(&r, ROW_GREEN, "b\u00fccher/\u65e5\u672c:1.27.3-alpine", 16);
	EQ_STR((char *)out.p, "b?ch....3-alpine");
}

/* ---- numbers -------------------------------------------------------------------------------- */

TEST(numbers_are_short)
{
	static const struct {
		uint64_t done, total;
		const char *want;
	} pairs[] = { { 12345678, 45000000, "12.3/45.0MB" },
		      { 0, 999, "0/999B" },
		      { 999499, 999499, "999/999kB" },
		      { 999500, 999500, "1.0/1.0MB" },
		      { 12 * MB, 151 * MB, "12/151MB" },
		      { 5, 4, "4/4B" },
		      { 0, 0, "0/0B" } };
	static const struct {
		double ms;
		const char *want;
	} times[] = { { 0, "1s" },        { 21400, "21s" },    { 59400, "59s" },
		      { 64000, "1m00s" }, { 127000, "2m05s" }, { 601000, "10m" },
		      { 3599000, "60m" }, { 4800000, "1h20m" } };
	char text[24];

	for (size_t i = 0; i < K3_ARRAY_LEN(pairs); i++) {
		words_pair(pairs[i].done, pairs[i].total, text, sizeof(text));
		EQ_STR(text, pairs[i].want);
	}
	for (size_t i = 0; i < K3_ARRAY_LEN(times); i++) {
		words_left(times[i].ms, text, sizeof(text));
		EQ_STR(text, times[i].want);
	}
}

/* ---- the state ------------------------------------------------------------------------------ */

static void tell(struct progress_state *st, uint64_t now, enum pl_phase phase, uint64_t done)
{
	progress_state_event(st,
			     &(struct pl_event){ .kind = PL_EV_LAYER,
						 .phase = phase,
						 .done = done,
						 .total = 100 * MB,
						 .needs = BOTH },
			     now);
}

static void one_layer(struct progress_state *st)
{
	progress_state_init(st, 1, 1000);
	progress_state_event(
		st, &(struct pl_event){ .kind = PL_EV_RESOLVED, .done = 100 * MB, .total = 1 },
		1000);
	tell(st, 1000, PL_LAYER_WAITING, 0);
	progress_state_event(st, &(struct pl_event){ .kind = PL_EV_PLANNED }, 1000);
}

/* A mirror's bytes are wrong at the end: all comes again, from elsewhere. */
TEST(nothing_goes_backwards)
{
	struct progress_state st;
	uint64_t now = 1000, fetched = 0, unpacked = 0;
	unsigned permille = 0;

	one_layer(&st);
	for (int round = 0; round < 3; round++) {
		for (uint64_t done = 0; done <= 90 + (unsigned)round * 5; done += 5) {
			now += 100;
			tell(&st, now, PL_LAYER_DOWNLOADING, done * MB);
			tell(&st, now, PL_LAYER_UNPACKING, done * MB / 2);
			progress_state_look(&st, now);
			CHECK(st.fetch.done >= fetched && st.unpack.done >= unpacked);
			CHECK(st.permille >= permille);
			CHECK(st.fetch.done <= st.fetch.total);
			/* What has to come again is not forgotten. */
			EQ_INT(st.fetch.left, 100 * MB - done * MB);
			fetched = st.fetch.done;
			unpacked = st.unpack.done;
			permille = st.permille;
		}
	}
	tell(&st, now, PL_LAYER_DOWNLOADED, 100 * MB);
	CHECK(layer_is_active(&st.images[0].layers[0]));
	tell(&st, now, PL_LAYER_DONE, 100 * MB);
	CHECK(layer_is_done(&st.images[0].layers[0]));
	progress_state_look(&st, now);
	EQ_INT(st.permille, 1000);
	progress_state_release(&st);
}

TEST(speed_and_time_left_are_steady)
{
	struct progress_state st;
	uint64_t now = 1000, before = 0;

	one_layer(&st);
	/* An earlier run left 20 MB; they did not come in no time. */
	tell(&st, now, PL_LAYER_DOWNLOADING, 20 * MB);
	for (unsigned tick = 1; tick <= 70; tick++) {
		now += 100;
		/* 10 MB a second, in pieces that come as they like */
		if (tick % 3 == 0)
			tell(&st, now, PL_LAYER_DOWNLOADING, (20 + tick) * MB);
		progress_state_look(&st, now);
		if (tick < 20)
			CHECK(!st.has_left);
		if (tick < 30)
			continue;
		CHECK(st.has_left);
		CHECK(st.fetch.rate > 8e6 && st.fetch.rate < 12e6);
		double want = (double)(80 - tick) * 100;

		CHECK(st.left_ms > want - 1500 && st.left_ms < want + 1500);
		/* It counts down, and does not jump. */
		if (before)
			CHECK(st.left_ms < (double)before + 300 &&
			      st.left_ms > (double)before - 600);
		before = (uint64_t)st.left_ms;
	}
	/* Nothing comes any more: nobody knows. */
	for (unsigned tick = 0; tick < 3000; tick++) {
		now += 100;
		progress_state_look(&st, now);
	}
	CHECK(st.fetch.rate < 1000);
	CHECK(!st.has_left);
	progress_state_release(&st);
}

/* ---- lines ---------------------------------------------------------------------------------- */

static size_t count(const char *text, char c)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == c;
	return n;
}

/* Two minutes of a run in a log: a line for each image, and one in ten seconds. */
TEST(logs_are_short)
{
	struct play s = { .mode = PROGRESS_PLAIN, .t.fd = memfd_create("log", 0) };

	name_many(&s);
	start(&s);
	for (size_t i = 0; i < s.n; i++) {
		resolved(&s, i, 3, 60 * MB);
		for (size_t l = 0; l < 3; l++)
			wants(&s, i, l, 20 * MB);
	}
	planned(&s);
	for (size_t i = 0; i < s.n; i++) {
		for (size_t l = 0; l < 3; l++) {
			for (uint64_t done = 0; done < 20; done++) {
				s.now += 100;
				layer(&s, (struct at){ i, l, 20 * MB, BOTH, false, false },
				      PL_LAYER_DOWNLOADING, done * MB);
			}
			goes(&s, i, l, 20 * MB, 20 * MB, 20 * MB);
		}
		whole(&s, i);
	}
	event(&s, (struct pl_event){ .kind = PL_EV_COMMIT });
	progress_end(s.p);
	K3_AUTO_FREE char *out = written(s.t.fd);

	HAS_STR(out, "20 images, 60 layers; 60 to download, 1.2GB\n");
	HAS_STR(out, "\nregistry.example.org/shop/service-07:v1: 3 layers, 60.0MB, downloaded and "
		     "unpacked, 48.0s\n");
	HAS_STR(out, "\nwriting to disk\n");
	CHECK(count(out, '\n') >= 22 && count(out, '\n') <= 22 + 12);
	CHECK(!strchr(out, '\x1b') && !strchr(out, '\r'));
	finish(&s);
}

TEST(a_silent_log_says_how_far_it_is)
{
	struct play s = { .mode = PROGRESS_PLAIN, .t.fd = memfd_create("log", 0) };
	const struct at at = { 0, 0, 100 * MB, BOTH, false, false };

	s.names[0] = "docker.io/library/nginx:1.27";
	s.n = 1;
	start(&s);
	resolved(&s, 0, 1, 100 * MB);
	wants(&s, 0, 0, 100 * MB);
	planned(&s);
	for (uint64_t i = 0; i <= 25; i++) {
		layer(&s, at, PL_LAYER_DOWNLOADING, i * MB);
		s.now += 1000;
	}
	K3_AUTO_FREE char *out = written(s.t.fd);

	EQ_STR(out, "docker.io/library/nginx:1.27: 1 layer; 1 to download, 100MB\n"
		    "docker.io/library/nginx:1.27: 5%, 10/100MB, 1.0MB/s, 1m30s left\n"
		    "docker.io/library/nginx:1.27: 10%, 20/100MB, 1.0MB/s, 1m20s left\n");
	finish(&s);
}

TEST(logs_say_where_it_came_from)
{
	struct play s = { .mode = PROGRESS_PLAIN, .verbose = true, .t.fd = memfd_create("log", 0) };

	scene_archive(&s);
	layer(&s, (struct at){ 0, 1, 20 * MB, BOTH, true, false }, PL_LAYER_DOWNLOADED, 20 * MB);
	for (size_t i = 0; i < 2; i++)
		layer(&s, (struct at){ 0, i, (i + 1) * 10 * MB, BOTH, true, false }, PL_LAYER_DONE,
		      (i + 1) * 10 * MB);
	whole(&s, 0);
	K3_AUTO_FREE char *out = written(s.t.fd);

	EQ_STR(out, "docker.io/library/nginx:1.27: 3 layers; 2 to read, 30.0MB\n"
		    "docker.io/library/nginx:1.27: layer a40096003fe1 read (10.0MB)\n"
		    "docker.io/library/nginx:1.27: layer a40196073fe1 read (20.0MB)\n"
		    "docker.io/library/nginx:1.27: layer a40096003fe1 unpacked (10.0MB)\n"
		    "docker.io/library/nginx:1.27: layer a40196073fe1 unpacked (20.0MB)\n"
		    "docker.io/library/nginx:1.27: 3 layers, 40.0MB, read and unpacked, 500ms\n");
	finish(&s);
}

/* ---- events --------------------------------------------------------------------------------- */

struct seen {
	size_t lines, layers, runs;
	char last[32], phase[32];
	uint64_t fetched;
};

static void see(const char *text, struct seen *seen)
{
	while (*text) {
		K3_AUTO_JSON struct k3_json_doc *doc = NULL;
		size_t n = strcspn(text, "\n");
		uint64_t v = 0;

		OK(k3_json_parse(text, n, &doc, &err));
		const struct k3_json *o = k3_json_root(doc);
		const char *type = k3_json_str(k3_json_get(o, "type"));

		CHECK(k3_json_u64(k3_json_get(o, "schemaVersion"), &v) && v == 1);
		CHECK(type && k3_json_str(k3_json_get(o, "time")));
		if (!type)
			return;
		seen->lines++;
		snprintf(seen->last, sizeof(seen->last), "%s", type);
		seen->runs += !strcmp(type, "progress");
		if (!strcmp(type, "layer")) {
			seen->layers++;
			CHECK(k3_json_u64(k3_json_get(o, "fetchedBytes"), &v));
			CHECK(v >= seen->fetched);
			seen->fetched = v;
			snprintf(seen->phase, sizeof(seen->phase), "%s",
				 k3_json_str(k3_json_get(o, "phase")));
		}
		text += n + 1;
	}
}

TEST(events_are_few_and_end_with_a_summary)
{
	struct play s = { .mode = PROGRESS_JSON, .t.fd = memfd_create("log", 0) };
	const struct at at = { 0, 0, 100 * MB, BOTH, false, false };
	struct seen seen = { 0 };

	s.names[0] = "docker.io/library/\x1b[2J:1";
	s.n = 1;
	start(&s);
	resolved(&s, 0, 1, 100 * MB);
	wants(&s, 0, 0, 100 * MB);
	planned(&s);
	/* ten seconds, 10,000 events, and a mirror in the middle that was wrong */
	for (uint64_t i = 0; i < 10000; i++) {
		s.now++;
		layer(&s, at, PL_LAYER_DOWNLOADING, i % 5000 * 20000);
	}
	layer(&s, at, PL_LAYER_DOWNLOADED, 100 * MB);
	layer(&s, at, PL_LAYER_DONE, 100 * MB);
	whole(&s, 0);
	event(&s, (struct pl_event){ .kind = PL_EV_COMMIT });
	progress_end(s.p);
	EQ_INT(progress_error(s.p, NULL, &(struct k3_err){ .code = K3_NET }), 5);
	EQ_INT(progress_finish(s.p, 5), 5);
	K3_AUTO_FREE char *out = written(s.t.fd);

	HAS_STR(out,
		"{\"schemaVersion\":1,\"type\":\"start\",\"time\":\"2025-11-25T14:41:01.123Z\","
		"\"command\":\"preload\",\"images\":[\"docker.io/library/\\u001b[2J:1\"]}\n");
	see(out, &seen);
	EQ_STR(seen.last, "summary");
	EQ_STR(seen.phase, "done");
	EQ_INT(seen.fetched, 100 * MB);
	CHECK(seen.layers >= 10 && seen.layers <= 14);
	CHECK(seen.runs >= 18 && seen.runs <= 24);
	finish(&s);
}

/* Nobody reads any more, or the disk is full: the run goes on. */
TEST(a_lost_terminal_is_let_go)
{
	static const enum progress_mode modes[] = { PROGRESS_BAR, PROGRESS_PLAIN, PROGRESS_JSON,
						    PROGRESS_NONE };

	for (size_t i = 0; i < K3_ARRAY_LEN(modes); i++) {
		struct play s = { .mode = modes[i],
				  .t = { .fd = open("/dev/full", O_WRONLY), .moves = true } };

		scene_mid(&s);
		progress_end(s.p);
		EQ_INT(progress_finish(s.p, 0), 0);
		finish(&s);
	}
}

TEST(the_option)
{
	enum progress_mode mode;

	OK(progress_choose("plain", false, false, &mode, &err));
	EQ_INT(mode, PROGRESS_PLAIN);
	OK(progress_choose("json", false, false, &mode, &err));
	EQ_INT(mode, PROGRESS_JSON);
	OK(progress_choose("none", true, false, &mode, &err));
	EQ_INT(mode, PROGRESS_NONE);
	OK(progress_choose(NULL, true, false, &mode, &err));
	EQ_INT(mode, PROGRESS_NONE);
	FAILS(progress_choose("json", true, false, &mode, &err), K3_USAGE);
	FAILS(progress_choose("json", false, true, &mode, &err), K3_USAGE);
}

/* ---- for tmux ------------------------------------------------------------------------------- */

static int play_scene(const char *name)
{
	struct play s = { .mode = PROGRESS_BAR, .t = terminal_stderr() };
	const struct scene *scene = find_scene(name);
	char line[16];

	if (!scene)
		return 2;
	/* As where results are not seen. */
	s.t.results = false;
	if (!s.t.moves)
		s.mode = PROGRESS_PLAIN;
	scene->play(&s);
	while (fgets(line, sizeof(line), stdin))
		passes(&s, 1000);
	progress_free(s.p);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--scene"))
		return play_scene(argv[2]);
	return unit_main(argc, argv);
}
