/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct host {
	struct host *next;
	char *name;
	bool plain, heard, given_up;
	struct k3_err why; /* given up */
};

/* Inside the monitor. */
static struct host *find(const struct fetch *f, const char *name)
{
	for (struct host *h = f->hosts; h; h = h->next)
		if (!strcmp(h->name, name))
			return h;
	return NULL;
}

static struct host *find_or_add(struct fetch *f, const char *name)
{
	struct host *h = find(f, name);

	if (h)
		return h;
	h = k3_xcalloc(1, sizeof(*h));
	h->name = k3_xstrdup(name);
	h->next = f->hosts;
	f->hosts = h;
	return h;
}

bool hosts_plain(struct fetch *f, const char *name)
{
	if (f->o.plain_http)
		return true;
	K3_WITH_MONITOR(f->monitor);
	const struct host *h = find(f, name);

	return h && h->plain;
}

void hosts_set_plain(struct fetch *f, const char *name)
{
	K3_WITH_MONITOR(f->monitor);
	find_or_add(f, name)->plain = true;
}

void hosts_set_heard(struct fetch *f, const char *name)
{
	K3_WITH_MONITOR(f->monitor);
	struct host *h = find_or_add(f, name);

	h->heard = true;
	h->given_up = false;
}

void hosts_give_up(struct fetch *f, const char *name, const struct k3_err *why)
{
	K3_WITH_MONITOR(f->monitor);
	struct host *h = find_or_add(f, name);

	if (h->heard)
		return;
	h->given_up = true;
	h->why = *why;
}

int hosts_check(struct fetch *f, const char *name, struct k3_err *e)
{
	K3_WITH_MONITOR(f->monitor);
	const struct host *h = find(f, name);

	if (!h || !h->given_up)
		return 0;
	*e = h->why;
	return -1;
}

void hosts_free(struct fetch *f)
{
	for (struct host *h = f->hosts, *next; h; h = next) {
		next = h->next;
		free(h->name);
		free(h);
	}
	f->hosts = NULL;
}
