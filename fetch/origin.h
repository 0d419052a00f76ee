/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end: "https://host[:port]".  Pure, but for the environment. */
#ifndef K3_FETCH_ORIGIN_H
#define K3_FETCH_ORIGIN_H

#include <stdbool.h>

#define HTTP_ORIGIN_MAX 320 /* "https://<host of 255>:<port>" with the NUL */

/* Is this origin on 127.0.0.0/8, [::1] or localhost?  Such a one is never asked by proxy. */
bool http_origin_is_loopback(const char *origin);
bool http_origin_is_tls(const char *origin);
/*
 * Does no_proxy, or NO_PROXY, name this origin with its port?  "host:port" is Go's way of writing,
 * and containerd's and k3s's; what has no port is left to libcurl, which knows no other.
 */
bool http_origin_is_excepted(const char *origin);
/*
 * The proxy of the environment for plain HTTP in upper case, which libcurl leaves out; NULL when
 * there is none, or in a CGI program, where a client could set it.
 */
const char *http_upper_proxy(void);

#endif
