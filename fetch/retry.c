/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/retry.h"

#include <string.h>

#define RETRY_AFTER_MAX_S 86400u

static uint64_t next_random(struct fetch_session *s)
{
	/* xorshift64: spreads pauses, protects nothing */
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random;
}

/* Half of the pause is fixed, half is random, so that many clients do not return at once. */
static uint64_t pause_ms(const struct retry *r)
{
	const struct fetch_opts *o = &r->s->f->o;
	uint64_t ms = o->backoff_ms;

	for (unsigned i = 1; i < r->failed && ms < o->backoff_max_ms; i++)
		ms *= 2;
	if (ms > o->backoff_max_ms)
		ms = o->backoff_max_ms;
	ms = ms / 2 + next_random(r->s) % (ms / 2 + 1);
	if (r->s->retry_after_ms > ms)
		ms = r->s->retry_after_ms;
	return ms < o->backoff_max_ms ? ms : o->backoff_max_ms;
}

int retry_wait(struct retry *r, struct k3_err *e)
{
	const struct fetch_opts *o = &r->s->f->o;
	unsigned most = o->attempts;

	if (!e->retry)
		return -1;
	r->failed++;
	if (!r->s->unreachable)
		r->reached = true;
	if (!r->reached && most > RETRY_UNREACHABLE)
		most = RETRY_UNREACHABLE;
	if (r->failed >= most)
		return most > 1 ? k3_wrap(e, "gave up after %u attempts", most) : -1;
	uint64_t ms = pause_ms(r);

	if (o->on_retry)
		o->on_retry(o->on_retry_arg, r->what, r->failed, ms, e);
	return k3_cancel_sleep(o->cancel, ms, e);
}

void retry_progress(struct retry *r)
{
	r->failed = 0;
	r->reached = true;
}

uint64_t retry_after_ms(const char *value, time_t now)
{
	uint64_t s = 0;
	time_t when;

	if (!value || !*value)
		return 0;
	if (!value[strspn(value, "0123456789")]) {
		for (; *value && s < RETRY_AFTER_MAX_S; value++)
			s = 10 * s + (uint64_t)(*value - '0');
	} else if (http_date(value, &when) && when > now) {
		s = (uint64_t)(when - now);
	}
	return (s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * 1000;
}
