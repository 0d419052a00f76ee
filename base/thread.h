/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, one lock-and-condition type, and cancellation.  The only pthread user. */
#ifndef K3_BASE_THREAD_H
#define K3_BASE_THREAD_H

#include <stdint.h>

#include "base/err.h"

struct k3_thread;

/* Runs fn(arg) on a new thread, which takes no signals.  K3_NOMEM when the system refuses. */
K3_MUST int k3_thread_start(void (*fn)(void *arg), void *arg, struct k3_thread **out,
			    struct k3_err *e);
void k3_thread_join(struct k3_thread *t); /* waits and frees; NULL is a no-op */

/*
 * A monitor: one mutex and one condition.  Everything that waits tests its condition in a
 * loop; every change of shared state ends with k3_monitor_wake_all.
 */
struct k3_monitor;

struct k3_monitor *k3_monitor_new(void) __attribute__((returns_nonnull));
void k3_monitor_free(struct k3_monitor *m);
void k3_monitor_enter(struct k3_monitor *m);
void k3_monitor_leave(struct k3_monitor *m);
void k3_monitor_wait(struct k3_monitor *m);                 /* inside only */
bool k3_monitor_wait_ms(struct k3_monitor *m, unsigned ms); /* false = time is up */
void k3_monitor_wake_all(struct k3_monitor *m);             /* inside only */

void k3_monitor_leavep(struct k3_monitor **m);
/* Enters m and leaves it when the block ends. */
#define K3_WITH_MONITOR(m)                                                                         \
	struct k3_monitor *monitor_guard_ __attribute__((cleanup(k3_monitor_leavep))) = (m);       \
	k3_monitor_enter(monitor_guard_)

/*
 * Cancellation of one run: mt.  The first reason wins and stays.  Long operations poll
 * k3_cancelled() at least once a second; sleeping goes through k3_cancel_sleep().
 */
struct k3_cancel;

struct k3_cancel *k3_cancel_new(void) __attribute__((returns_nonnull));
void k3_cancel_free(struct k3_cancel *c);
void k3_cancel_raise(struct k3_cancel *c, const struct k3_err *why);
/*
 * For a signal handler: the reason is given before the handler is installed; the handler
 * calls k3_cancel_signal, which is async-signal-safe and false when c was raised already.
 */
void k3_cancel_prepare(struct k3_cancel *c, const struct k3_err *why);
bool k3_cancel_signal(struct k3_cancel *c);
bool k3_cancelled(const struct k3_cancel *c); /* c may be NULL: never */
/* 0, or -1 with the reason in *e. */
K3_MUST int k3_cancel_check(struct k3_cancel *c, struct k3_err *e);
/* Sleeps ms or less; -1 with the reason when cancelled meanwhile.  c may be NULL. */
K3_MUST int k3_cancel_sleep(struct k3_cancel *c, uint64_t ms, struct k3_err *e);

uint64_t k3_now_ms(void); /* monotonic clock */

#endif
