/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds every file given, and every file below every directory given, to a fuzz target: the
 * corpora are regression tests of `make check`, with any compiler.
 */
#include <errno.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* nftw gives its callback no argument. */
static size_t files, failures;

static void replay(const char *path, size_t size)
{
	FILE *f = fopen(path, "rb");
	/* Exactly as large as the input, so that a sanitizer sees reads past it. */
	uint8_t *data = malloc(size ? size : 1);

	if (!f || !data || fread(data, 1, size, f) != size) {
		fprintf(stderr, "%s: cannot read: %s\n", path, strerror(errno));
		failures++;
	} else {
		LLVMFuzzerTestOneInput(data, size);
		files++;
	}
	free(data);
	if (f)
		fclose(f);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if (type == FTW_F)
		replay(path, (size_t)st->st_size);
	return 0;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');

	for (int i = 1; i < argc; i++)
		if (nftw(argv[i], visit, 32, FTW_PHYS)) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			failures++;
		}
	printf("%s: %zu inputs\n", slash ? slash + 1 : argv[0], files);
	return failures ? 1 : 0;
}
