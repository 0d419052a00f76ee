/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/parse.h"

#define LINKS_MAX 40 /* as the kernel, path_resolution(7) */

char *host_path(const char *sysroot, const char *path)
{
	return k3_xasprintf("%s%s", sysroot, path);
}

char *host_text(const char *sysroot, const char *path, size_t max)
{
	K3_AUTO_FREE char *full = host_path(sysroot, path);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(max);
	struct k3_err ignored;

	if (k3_read_file(AT_FDCWD, full, &text, &ignored))
		return NULL;
	return k3_xstrndup(text.p ? (const char *)text.p : "", text.len);
}

bool host_exists(const char *sysroot, const char *path)
{
	K3_AUTO_FREE char *full = host_path(sysroot, path);

	return !access(full, F_OK);
}

char *host_follow(const char *sysroot, const char *path)
{
	char *at = k3_xstrdup(path);

	for (int k = 0; k < LINKS_MAX; k++) {
		K3_AUTO_FREE char *full = host_path(sysroot, at);
		K3_AUTO_FREE char *before = at;
		char to[PATH_MAX];
		ssize_t n = readlink(full, to, sizeof(to) - 1);

		if (n <= 0)
			return K3_STEAL(before);
		to[n] = '\0';
		at = to[0] == '/' ? k3_xstrdup(to)
				  : k3_xasprintf("%.*s%s", (int)(strrchr(before, '/') + 1 - before),
						 before, to);
	}
	return at;
}
