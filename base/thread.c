/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

/* Our threads recurse nowhere and keep big buffers on the heap. */
#define STACK_SIZE (256u << 10)
/* How late a sleeper notices a signal handler, which cannot wake it. */
#define SLICE_MS 100u

struct k3_thread {
	pthread_t id;
	void (*fn)(void *arg);
	void *arg;
};

struct k3_monitor {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
};

enum { CANCEL_NO, CANCEL_RAISED, CANCEL_SIGNALLED };

struct k3_cancel {
	struct k3_monitor *monitor;
	atomic_int state;
	struct k3_err why, signalled; /* the reason in either state */
};

static void *thread_main(void *p)
{
	struct k3_thread *t = p;

	t->fn(t->arg);
	return NULL;
}

int k3_thread_start(void (*fn)(void *arg), void *arg, struct k3_thread **out, struct k3_err *e)
{
	struct k3_thread *t = k3_xcalloc(1, sizeof(*t));
	pthread_attr_t attr;
	sigset_t all, before;

	t->fn = fn;
	t->arg = arg;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	/* The new thread inherits the mask: its calls are never interrupted. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&t->id, &attr, thread_main, t);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc) {
		free(t);
		k3_fail_sys(e, rc, "cannot start a thread");
		e->code = K3_NOMEM;
		return -1;
	}
	*out = t;
	return 0;
}

void k3_thread_join(struct k3_thread *t)
{
	if (!t)
		return;
	pthread_join(t->id, NULL);
	free(t);
}

struct k3_monitor *k3_monitor_new(void)
{
	struct k3_monitor *m = k3_xcalloc(1, sizeof(*m));
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->cond, &attr);
	pthread_condattr_destroy(&attr);
	return m;
}

void k3_monitor_free(struct k3_monitor *m)
{
	if (!m)
		return;
	pthread_cond_destroy(&m->cond);
	pthread_mutex_destroy(&m->mutex);
	free(m);
}

void k3_monitor_enter(struct k3_monitor *m)
{
	pthread_mutex_lock(&m->mutex);
}

void k3_monitor_leave(struct k3_monitor *m)
{
	pthread_mutex_unlock(&m->mutex);
}

void k3_monitor_leavep(struct k3_monitor **m)
{
	k3_monitor_leave(*m);
}

void k3_monitor_wait(struct k3_monitor *m)
{
	pthread_cond_wait(&m->cond, &m->mutex);
}

bool k3_monitor_wait_ms(struct k3_monitor *m, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return pthread_cond_timedwait(&m->cond, &m->mutex, &until) != ETIMEDOUT;
}

void k3_monitor_wake_all(struct k3_monitor *m)
{
	pthread_cond_broadcast(&m->cond);
}

struct k3_cancel *k3_cancel_new(void)
{
	struct k3_cancel *c = k3_xcalloc(1, sizeof(*c));

	c->monitor = k3_monitor_new();
	return c;
}

void k3_cancel_free(struct k3_cancel *c)
{
	if (!c)
		return;
	k3_monitor_free(c->monitor);
	free(c);
}

void k3_cancel_raise(struct k3_cancel *c, const struct k3_err *why)
{
	int expected = CANCEL_NO;
	K3_WITH_MONITOR(c->monitor);

	if (k3_cancelled(c))
		return;
	c->why = *why;
	atomic_compare_exchange_strong(&c->state, &expected, CANCEL_RAISED);
	k3_monitor_wake_all(c->monitor);
}

void k3_cancel_prepare(struct k3_cancel *c, const struct k3_err *why)
{
	c->signalled = *why;
}

bool k3_cancel_signal(struct k3_cancel *c)
{
	int expected = CANCEL_NO;

	return atomic_compare_exchange_strong(&c->state, &expected, CANCEL_SIGNALLED);
}

bool k3_cancelled(const struct k3_cancel *c)
{
	return c && atomic_load(&c->state) != CANCEL_NO;
}

int k3_cancel_check(struct k3_cancel *c, struct k3_err *e)
{
	int state = c ? atomic_load(&c->state) : CANCEL_NO;

	if (state == CANCEL_NO)
		return 0;
	*e = state == CANCEL_RAISED ? c->why : c->signalled;
	return -1;
}

int k3_cancel_sleep(struct k3_cancel *c, uint64_t ms, struct k3_err *e)
{
	uint64_t end = k3_now_ms() + ms;

	if (!c) {
		struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

		while (nanosleep(&t, &t) && errno == EINTR)
			;
		return 0;
	}
	K3_WITH_MONITOR(c->monitor);
	for (uint64_t now = k3_now_ms(); !k3_cancelled(c) && now < end; now = k3_now_ms())
		k3_monitor_wait_ms(c->monitor,
				   end - now < SLICE_MS ? (unsigned)(end - now) : SLICE_MS);
	return k3_cancel_check(c, e);
}

uint64_t k3_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
