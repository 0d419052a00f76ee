/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole bundle, as a file and as a pipe: both are taken or refused alike, and what is taken
 * gives the same bytes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "bundle/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (64u << 10) /* has room in the buffer of a pipe */

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int read_all(const char *path, uint8_t sum[K3_HASH_MAX])
{
	K3_AUTO_HASH struct k3_hash *hash = k3_hash_new(K3_SHA256);
	struct bundle *b = NULL;
	struct k3_err e = { 0 };
	uint8_t piece[500];
	size_t got = 1;
	int rc = bundle_open(&(struct bundle_opts){ .path = path }, &b, &e);

	for (size_t k = 0; !rc && k < bundle_doc(b)->n; k++) {
		uint64_t off = 0;

		do {
			rc = bundle_read(b, k, off, piece, sizeof(piece), &got, &e);
			k3_hash_add(hash, piece, rc ? 0 : got);
			off += got;
		} while (!rc && got);
		must(rc || off == bundle_doc(b)->members[k].size);
	}
	rc = rc || bundle_finish(b, &e) ? -1 : 0;
	must(!rc || e.code == K3_FORMAT || e.code == K3_LIMIT || e.code == K3_UNSUPPORTED ||
	     e.code == K3_DIGEST);
	bundle_free(b);
	k3_hash_final(hash, sum);
	return rc;
}

static int from_file(const uint8_t *data, size_t size, uint8_t sum[K3_HASH_MAX])
{
	int fd = memfd_create("bundle", MFD_CLOEXEC);
	char path[40];

	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int rc = read_all(path, sum);

	close(fd);
	return rc;
}

static int from_pipe(const uint8_t *data, size_t size, uint8_t sum[K3_HASH_MAX])
{
	int ends[2];
	char path[40];

	must(!pipe2(ends, O_CLOEXEC) && write(ends[1], data, size) == (ssize_t)size);
	close(ends[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	int rc = read_all(path, sum);

	close(ends[0]);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t a[K3_HASH_MAX] = { 0 }, b[K3_HASH_MAX] = { 0 };

	if (!size || size > INPUT_MAX)
		return 0;
	int file = from_file(data, size, a), pipe = from_pipe(data, size, b);

	must(file == pipe);
	for (unsigned i = 0; !file && i < K3_HASH_MAX; i++)
		must(a[i] == b[i]);
	return 0;
}
