/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timed FILE COMMAND...: runs COMMAND and appends " seconds=S cpu=S peakKiB=N" to FILE, without
 * an end of line.  cpu is user and system time, peakKiB the resident memory of the largest
 * process, both of COMMAND and of all it started and waited for.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	struct rusage usage;
	double start, seconds;
	int status;
	pid_t pid;
	FILE *out;

	if (argc < 3) {
		fprintf(stderr, "usage: timed FILE COMMAND...\n");
		return 2;
	}
	start = now();
	pid = fork();
	if (pid < 0) {
		perror("timed: fork");
		return 1;
	}
	if (!pid) {
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &usage) != pid) {
		perror("timed: wait4");
		return 1;
	}
	seconds = now() - start;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	out = fopen(argv[1], "ae");
	if (!out) {
		perror(argv[1]);
		return 1;
	}
	fprintf(out, " seconds=%.6f cpu=%.3f peakKiB=%ld", seconds, cpu(&usage), usage.ru_maxrss);
	if (fclose(out)) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
