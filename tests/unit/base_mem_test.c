/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

TEST(mem_zero_sizes_are_memory)
{
	K3_AUTO_FREE char *a = k3_xcalloc(0, 8);
	K3_AUTO_FREE char *b = k3_xrealloc(NULL, 0, 8);

	CHECK(a != NULL);
	CHECK(b != NULL);
	EQ_INT(a[0], 0);
}

TEST(mem_strings)
{
	K3_AUTO_FREE char *a = k3_xstrdup("abc");
	K3_AUTO_FREE char *b = k3_xstrndup("abcdef", 2);
	K3_AUTO_FREE char *c = k3_xasprintf("%s-%05d", a, 42);

	EQ_STR(a, "abc");
	EQ_STR(b, "ab");
	EQ_STR(c, "abc-00042");
}

TEST(mem_grow)
{
	int *v = NULL;
	size_t cap = 0;

	for (size_t n = 0; n < 1000; n++) {
		v = k3_xgrow(v, n, &cap, sizeof(*v));
		CHECK(cap > n);
		v[n] = (int)n;
	}
	for (int i = 0; i < 1000; i++)
		EQ_INT(v[i], i);
	k3_freep(&v);
	CHECK(v == NULL);
	k3_freep(&v);
}

TEST(mem_steal_and_close)
{
	char *p = k3_xstrdup("x");
	K3_AUTO_FREE char *taken = K3_STEAL(p);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int mine = k3_steal_fd(&fd);

	CHECK(p == NULL);
	EQ_STR(taken, "x");
	EQ_INT(fd, -1);
	CHECK(mine >= 0);
	k3_closep(&fd);
	{
		K3_AUTO_FD int guarded = mine;

		CHECK(fcntl(guarded, F_GETFD) >= 0);
	}
	EQ_INT(fcntl(mine, F_GETFD), -1);
}

/* More than there can be ends the process, and says so, instead of returning NULL. */
TEST(mem_overflow_ends_the_process)
{
	int pipefd[2], status = 0;
	char text[128] = "";

	EQ_INT(pipe2(pipefd, O_CLOEXEC), 0);
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(pipefd[1], STDERR_FILENO);
		volatile size_t huge = SIZE_MAX / 2;

		free(k3_xrealloc(NULL, huge, 4));
		_exit(0);
	}
	close(pipefd[1]);
	EQ_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
	CHECK(read(pipefd[0], text, sizeof(text) - 1) > 0);
	close(pipefd[0]);
}

UNIT_MAIN
