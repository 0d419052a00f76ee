/* SPDX-License-Identifier: Apache-2.0 */
/* An open database file: descriptor, lock, map and current meta. */
#ifndef K3_BOLT_DB_H
#define K3_BOLT_DB_H

#include <stdint.h>

#include "base/err.h"
#include "bolt/bolt.h"
#include "bolt/meta.h"
#include "bolt/port.h"

struct bolt_db {
	int fd;
	int original; /* fd is a copy of this one; else -1 */
	char *name;   /* for messages */
	const struct bolt_port *port;
	struct bolt_meta meta; /* current, durable */
	uint64_t size;         /* of the file */
	const uint8_t *map;    /* read-only; NULL until the first transaction */
	size_t map_len;
	struct bolt_txn *txn; /* the open one or NULL */
	bool writable;
	bool failed; /* a commit broke off where the file's state is not known */
};

/* Makes map and size fit the file as it is now. */
K3_MUST int bolt_db_map(struct bolt_db *db, struct k3_err *e);

#endif
