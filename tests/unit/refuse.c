/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/refuse.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define NO_FILTERS 77

bool refuse_run(unsigned what, void (*part)(void *arg), void *arg)
{
	int status;

	fflush(NULL);
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (!pid) {
		if (!refuse_install(what))
			_exit(NO_FILTERS);
		unit_failed_checks = 0;
		part(arg);
		fflush(NULL);
		_exit(unit_failed_checks ? 1 : 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		abort();
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTERS)
		return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		unit_fail(__FILE__, __LINE__, "checks failed in the child: status %#x", status);
	return true;
}
