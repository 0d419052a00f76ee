/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/origin.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool http_origin_is_tls(const char *origin)
{
	return !strncmp(origin, "https://", 8);
}

bool http_origin_is_loopback(const char *origin)
{
	const char *host = strstr(origin, "://");
	char name[HTTP_ORIGIN_MAX];
	struct in_addr v4;

	if (!host)
		return false;
	host += 3;
	if (!strncmp(host, "[::1]", 5))
		return true;
	size_t n = strcspn(host, ":");

	if (n >= sizeof(name))
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	if (inet_pton(AF_INET, name, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return !strcmp(name, "localhost");
}

/* A piece of a text that is not its own. */
struct piece {
	const char *p;
	size_t n;
};

/* "host:port" or "[v6]:port" into its parts; false: there is no port. */
static bool split_port(struct piece all, struct piece *host, struct piece *port)
{
	const char *colon = memrchr(all.p, ':', all.n);
	bool brackets = all.n && *all.p == '[';

	if (!colon || (brackets && colon[-1] != ']') ||
	    (!brackets && memchr(all.p, ':', all.n) != colon))
		return false;
	*host = (struct piece){ all.p + brackets, (size_t)(colon - all.p) - 2 * (size_t)brackets };
	*port = (struct piece){ colon + 1, all.n - (size_t)(colon + 1 - all.p) };
	return true;
}

/* As Go's httpproxy: a domain stands for those below it, too, "." or "*." only for these. */
static bool is_of_domain(struct piece host, struct piece domain)
{
	if (domain.n && *domain.p == '*') {
		domain.p++;
		domain.n--;
	}
	if (!domain.n || domain.n > host.n ||
	    strncasecmp(host.p + host.n - domain.n, domain.p, domain.n) != 0)
		return false;
	return host.n == domain.n || *domain.p == '.' || host.p[host.n - domain.n - 1] == '.';
}

static bool is_same(struct piece a, struct piece b)
{
	return a.n == b.n && !memcmp(a.p, b.p, a.n);
}

bool http_origin_is_excepted(const char *origin)
{
	const char *lower = getenv("no_proxy"), *scheme = strstr(origin, "://");
	const char *list = lower && *lower ? lower : getenv("NO_PROXY");
	struct piece host, port, name, number;

	if (!scheme || !list)
		return false;
	host = (struct piece){ scheme + 3, strlen(scheme + 3) };
	if (!split_port(host, &host, &port)) {
		bool brackets = *host.p == '[' && host.n > 1;

		host = (struct piece){ host.p + brackets, host.n - 2 * (size_t)brackets };
		port.p = http_origin_is_tls(origin) ? "443" : "80";
		port.n = strlen(port.p);
	}
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ", \t");

		if (split_port((struct piece){ p, n }, &name, &number) && is_same(number, port) &&
		    is_of_domain(host, name))
			return true;
		p += n + strspn(p + n, ", \t");
	}
	return false;
}

const char *http_upper_proxy(void)
{
	const char *lower = getenv("http_proxy"), *upper = getenv("HTTP_PROXY");

	return !(lower && *lower) && upper && *upper && !getenv("REQUEST_METHOD") ? upper : NULL;
}
