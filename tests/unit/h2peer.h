/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of grpc/: an HTTP/2 server on a unix socket that does what a test tells it, frame
 * by frame.  One thread, one connection at a time.  Once the client is gone everything is a no-op.
 */
#ifndef K3_TESTS_H2PEER_H
#define K3_TESTS_H2PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	H2P_DATA = 0,
	H2P_HEADERS = 1,
	H2P_RST = 3,
	H2P_SETTINGS = 4,
	H2P_PING = 6,
	H2P_GOAWAY = 7,
	H2P_WINDOW = 8,
	H2P_CONTINUATION = 9,
};
#define H2P_END 1u /* END_STREAM, or ACK */
#define H2P_END_HEADERS 4u

/* One connection, in the hands of the server's thread. */
struct h2c {
	int fd;
	unsigned nth;    /* of this server, from 0 */
	bool gone;       /* the client hung up */
	bool hold;       /* give the client no more room to send */
	size_t held;     /* ... and this much is due: see h2c_release */
	bool one_by_one; /* send every byte by itself */
	/* the request that came last */
	uint32_t id;
	struct k3_buf fields; /* "name: value\n" */
	struct k3_buf body;
	size_t body_at; /* first byte that h2c_message has not taken */
	size_t frames;  /* of data */
	bool end;       /* the client's side has ended */
	uint32_t reset; /* code of its RST_STREAM + 1 */
	bool pong;      /* it has answered a ping */
	/* what the client allows us to send */
	int64_t window, stream_window, first_window;
	void *inflater;
};

typedef void h2p_serve(struct h2c *c, void *arg);

struct h2p;

/* Its thread calls serve for every connection. */
struct h2p *h2p_start(h2p_serve *serve, void *arg);
const char *h2p_socket(const struct h2p *p);
/* Ends the thread, once the client has hung up: free the channel first. */
void h2p_free(struct h2p *p);
/* Of a server that has been stopped by it: connections served. */
unsigned h2p_stop(struct h2p *p);

bool h2c_greet(struct h2c *c);                        /* preface and settings: first of all */
bool h2c_request(struct h2c *c);                      /* the head of the next request */
bool h2c_has(const struct h2c *c, const char *field); /* "te: trailers" */
bool h2c_message(struct h2c *c, struct k3_buf *out);  /* its next message */
bool h2c_wait_end(struct h2c *c);                     /* all of it */
void h2c_wait_gone(struct h2c *c);                    /* until the client hangs up */
void h2c_wait_window(struct h2c *c, int64_t n);       /* until n bytes may be sent */
void h2c_release(struct h2c *c);                      /* no more hold; gives what is due */
void h2c_step(struct h2c *c);                         /* one frame of the client */
void h2c_raw(struct h2c *c, const void *p, size_t n); /* sends */
void h2c_frame(struct h2c *c, uint8_t type, unsigned flags, uint32_t id, const void *p, size_t n);
/* A block of header fields, name and value in turn, NULL at the end. */
void h2c_fields(struct h2c *c, unsigned flags, const char *const *fields);
void h2c_head(struct h2c *c);                          /* 200, application/grpc */
void h2c_data(struct h2c *c, const void *p, size_t n); /* in frames of 16 KiB */
void h2c_put(struct h2c *c, const void *p, size_t n);  /* one message */
void h2c_trailers(struct h2c *c, const char *status, const char *message);
void h2c_code(struct h2c *c, uint8_t type, uint32_t id, uint32_t code); /* RST, WINDOW */
void h2c_goaway(struct h2c *c, uint32_t last, uint32_t code, const char *text);

#endif
