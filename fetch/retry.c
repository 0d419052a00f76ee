/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/retry.h"

#include <string.h>

#include "fetch/hosts.h"

#define RETRY_AFTER_MAX_S 86400u
#define TRY_LEAST 16 /* part of the time limit that a try has at least */

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
	return r->s->retry_after_ms > ms ? r->s->retry_after_ms : ms;
}

void retry_extend(struct retry *r)
{
	r->since_ms = k3_now_ms();
	r->s->give_up_ms = r->since_ms + r->s->f->o.timeout_ms;
}

static void begin(struct retry *r)
{
	r->failed = 0;
	retry_extend(r);
}

void retry_start(struct retry *r, struct fetch_session *s, const char *what)
{
	*r = (struct retry){ .s = s, .what = what };
	begin(r);
}

static int give_up(const struct retry *r, struct k3_err *e)
{
	if (r->failed > 1)
		k3_wrap(e, "gave up after %u attempts", r->failed);
	if (r->s->retry_after_ms > r->s->f->o.timeout_ms)
		k3_hint(e, "wait as long as it says, or give it a longer --timeout");
	k3_hint(e,
		"the network or the registry is in trouble: run it again, what has come is kept");
	if (r->s->fault == HTTP_FAULT_SILENT)
		hosts_give_up(r->s->f, r->host, e);
	return -1;
}

int retry_wait(struct retry *r, struct k3_err *e)
{
	const struct fetch *f = r->s->f;

	if (!e->retry)
		return -1;
	r->failed++;
	if (r->s->fault != HTTP_FAULT_UNREACHABLE)
		r->reached = true;
	uint64_t ms = pause_ms(r);

	/*
	 * What is told to come back later than we may stay is not asked again before; and a try
	 * that has next to no time left would tell nothing.
	 */
	if (r->failed >= (r->reached ? f->o.attempts : f->unreachable_attempts) ||
	    k3_now_ms() + ms + f->o.timeout_ms / TRY_LEAST >= r->s->give_up_ms)
		return give_up(r, e);
	if (f->o.on_retry)
		f->o.on_retry(f->o.on_retry_arg, r->what, r->failed, ms, e);
	return k3_cancel_sleep(f->o.cancel, ms, e);
}

void retry_progress(struct retry *r)
{
	begin(r);
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
