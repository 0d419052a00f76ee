/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refused WHAT,... COMMAND...: runs a command where the kernel refuses calls (tests/unit/refuse.h).
 * Without arguments it prints what there is to refuse, one a line.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/refuse.h"

static unsigned find(const char *name)
{
	for (size_t i = 0; i < refuse_nnames; i++)
		if (!strcmp(refuse_names[i].name, name))
			return refuse_names[i].what;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned what = 0;
	char *save = NULL;

	for (size_t i = 0; argc < 2 && i < refuse_nnames; i++)
		puts(refuse_names[i].name);
	if (argc < 3)
		return argc < 2 ? 0 : 2;
	for (char *name = strtok_r(argv[1], ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (!find(name)) {
			fprintf(stderr, "refused: nothing is called %s\n", name);
			return 2;
		}
		what |= find(name);
	}
	if (!refuse_install(what))
		return 77;
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
