/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/origin.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

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

const char *http_upper_proxy(void)
{
	const char *lower = getenv("http_proxy"), *upper = getenv("HTTP_PROXY");

	return !(lower && *lower) && upper && *upper && !getenv("REQUEST_METHOD") ? upper : NULL;
}
