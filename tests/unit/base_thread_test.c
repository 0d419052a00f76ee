/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

struct counter {
	struct k3_monitor *m;
	int n, waiting;
	bool go;
};

static void count(void *arg)
{
	struct counter *c = arg;

	{
		K3_WITH_MONITOR(c->m);
		c->waiting++;
		k3_monitor_wake_all(c->m);
		while (!c->go)
			k3_monitor_wait(c->m);
	}
	for (int i = 0; i < 1000; i++) {
		K3_WITH_MONITOR(c->m);
		c->n++;
	}
}

TEST(thread_monitor)
{
	struct counter c = { .m = k3_monitor_new() };
	struct k3_thread *t[4] = { NULL };
	struct k3_err err;

	for (int i = 0; i < 4; i++)
		OK(k3_thread_start(count, &c, &t[i], &err));
	{
		K3_WITH_MONITOR(c.m);
		while (c.waiting < 4)
			k3_monitor_wait(c.m);
		EQ_INT(c.n, 0);
		c.go = true;
		k3_monitor_wake_all(c.m);
	}
	for (int i = 0; i < 4; i++)
		k3_thread_join(t[i]);
	k3_thread_join(NULL);
	EQ_INT(c.n, 4000);
	k3_monitor_free(c.m);
	k3_monitor_free(NULL);
}

TEST(thread_wait_ms_ends)
{
	struct k3_monitor *m = k3_monitor_new();
	uint64_t start = k3_now_ms();
	bool woken = true;

	{
		K3_WITH_MONITOR(m);
		while (woken && k3_now_ms() - start < 5000)
			woken = k3_monitor_wait_ms(m, 20);
	}
	CHECK(!woken);
	CHECK(k3_now_ms() - start >= 19);
	k3_monitor_free(m);
}

TEST(cancel_first_reason_stays)
{
	struct k3_cancel *c = k3_cancel_new();
	struct k3_err one, two, err;

	k3_fail(&one, K3_CANCELLED, "first");
	k3_fail(&two, K3_NOSPC, "second");
	CHECK(!k3_cancelled(c));
	OK(k3_cancel_check(c, &err));
	OK(k3_cancel_sleep(c, 1, &err));
	k3_cancel_raise(c, &one);
	k3_cancel_raise(c, &two);
	CHECK(k3_cancelled(c));
	FAILS(k3_cancel_check(c, &err), K3_CANCELLED);
	EQ_STR(err.msg, "first");
	FAILS(k3_cancel_sleep(c, 60000, &err), K3_CANCELLED);
	k3_cancel_free(c);
}

TEST(cancel_of_nobody)
{
	uint64_t start = k3_now_ms();
	struct k3_err err;

	CHECK(!k3_cancelled(NULL));
	OK(k3_cancel_check(NULL, &err));
	OK(k3_cancel_sleep(NULL, 20, &err));
	CHECK(k3_now_ms() - start >= 19);
	k3_cancel_free(NULL);
}

static void raise_soon(void *arg)
{
	struct k3_err why, e;

	k3_fail(&why, K3_CANCELLED, "stop");
	if (!k3_cancel_sleep(NULL, 30, &e))
		k3_cancel_raise(arg, &why);
}

TEST(cancel_ends_a_sleep)
{
	struct k3_cancel *c = k3_cancel_new();
	struct k3_thread *t = NULL;
	struct k3_err err;
	uint64_t start = k3_now_ms();

	OK(k3_thread_start(raise_soon, c, &t, &err));
	FAILS(k3_cancel_sleep(c, 60000, &err), K3_CANCELLED);
	CHECK(k3_now_ms() - start < 30000);
	k3_thread_join(t);
	k3_cancel_free(c);
}

static struct k3_cancel *to_signal;

static void on_alarm(int sig)
{
	(void)sig;
	if (!k3_cancel_signal(to_signal))
		_exit(1);
}

TEST(cancel_by_a_signal_handler)
{
	struct sigaction handle = { .sa_handler = on_alarm }, old;
	struct itimerval soon = { .it_value = { 0, 20000 } };
	struct k3_err why, other, err;

	to_signal = k3_cancel_new();
	k3_fail(&why, K3_CANCELLED, "interrupted");
	k3_fail(&other, K3_NOSPC, "too late");
	k3_cancel_prepare(to_signal, &why);
	CHECK(!k3_cancelled(to_signal));
	sigaction(SIGALRM, &handle, &old);
	setitimer(ITIMER_REAL, &soon, NULL);
	uint64_t start = k3_now_ms();

	FAILS(k3_cancel_sleep(to_signal, 60000, &err), K3_CANCELLED);
	EQ_STR(err.msg, "interrupted");
	CHECK(k3_now_ms() - start < 30000);
	k3_cancel_raise(to_signal, &other);
	CHECK(!k3_cancel_signal(to_signal));
	FAILS(k3_cancel_check(to_signal, &err), K3_CANCELLED);
	sigaction(SIGALRM, &old, NULL);
	k3_cancel_free(to_signal);
}

/* 2^32 ms and more must not wrap to a sleep of nothing or end at once. */
TEST(cancel_ends_a_sleep_of_years)
{
	struct k3_cancel *c = k3_cancel_new();
	struct k3_thread *t = NULL;
	struct k3_err err;

	OK(k3_thread_start(raise_soon, c, &t, &err));
	FAILS(k3_cancel_sleep(c, UINT64_C(1) << 40, &err), K3_CANCELLED);
	k3_thread_join(t);
	k3_cancel_free(c);
}

UNIT_MAIN
