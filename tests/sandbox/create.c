/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create DIR N: what it costs to make N files of 4 KiB as a layer is unpacked, and N hard links of
 * them, by 1, 2 and 4 threads, in directories of their own or all in one.  A line for each.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4

struct work {
	int dir, links; /* where files go, and their second names */
	unsigned first, n;
};

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void *make_files(void *arg)
{
	static const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	static const char data[4096];
	const struct work *w = arg;

	for (unsigned i = w->first; i < w->first + w->n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file-%u", i);
		int fd = openat(w->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);

		must(fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data), name);
		must(!futimens(fd, times) && !close(fd), name);
	}
	return NULL;
}

static void *make_links(void *arg)
{
	const struct work *w = arg;

	for (unsigned i = w->first; i < w->first + w->n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file-%u", i);
		must(!linkat(w->dir, name, w->links, name, 0), name);
	}
	return NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double run(void *(*fn)(void *), struct work *w, unsigned threads)
{
	pthread_t t[THREADS];
	double start = now();

	for (unsigned k = 0; k < threads; k++)
		must(!pthread_create(&t[k], NULL, fn, &w[k]), "thread");
	for (unsigned k = 0; k < threads; k++)
		pthread_join(t[k], NULL);
	return now() - start;
}

static int open_dir(const char *top, const char *what, unsigned threads, unsigned k)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s-%u-%u", top, what, threads, k);
	must(!mkdir(path, 0755), path);
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	must(fd >= 0, path);
	return fd;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	unsigned n = (unsigned)strtoul(argv[2], NULL, 10);

	for (unsigned own = 0; own < 2; own++)
		for (unsigned threads = 1; threads <= THREADS; threads *= 2) {
			struct work w[THREADS] = { 0 };

			for (unsigned k = 0; k < threads; k++) {
				bool first = own || !k;

				w[k] = (struct work){
					first ? open_dir(argv[1], own ? "own" : "one", threads, k)
					      : w[0].dir,
					first ? open_dir(argv[1], own ? "own-links" : "one-links",
							 threads, k)
					      : w[0].links,
					k * (n / threads),
					n / threads,
				};
			}
			double files = run(make_files, w, threads);
			double links = run(make_links, w, threads);

			printf("%s, %u threads: %.1f us a file, %.1f us a link\n",
			       own ? "directories of their own" : "one directory", threads,
			       1e6 * files / n, 1e6 * links / n);
		}
	return 0;
}
