/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, loaded when it is first used: it brings thirty libraries of its own, and mapping and
 * relocating them takes longer than all that a command without a network does.
 *
 * Its functions are called by their own names, of which only those in the list exist.
 */
#ifndef K3_FETCH_LIBCURL_H
#define K3_FETCH_LIBCURL_H

#include <curl/curl.h>

#include "base/err.h"

#define LIBCURL_SONAME "libcurl.so.4"

/* clang-format off */
#define LIBCURL_FUNCTIONS(X) \
	X(easy_cleanup) X(easy_escape) X(easy_getinfo) X(easy_init) X(easy_reset) \
	X(easy_setopt) X(easy_strerror) X(free) X(getdate) X(global_cleanup) X(global_init) \
	X(multi_add_handle) X(multi_cleanup) X(multi_info_read) X(multi_init) X(multi_perform) \
	X(multi_poll) X(multi_remove_handle) X(multi_setopt) X(slist_append) X(slist_free_all) \
	X(url) X(url_cleanup) X(url_get) X(url_set) X(url_strerror) X(version_info)
/* clang-format on */

/* The macros of curl.h that check types want the functions themselves. */
#undef curl_easy_getinfo
#undef curl_easy_setopt
#undef curl_multi_setopt

struct libcurl {
#define X(name) __typeof__(curl_##name) *name;
	LIBCURL_FUNCTIONS(X)
#undef X
};

/* Loads it, once a process.  K3_UNSUPPORTED: not installed, or too old.  mt */
K3_MUST int libcurl_load(struct k3_err *e);
/* Never NULL: ends the process where libcurl_load would fail.  mt */
const struct libcurl *libcurl(void) __attribute__((returns_nonnull));

#define curl_easy_cleanup libcurl()->easy_cleanup
#define curl_easy_escape libcurl()->easy_escape
#define curl_easy_getinfo libcurl()->easy_getinfo
#define curl_easy_init libcurl()->easy_init
#define curl_easy_reset libcurl()->easy_reset
#define curl_easy_setopt libcurl()->easy_setopt
#define curl_easy_strerror libcurl()->easy_strerror
#define curl_free libcurl()->free
#define curl_getdate libcurl()->getdate
#define curl_global_cleanup libcurl()->global_cleanup
#define curl_global_init libcurl()->global_init
#define curl_multi_add_handle libcurl()->multi_add_handle
#define curl_multi_cleanup libcurl()->multi_cleanup
#define curl_multi_info_read libcurl()->multi_info_read
#define curl_multi_init libcurl()->multi_init
#define curl_multi_perform libcurl()->multi_perform
#define curl_multi_poll libcurl()->multi_poll
#define curl_multi_remove_handle libcurl()->multi_remove_handle
#define curl_multi_setopt libcurl()->multi_setopt
#define curl_slist_append libcurl()->slist_append
#define curl_slist_free_all libcurl()->slist_free_all
#define curl_url libcurl()->url
#define curl_url_cleanup libcurl()->url_cleanup
#define curl_url_get libcurl()->url_get
#define curl_url_set libcurl()->url_set
#define curl_url_strerror libcurl()->url_strerror
#define curl_version_info libcurl()->version_info

#endif
