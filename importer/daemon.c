/* SPDX-License-Identifier: Apache-2.0 */
#include "importer/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "importer/schema.h"

/* A call that only writes records.  Others may be before us in the line for the database. */
#define CALL_MS 60000u
/* Committing a snapshot looks at each of its files, under the lock of the database. */
#define COMMIT_MS 600000u
/* A collection removes whole trees, file by file. */
#define COLLECT_MS 3600000u
/* Somebody who writes the same blob is waited for. */
#define BUSY_TRIES 50
#define BUSY_MS 100
/* containerd takes 16 MiB in one message, and 4 where nothing is configured. */
#define UPLOAD_PIECE (1u << 20)

#define SERVICE "/containerd.services."
#define LABEL_EXPIRE "containerd.io/gc.expire"

struct imp_daemon {
	struct grpc *g;
	struct k3_cancel *cancel;
	char *version;
	char *lease; /* its id, NULL = none yet */
};

/* ---- open, close -------------------------------------------------------------------- */

int imp_daemon_open(const char *socket, const char *ns, struct k3_cancel *cancel,
		    struct imp_daemon **out, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	K3_AUTO_BUF struct k3_buf answer = K3_BUF(GRPC_ANSWER_MAX);
	struct imp_daemon *d = k3_xcalloc(1, sizeof(*d));

	d->cancel = cancel;
	if (grpc_new(socket, cancel, &d->g, e) ||
	    grpc_call(d->g, SERVICE "version.v1.Version/Version", &m, &answer, CALL_MS, NULL, e)) {
		imp_daemon_close(d);
		return -1;
	}
	grpc_header(d->g, "containerd-namespace", ns);
	d->version = grpc_get_str((struct grpc_val){ answer.p, answer.len }, 1);
	*out = d;
	return 0;
}

void imp_daemon_close(struct imp_daemon *d)
{
	if (!d)
		return;
	grpc_free(d->g);
	free(d->version);
	free(d->lease);
	free(d);
}

struct grpc *imp_daemon_channel(struct imp_daemon *d)
{
	return d->g;
}

const char *imp_daemon_version(const struct imp_daemon *d)
{
	return d->version;
}

const char *imp_daemon_lease_id(const struct imp_daemon *d)
{
	return d->lease;
}

/* ---- calls -------------------------------------------------------------------------- */

/* An answer with its fields; release `buf`. */
struct answer {
	struct k3_buf buf;
	struct grpc_val val;
};

static void answer_release(struct answer *a)
{
	k3_buf_release(&a->buf);
}

#define AUTO_ANSWER __attribute__((cleanup(answer_release)))
#define ANSWER ((struct answer){ .buf = K3_BUF(GRPC_ANSWER_MAX) })

static int call(struct imp_daemon *d, const char *method, const struct grpc_msg *m,
		struct answer *a, unsigned ms, enum grpc_code *code, struct k3_err *e)
{
	if (grpc_call(d->g, method, m, &a->buf, ms, code, e))
		return -1;
	a->val = (struct grpc_val){ a->buf.p, a->buf.len };
	return grpc_check(a->val, e);
}

/* The same where the answer says nothing. */
static int tell(struct imp_daemon *d, const char *method, const struct grpc_msg *m, unsigned ms,
		enum grpc_code *code, struct k3_err *e)
{
	return grpc_call(d->g, method, m, NULL, ms, code, e);
}

static void put_digest(struct grpc_msg *m, unsigned field, const struct oci_digest *d)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(d, text);
	grpc_put_str(m, field, text);
}

int imp_daemon_ping(struct imp_daemon *d, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;

	return tell(d, SERVICE "version.v1.Version/Version", &m, CALL_MS, NULL, e);
}

/* ---- leases ------------------------------------------------------------------------- */

#define LEASES SERVICE "leases.v1.Leases/"

/* wait: until what it has kept is collected. */
static int delete_lease(struct imp_daemon *d, const char *id, bool wait, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	enum grpc_code code;

	grpc_put_str(&m, 1, id);
	grpc_put_u64(&m, 2, wait);
	if (!tell(d, LEASES "Delete", &m, wait ? COLLECT_MS : CALL_MS, &code, e) ||
	    code == GRPC_NOT_FOUND)
		return 0;
	return -1;
}

