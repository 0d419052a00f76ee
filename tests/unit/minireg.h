/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registry of a few images on 127.0.0.1 for tests: a thread, a table of paths, one request
 * a connection.  And the images: layers made with tarbuild, documents made here.
 */
#ifndef K3_TESTS_MINIREG_H
#define K3_TESTS_MINIREG_H

#include "oci/oci.h"
#include "tests/unit/tarbuild.h"

struct minireg;

struct minireg *minireg_start(void);
void minireg_stop(struct minireg *m);
const char *minireg_host(const struct minireg *m); /* "127.0.0.1:port" */
/* GETs answered whose path contains `part`. */
unsigned minireg_gets(struct minireg *m, const char *part);
/* Every later answer for a path that contains `part` is this status, or as before when 0. */
void minireg_break(struct minireg *m, const char *part, unsigned status);
/* The body of such a path is sent with its last byte changed. */
void minireg_spoil(struct minireg *m, const char *part);

/* What becomes of a Range.  Those with LATE: only of one that does not begin with byte 0. */
enum minireg_ranges {
	MINIREG_IGNORE, /* 200 and everything */
	MINIREG_ANSWER,
	MINIREG_REFUSE,      /* the status given */
	MINIREG_LATE_REFUSE, /* likewise */
	MINIREG_LATE_IGNORE,
	MINIREG_LATE_ETAG,  /* another one */
	MINIREG_LATE_TOTAL, /* another one */
	MINIREG_LATE_LONG,  /* more than was asked for, and says so */
	MINIREG_LATE_CUT,   /* the connection breaks in the middle, once for each range */
	MINIREG_LATE_WRONG, /* bytes of elsewhere */
	MINIREG_SHORT,      /* half of what was asked for, and says so */
};
void minireg_ranges(struct minireg *m, enum minireg_ranges how, unsigned status);
/* Bytes of bodies sent for paths that contain `part`. */
uint64_t minireg_sent(struct minireg *m, const char *part);
unsigned minireg_ranged(struct minireg *m); /* requests with a Range so far */

/* Adds the layer's blob (an uncompressed tar) and remembers its digest. */
void minireg_layer(struct minireg *m, const struct tarbuild *tar, struct oci_digest *digest,
		   uint64_t *size);
/* Adds config and manifest of repo:tag; platform as in "linux/amd64". */
void minireg_image(struct minireg *m, const char *repo, const char *tag, const char *platform,
		   const struct oci_digest *layers, const uint64_t *sizes, size_t n);

#endif
