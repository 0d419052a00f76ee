/* SPDX-License-Identifier: Apache-2.0 */
/* --debug-http: requests and answers as text, without what is secret in them.  Pure. */
#ifndef K3_FETCH_TRACE_H
#define K3_FETCH_TRACE_H

#include "base/buf.h"
#include "fetch/http.h"

#define TRACE_MAX (128u << 10) /* bytes of one request or answer; more is cut */

/* "> GET URL" and its fields; those of rq->fields without their values. */
void trace_request(struct k3_buf *out, const struct http_req *rq, const char *user_agent);
/* "< 200 https://origin" and its fields. */
void trace_answer(struct k3_buf *out, const struct http_head *h, const char *origin);
void trace_failure(struct k3_buf *out, const char *origin, const struct k3_err *e);
/* A URL in which the values of its query are only shown where they are known to be harmless. */
void trace_url(struct k3_buf *out, const char *url);

#endif