int imp_daemon_sweep(struct imp_daemon *d, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER struct answer a = ANSWER;
	struct grpc_val it, lease;

	if (call(d, LEASES "List", &m, &a, CALL_MS, NULL, e))
		return -1;
	it = a.val;
	while (grpc_each(&it, 1, &lease)) {
		K3_AUTO_FREE char *id = grpc_get_str(lease, 1);

		if (!strncmp(id, IMP_LEASE_PREFIX, strlen(IMP_LEASE_PREFIX)) &&
		    (!d->lease || strcmp(id, d->lease) != 0) && delete_lease(d, id, false, e))
			return -1;
	}
	return 0;
}

static char *new_lease_id(void)
{
	uint8_t random[12];
	char hex[2 * sizeof(random) + 1];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		struct timespec now;

		/* Before the kernel has gathered any randomness; it only needs to be new. */
		clock_gettime(CLOCK_REALTIME, &now);
		memcpy(random, &now.tv_nsec, 4);
		memcpy(random + 4, &now.tv_sec, 8);
	}
	k3_hex(random, sizeof(random), hex);
	return k3_xasprintf(IMP_LEASE_PREFIX "%s", hex);
}

/* RFC 3339, as Go's time.Parse takes it. */
static void expiry(char out[32])
{
	time_t at = time(NULL) + (time_t)IMP_LEASE_HOURS * 3600;
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

int imp_daemon_lease(struct imp_daemon *d, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	K3_AUTO_FREE char *id = NULL;
	char until[32];

	if (d->lease)
		return 0;
	id = new_lease_id();
	expiry(until);
	grpc_put_str(&m, 1, id);
	grpc_put_pair(&m, 3, LABEL_EXPIRE, until);
	if (tell(d, LEASES "Create", &m, CALL_MS, NULL, e))
		return -1;
	d->lease = K3_STEAL(id);
	grpc_header(d->g, "containerd-lease", d->lease);
	return 0;
}

static int hold(struct imp_daemon *d, const struct oci_digest *digest, const char *type,
		struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	size_t at;

	grpc_put_str(&m, 1, d->lease);
	at = grpc_open(&m, 2);
	put_digest(&m, 1, digest);
	grpc_put_str(&m, 2, type);
	grpc_close(&m, at);
	return tell(d, LEASES "AddResource", &m, CALL_MS, NULL, e);
}

int imp_daemon_hold_blob(struct imp_daemon *d, const struct oci_digest *digest, struct k3_err *e)
{
	return hold(d, digest, "content", e);
}

int imp_daemon_hold_chain(struct imp_daemon *d, const struct oci_digest *chain, struct k3_err *e)
{
	return hold(d, chain, "snapshots/" IMP_SNAPSHOTTER, e);
}

static int end_lease(struct imp_daemon *d, bool wait, struct k3_err *e)
{
	if (!d->lease)
		return 0;
	grpc_header(d->g, "containerd-lease", NULL);
	if (delete_lease(d, d->lease, wait, e)) {
		grpc_header(d->g, "containerd-lease", d->lease);
		return -1;
	}
	free(d->lease);
	d->lease = NULL;
	return 0;
}

int imp_daemon_release(struct imp_daemon *d, struct k3_err *e)
{
	return end_lease(d, false, e);
}

int imp_daemon_collect(struct imp_daemon *d, struct k3_err *e)
{
	return end_lease(d, true, e);
}

/* ---- content ------------------------------------------------------------------------ */

#define CONTENT SERVICE "content.v1.Content/"

/* The value that a label is to have, as new memory; NULL = it is right, or must stay as it is. */
static char *label_to_set(struct grpc_val info, const struct imp_label *l)
{
	bool found;
	struct grpc_val old = grpc_get_pair(info, 5, l->key, &found);
	char *list;

	if (!l->merge)
		return found && grpc_eq(old, l->value) ? NULL : k3_xstrdup(l->value);
	list = imp_list_add((const char *)old.p, old.n, l->value);
	/* containerd leaves a list as it is when it would grow too long. */
	if (list && strlen(l->key) + strlen(list) > IMP_LABEL_MAX) {
		free(list);
		return NULL;
	}
	return list;
}

static int update_labels(struct imp_daemon *d, const struct oci_desc *desc, struct grpc_val info,
			 const struct imp_labels *labels, bool *changed, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG, mask = GRPC_MSG;
	size_t at = grpc_open(&m, 1);
	size_t inner;
	bool any = false;

	put_digest(&m, 1, &desc->digest);
	for (size_t k = 0; k < labels->n; k++) {
		K3_AUTO_FREE char *value = label_to_set(info, &labels->v[k]);
		K3_AUTO_FREE char *path = NULL;

		if (!value)
			continue;
		any = true;
		path = k3_xasprintf("labels.%s", labels->v[k].key);
		grpc_put_pair(&m, 5, labels->v[k].key, value);
		grpc_put_str(&mask, 1, path);
	}
	grpc_close(&m, at);
	if (!any)
		return 0;
	if (grpc_done(&mask, e))
		return -1;
	inner = grpc_open(&m, 2);
	for (struct grpc_val it = { mask.buf.p, mask.buf.len }, path; grpc_each(&it, 1, &path);)
		grpc_put_bytes(&m, 1, path.p, path.n);
	grpc_close(&m, inner);
	*changed = true;
	return tell(d, CONTENT "Update", &m, CALL_MS, NULL, e);
}

int imp_daemon_label_blob(struct imp_daemon *d, const struct oci_desc *desc,
			  const struct imp_labels *labels, bool *found, bool *changed,
			  struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER struct answer a = ANSWER;
	enum grpc_code code;

	put_digest(&m, 1, &desc->digest);
	*found = !call(d, CONTENT "Info", &m, &a, CALL_MS, &code, e);
	if (!*found)
		return code == GRPC_NOT_FOUND ? 0 : -1;
	return update_labels(d, desc, grpc_get(a.val, 1), labels, changed, e);
}

enum { WRITE_STAT = 0, WRITE_DATA = 1, WRITE_COMMIT = 2 };

/* One Write stream: the blob, its reference, and what the daemon has of it. */
struct upload {
	struct grpc_stream *s;
	const struct oci_desc *desc;
	char *ref;
	uint64_t offset;
};

static void put_head(struct grpc_msg *m, const struct upload *u, unsigned action)
{
	grpc_put_u64(m, 1, action);
	grpc_put_str(m, 2, u->ref);
	grpc_put_u64(m, 3, u->desc->size);
	put_digest(m, 4, &u->desc->digest);
	grpc_put_u64(m, 5, u->offset);
}

/* Sends m and takes the answer. */
static int exchange(struct upload *u, const struct grpc_msg *m, enum grpc_code *code,
		    struct k3_err *e)
{
	K3_AUTO_BUF struct k3_buf answer = K3_BUF(GRPC_ANSWER_MAX);
	bool more;

	*code = GRPC_NONE;
	if (grpc_stream_send(u->s, m, e) || grpc_stream_receive(u->s, &answer, &more, code, e))
		return -1;
	if (!more)
		return k3_fail(e, K3_PROTO, "containerd ends a write before it is done");
	struct grpc_val val = { answer.p, answer.len };

	if (grpc_check(val, e))
		return -1;
	u->offset = grpc_get_u64(val, 4);
	return 0;
}

/* The daemon has collected the file, or keeps the blobs of its namespaces apart. */
static int upload_rest(struct upload *u, int fd, enum grpc_code *code, struct k3_err *e)
{
	K3_AUTO_FREE uint8_t *piece = k3_xcalloc(1, UPLOAD_PIECE);
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;

	while (u->offset < u->desc->size) {
		uint64_t from = u->offset, left = u->desc->size - from;
		ssize_t n = pread(fd, piece, left < UPLOAD_PIECE ? (size_t)left : UPLOAD_PIECE,
				  (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return k3_fail_sys(e, n ? errno : EIO, "cannot read the blob");
		grpc_reset(&m);
		put_head(&m, u, WRITE_DATA);
		grpc_put_bytes(&m, 6, piece, (size_t)n);
		if (exchange(u, &m, code, e))
			return -1;
		if (u->offset != from + (uint64_t)n)
			return k3_fail(e, K3_PROTO,
				       "containerd has %" PRIu64 " bytes after %" PRIu64, u->offset,
				       from + (uint64_t)n);
	}
	return 0;
}

static int commit_upload(struct upload *u, const struct imp_labels *labels, enum grpc_code *code,
			 struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	K3_AUTO_BUF struct k3_buf answer = K3_BUF(GRPC_ANSWER_MAX);
	bool more = true;

	put_head(&m, u, WRITE_COMMIT);
	for (size_t k = 0; k < labels->n; k++)
		grpc_put_pair(&m, 7, labels->v[k].key, labels->v[k].value);
	if (exchange(u, &m, code, e) || grpc_stream_end_send(u->s, e))
		return -1;
	/* The answer to a commit comes twice. */
	while (more)
		if (grpc_stream_receive(u->s, &answer, &more, code, e))
			return -1;
	return 0;
}

static int try_write(struct imp_daemon *d, struct upload *u, const struct imp_labels *labels,
		     int fd, enum grpc_code *code, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	int rc;

	*code = GRPC_NONE;
	u->offset = 0;
	if (grpc_stream_open(d->g, CONTENT "Write", COMMIT_MS, &u->s, e))
		return -1;
	put_head(&m, u, WRITE_STAT);
	rc = exchange(u, &m, code, e) || upload_rest(u, fd, code, e) ||
	     commit_upload(u, labels, code, e);
	grpc_stream_free(u->s);
	u->s = NULL;
	return rc ? -1 : 0;
}

int imp_daemon_add_blob(struct imp_daemon *d, const struct oci_desc *desc,
			const struct imp_labels *labels, int fd, bool *existed, struct k3_err *e)
{
	char text[OCI_DIGEST_TEXT_MAX];
	struct upload u = { .desc = desc };
	enum grpc_code code = GRPC_NONE;
	int rc;

	oci_digest_format(&desc->digest, text);
	/* Of this run: an ingest that somebody else has begun may be locked for long. */
	u.ref = k3_xasprintf("%s-%s", d->lease, text);
	*existed = false;
	for (int k = 0;; k++) {
		rc = try_write(d, &u, labels, fd, &code, e);
		if (!rc || code != GRPC_UNAVAILABLE || k == BUSY_TRIES ||
		    k3_cancel_sleep(d->cancel, BUSY_MS, e))
			break;
	}
	free(u.ref);
	if (rc && code == GRPC_ALREADY_EXISTS) {
		*existed = true;
		return 0;
	}
	return rc ? k3_wrap(e, "blob %s", text) : 0;
}

/* ---- snapshots ---------------------------------------------------------------------- */

#define SNAPSHOTS SERVICE "snapshots.v1.Snapshots/"

/* The name of a snapshot of ours that is not committed. */
static char *active_key(const struct imp_daemon *d, const struct oci_digest *chain)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(chain, text);
	return k3_xasprintf("%s %s", d->lease, text);
}

static void put_snapshot_label(struct grpc_msg *m, const struct oci_digest *chain)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(chain, text);
	grpc_put_pair(m, 4, IMP_LABEL_SNAPSHOT_REF, text);
}

/* The number at the end of ".../snapshots/<number>". */
static int directory_number(struct grpc_val mount, uint64_t *id, struct k3_err *e)
{
	K3_AUTO_FREE char *source = grpc_get_str(mount, 2);
	const char *base = strrchr(source, '/');
	char *end = NULL;

	errno = 0;
	if (base && base[1] >= '0' && base[1] <= '9')
		*id = strtoull(base + 1, &end, 10);
	if (end && !*end && !errno && *id)
		return 0;
	return k3_fail(e, K3_PROTO, "the native snapshotter gives \"%s\" for a directory", source);
}

int imp_daemon_prepare(struct imp_daemon *d, const struct oci_digest *chain, uint64_t *id,
		       bool *exists, struct k3_err *e)
{
	K3_AUTO_FREE char *key = active_key(d, chain);
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER struct answer a = ANSWER;
	enum grpc_code code;

	grpc_put_str(&m, 1, IMP_SNAPSHOTTER);
	grpc_put_str(&m, 2, key);
	/* With this label containerd looks for the snapshot that it names first. */
	put_snapshot_label(&m, chain);
	*exists = false;
	if (!call(d, SNAPSHOTS "Prepare", &m, &a, CALL_MS, &code, e))
		return directory_number(grpc_get(a.val, 1), id, e);
	if (code != GRPC_ALREADY_EXISTS)
		return -1;
	*exists = true;
	return 0;
}

int imp_daemon_commit(struct imp_daemon *d, const struct oci_digest *chain, bool *exists,
		      struct k3_err *e)
{
	K3_AUTO_FREE char *key = active_key(d, chain);
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	enum grpc_code code;

	grpc_put_str(&m, 1, IMP_SNAPSHOTTER);
	put_digest(&m, 2, chain);
	grpc_put_str(&m, 3, key);
	put_snapshot_label(&m, chain);
	*exists = false;
	if (!tell(d, SNAPSHOTS "Commit", &m, COMMIT_MS, &code, e))
		return 0;
	if (code != GRPC_ALREADY_EXISTS)
		return -1;
	*exists = true;
	return imp_daemon_unprepare(d, chain, e) || imp_daemon_hold_chain(d, chain, e) ? -1 : 0;
}

int imp_daemon_unprepare(struct imp_daemon *d, const struct oci_digest *chain, struct k3_err *e)
{
	K3_AUTO_FREE char *key = active_key(d, chain);
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;

	grpc_put_str(&m, 1, IMP_SNAPSHOTTER);
	grpc_put_str(&m, 2, key);
	return tell(d, SNAPSHOTS "Remove", &m, COMMIT_MS, NULL, e);
}

int imp_daemon_has_chain(struct imp_daemon *d, const struct oci_digest *chain, bool *has,
			 struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER struct answer a = ANSWER;
	enum grpc_code code;

	grpc_put_str(&m, 1, IMP_SNAPSHOTTER);
	put_digest(&m, 2, chain);
	*has = !call(d, SNAPSHOTS "Stat", &m, &a, CALL_MS, &code, e);
	if (!*has)
		return code == GRPC_NOT_FOUND ? 0 : -1;
	*has = grpc_get_u64(grpc_get(a.val, 1), 3) == IMP_KIND_COMMITTED;
	return 0;
}

/* ---- nothing in particular ---------------------------------------------------------- */

int imp_daemon_stir(struct imp_daemon *d, int fd, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	const struct imp_labels none = { 0 };
	size_t n = strlen(d->lease);
	struct oci_desc desc = { .size = n };
	enum grpc_code code;
	bool existed;
	uint64_t id;

	/* Its name is new, and so is a blob made of it. */
	oci_digest_of(K3_SHA256, d->lease, n, &desc.digest);
	if (k3_pwrite_all(fd, d->lease, n, 0, "temporary file", e) ||
	    imp_daemon_add_blob(d, &desc, &none, fd, &existed, e))
		return -1;
	put_digest(&m, 1, &desc.digest);
	if (tell(d, CONTENT "Delete", &m, CALL_MS, &code, e) && code != GRPC_NOT_FOUND)
		return -1;
	return imp_daemon_prepare(d, &desc.digest, &id, &existed, e) ||
			       imp_daemon_unprepare(d, &desc.digest, e)
		       ? -1
		       : 0;
}

/* ---- images ------------------------------------------------------------------------- */

#define IMAGES SERVICE "images.v1.Images/"

static void put_target(struct grpc_msg *m, const struct oci_desc *target)
{
	size_t at = grpc_open(m, 3);

	grpc_put_str(m, 1, target->media_text);
	put_digest(m, 2, &target->digest);
	grpc_put_u64(m, 3, target->size);
	grpc_close(m, at);
}

static bool same_target(struct grpc_val have, const struct oci_desc *want)
{
	char text[OCI_DIGEST_TEXT_MAX];

	oci_digest_format(&want->digest, text);
	return grpc_eq(grpc_get(have, 1), want->media_text) && grpc_eq(grpc_get(have, 2), text) &&
	       grpc_get_u64(have, 3) == want->size;
}

static bool has_label(struct grpc_val image, const char *key, const char *value)
{
	bool found;
	struct grpc_val have = grpc_get_pair(image, 2, key, &found);

	return found && grpc_eq(have, value);
}

static int create_image(struct imp_daemon *d, const char *name, const struct oci_desc *target,
			bool pin, enum grpc_code *code, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	size_t at = grpc_open(&m, 1);

	grpc_put_str(&m, 1, name);
	grpc_put_pair(&m, 2, IMP_LABEL_MANAGED, "managed");
	if (pin)
		grpc_put_pair(&m, 2, IMP_LABEL_PINNED, "pinned");
	put_target(&m, target);
	grpc_close(&m, at);
	return tell(d, IMAGES "Create", &m, CALL_MS, code, e);
}

static int update_image(struct imp_daemon *d, const char *name, const struct oci_desc *target,
			bool pin, enum grpc_code *code, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	size_t at = grpc_open(&m, 1);

	grpc_put_str(&m, 1, name);
	grpc_put_pair(&m, 2, IMP_LABEL_MANAGED, "managed");
	if (pin)
		grpc_put_pair(&m, 2, IMP_LABEL_PINNED, "pinned");
	put_target(&m, target);
	grpc_close(&m, at);
	/* Only these: other labels are somebody else's. */
	at = grpc_open(&m, 2);
	grpc_put_str(&m, 1, "target");
	grpc_put_str(&m, 1, "labels." IMP_LABEL_MANAGED);
	if (pin)
		grpc_put_str(&m, 1, "labels." IMP_LABEL_PINNED);
	grpc_close(&m, at);
	return tell(d, IMAGES "Update", &m, CALL_MS, code, e);
}

/* One try; *again: somebody made or removed the record between two calls. */
static int set_image(struct imp_daemon *d, const char *name, const struct oci_desc *target,
		     bool pin, bool *changed, bool *again, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER struct answer a = ANSWER;
	enum grpc_code code;

	*again = false;
	grpc_put_str(&m, 1, name);
	if (call(d, IMAGES "Get", &m, &a, CALL_MS, &code, e)) {
		if (code != GRPC_NOT_FOUND)
			return -1;
		*changed = true;
		if (!create_image(d, name, target, pin, &code, e))
			return 0;
		*again = code == GRPC_ALREADY_EXISTS;
		return -1;
	}
	struct grpc_val image = grpc_get(a.val, 1);

	if (same_target(grpc_get(image, 3), target) &&
	    has_label(image, IMP_LABEL_MANAGED, "managed") &&
	    (!pin || has_label(image, IMP_LABEL_PINNED, "pinned")))
		return 0;
	*changed = true;
	if (!update_image(d, name, target, pin, &code, e))
		return 0;
	*again = code == GRPC_NOT_FOUND;
	return -1;
}

#define IMAGE_TRIES 10

int imp_daemon_image(struct imp_daemon *d, const char *name, const struct oci_desc *target,
		     bool pin, bool *changed, struct k3_err *e)
{
	bool again = true;
	int rc = -1;

	for (int k = 0; rc && again && k < IMAGE_TRIES; k++)
		rc = set_image(d, name, target, pin, changed, &again, e);
	return rc ? k3_wrap(e, "image record %s", name) : 0;
}

int imp_daemon_pin_image(struct imp_daemon *d, const char *name, const struct oci_desc *target,
			 bool pin, bool *found, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	size_t at = grpc_open(&m, 1);
	enum grpc_code code;

	grpc_put_str(&m, 1, name);
	/* A label that the mask names and the image has not is removed. */
	if (pin)
		grpc_put_pair(&m, 2, IMP_LABEL_PINNED, "pinned");
	/* Not in the mask, but containerd 2.1 ends itself (nil pointer) on an image without. */
	put_target(&m, target);
	grpc_close(&m, at);
	at = grpc_open(&m, 2);
	grpc_put_str(&m, 1, "labels." IMP_LABEL_PINNED);
	grpc_close(&m, at);
	*found = !tell(d, IMAGES "Update", &m, CALL_MS, &code, e);
	return *found || code == GRPC_NOT_FOUND ? 0 : k3_wrap(e, "image record %s", name);
}

int imp_daemon_drop_image(struct imp_daemon *d, const char *name, bool *found, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	enum grpc_code code;

	grpc_put_str(&m, 1, name);
	*found = !tell(d, IMAGES "Delete", &m, CALL_MS, &code, e);
	return *found || code == GRPC_NOT_FOUND ? 0 : k3_wrap(e, "image record %s", name);
}
