/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/times.h"

#include <string.h>

/*
 * Record: this header, then the bytes of the name that differ from the name before it.
 * About 35 bytes per directory of a real image, because neighbours share their parents.
 */
struct record {
	time_t sec;
	time_t asec;
	unsigned nsec, ansec;
	unsigned short same, more; /* bytes kept of the last name, bytes that follow */
	unsigned char doubtful;
} __attribute__((packed));

/* Some 700,000 directories in one layer. */
#define LOG_MAX (32u << 20)

void times_init(struct times *t, size_t path_max)
{
	*t = (struct times){ .log = K3_BUF(LOG_MAX), .last = K3_BUF(path_max) };
}

void times_release(struct times *t)
{
	k3_buf_release(&t->log);
	k3_buf_release(&t->last);
}

int times_add(struct times *t, const struct times_item *item, struct k3_err *e)
{
	size_t n = strlen(item->name), same = 0;

	while (same < n && same < t->last.len && same < UINT16_MAX &&
	       (char)t->last.p[same] == item->name[same])
		same++;
	struct record r = {
		.asec = item->times[0].tv_sec,
		.ansec = (unsigned)item->times[0].tv_nsec,
		.sec = item->times[1].tv_sec,
		.nsec = (unsigned)item->times[1].tv_nsec,
		.same = (unsigned short)same,
		.more = (unsigned short)(n - same),
		.doubtful = item->doubtful,
	};

	if (n - same > UINT16_MAX)
		return k3_fail(e, K3_LIMIT, "directory name of %zu bytes", n);
	if (k3_buf_add(&t->log, &r, sizeof(r), e) ||
	    k3_buf_add(&t->log, item->name + same, n - same, e))
		return k3_wrap(e, "list of directories");
	t->last.len = same;
	return k3_buf_add(&t->last, item->name + same, n - same, e);
}

int times_next(struct times_iter *it, struct times_item *item, bool *more, struct k3_err *e)
{
	struct record r;

	*more = it->at < it->t->log.len;
	if (!*more)
		return 0;
	memcpy(&r, it->t->log.p + it->at, sizeof(r));
	it->at += sizeof(r);
	it->name.len = r.same;
	if (k3_buf_add(&it->name, it->t->log.p + it->at, r.more, e))
		return -1;
	it->at += r.more;
	*item = (struct times_item){
		.name = (const char *)it->name.p,
		.doubtful = r.doubtful,
		.times = { { r.asec, r.ansec }, { r.sec, r.nsec } },
	};
	return 0;
}
