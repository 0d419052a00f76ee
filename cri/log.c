/* SPDX-License-Identifier: Apache-2.0 */
#include "cri/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* Time, stream and tag in front of each line, and then some for short lines. */
#define OVERHEAD 4

/* What is behind the n-th blank of the line, or NULL. */
static const char *behind(const char *line, const char *end, unsigned blanks)
{
	for (; line < end; line++)
		if (*line == ' ' && !--blanks)
			return line + 1;
	return NULL;
}

char *cri_log_text(const char *log, size_t n, bool cut, size_t max)
{
	const char *end = log + n;
	K3_AUTO_FREE char *out = k3_xcalloc(n + 1, 1);
	size_t len = 0;

	for (const char *line = log, *next; line < end; line = next) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		bool skip = cut && line == log;

		next = stop ? stop + 1 : end;
		stop = stop ? stop : end;
		const char *tag = behind(line, stop, 2), *text = behind(line, stop, 3);

		if (skip || !text)
			continue;
		memcpy(out + len, text, (size_t)(stop - text));
		len += (size_t)(stop - text);
		if (*tag != 'P')
			out[len++] = '\n';
	}
	/* A NUL would end the text too early. */
	for (size_t i = 0; i < len; i++)
		if (!out[i])
			out[i] = ' ';
	if (!len)
		return NULL;
	return len <= max ? K3_STEAL(out) : k3_xstrndup(out + len - max, max);
}

char *cri_log_read(int dirfd, const char *name, size_t max)
{
	K3_AUTO_FD int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t room = OVERHEAD * max, have = 0;
	K3_AUTO_FREE char *raw = NULL;
	struct stat st;
	off_t from;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return NULL;
	from = st.st_size > (off_t)room ? st.st_size - (off_t)room : 0;
	raw = k3_xcalloc(room, 1);
	while (have < room) {
		ssize_t n = pread(fd, raw + have, room - have, from + (off_t)have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return cri_log_text(raw, have, from > 0, max);
}
