/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/parse.h"

#define FIELDS_MAX 64u /* ten, and the optional ones: at most four kinds are known */

/* Octal escapes of blanks, tabs, newlines and backslashes, proc(5). */
static char *unescape(const char *s)
{
	char *out = k3_xcalloc(1, strlen(s) + 1), *to = out;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	return out;
}

/* 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue */
static bool parse_line(char *line, struct host_mount *m)
{
	const char *field[FIELDS_MAX];
	char *save = NULL;
	size_t n = 0, dash = 6;

	for (char *f = strtok_r(line, " ", &save); f && n < FIELDS_MAX;
	     f = strtok_r(NULL, " ", &save))
		field[n++] = f;
	while (dash < n && strcmp(field[dash], "-") != 0)
		dash++;
	/* gVisor may leave the source empty: two blanks in a row. */
	if (dash + 1 >= n)
		return false;
	*m = (struct host_mount){
		.point = unescape(field[4]),
		.type = unescape(field[dash + 1]),
		.source = unescape(dash + 2 < n ? field[dash + 2] : ""),
		.options = unescape(dash + 2 < n ? field[n - 1] : ""),
	};
	for (size_t k = 6; k < dash; k++) {
		m->shared = m->shared || !strncmp(field[k], "shared:", 7);
		m->slave = m->slave || !strncmp(field[k], "master:", 7);
	}
	return true;
}

static void find_cgroups(struct host *out)
{
	bool v1 = false, v2 = false;

	for (size_t k = 0; k < out->nmounts; k++) {
		const struct host_mount *m = &out->mounts[k];

		v1 = v1 || !strcmp(m->type, "cgroup");
		v2 = v2 || (!strcmp(m->type, "cgroup2") && !strcmp(m->point, "/sys/fs/cgroup"));
	}
	if (v1)
		out->cgroups = HOST_CGROUPS_V1;
	else
		out->cgroups = v2 ? HOST_CGROUPS_V2 : HOST_CGROUPS_NONE;
}

int host_parse_mounts(const char *text, struct host *out, struct k3_err *e)
{
	K3_AUTO_FREE char *copy = k3_xstrdup(text);
	size_t cap = 0;
	char *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct host_mount m;

		if (out->nmounts >= HOST_MOUNTS_MAX)
			return k3_fail(e, K3_LIMIT, "more than %u mounts", HOST_MOUNTS_MAX);
		if (!parse_line(line, &m))
			continue;
		out->mounts = k3_xgrow(out->mounts, out->nmounts, &cap, sizeof(m));
		out->mounts[out->nmounts++] = m;
	}
	find_cgroups(out);
	return 0;
}

static bool is_below(const char *path, const char *point)
{
	size_t n = strlen(point);

	if (!strcmp(point, "/"))
		return true;
	return !strncmp(path, point, n) && (!path[n] || path[n] == '/');
}

const struct host_mount *host_mount_of(const struct host *h, const char *path)
{
	const struct host_mount *best = NULL;

	/* Of several on one point the last one is on top. */
	for (size_t k = 0; k < h->nmounts; k++)
		if (is_below(path, h->mounts[k].point) &&
		    (!best || strlen(h->mounts[k].point) >= strlen(best->point)))
			best = &h->mounts[k];
	return best;
}
