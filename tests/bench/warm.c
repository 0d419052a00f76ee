/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warm MB: touches that much memory and gives it back.  On a virtual machine whose host takes
 * free memory away the first use of a page is many times slower than the next one; after this
 * the pages are there, for whoever is measured next.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	char *end;
	unsigned long mb = argc == 2 ? strtoul(argv[1], &end, 10) : 0;

	if (!mb || *end || mb > 1ul << 20) {
		fprintf(stderr, "usage: warm MB\n");
		return 2;
	}
	if (mmap(NULL, mb << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		 -1, 0) == MAP_FAILED) {
		perror("warm: mmap");
		return 1;
	}
	return 0;
}
