/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken back when a commit fails, and what is not when nobody knows how it ended. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "bolt/db.h"
#include "importer/content.h"
#include "importer/root.h"
#include "importer/schema.h"
#include "importer/undo.h"

static const char text[] = "{\"a\":\"document\"}";

static int write_file(int dir, const char *name, const char *bytes)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : write(fd, bytes, strlen(bytes));

	return fd < 0 || close(fd) || n != (ssize_t)strlen(bytes) ? -1 : 0;
}

/* Places one blob and lets imp_undo deal with it; where it is afterwards. */
static void undo_with(bool unknown, bool *stored, bool *staged)
{
	struct imp_opts o = { .root = unit_tmpdir(), .ns = "k8s.io", .write = true };
	struct oci_desc d = { .media = OCI_MEDIA_MANIFEST, .size = strlen(text) };
	char path[IMP_PATH_MAX], name[IMP_PATH_MAX];
	struct imp *i = NULL;
	struct imp_dbs dbs;
	struct k3_err err;

	oci_digest_of(K3_SHA256, text, strlen(text), &d.digest);
	imp_blob_path(&d.digest, path);
	imp_stage_name(&d.digest, name);
	OK(imp_open(&o, &i, &err));
	OK(imp_blob_put(i, &d, text, strlen(text), &err));
	OK(imp_make_dirs(i, IMP_META_DIR, &err));
	OK(imp_make_dirs(i, IMP_CONTENT_DIR "/blobs/sha256", &err));
	OK(imp_dbs_open(i, IMP_DBS_WRITE, IMP_PATIENCE_MS, &dbs, &err));
	OK(imp_blob_place(i, imp_staged_find(i, &d.digest), &d, &err));
	EQ_INT(faccessat(i->blobsfd, name, F_OK, 0), -1);
	dbs.meta->failed = unknown;
	imp_undo(i, &dbs, NULL, 0);
	*stored = !faccessat(i->rootfd, path, F_OK, 0);
	*staged = !faccessat(i->blobsfd, name, F_OK, 0);
	imp_dbs_close(&dbs);
	imp_close(i, false);
}

TEST(failed_commit_takes_its_blobs_back)
{
	bool stored, staged;

	undo_with(false, &stored, &staged);
	CHECK(!stored && staged);
}

/* meta.db may be in the new state, which refers to the blob. */
TEST(commit_of_unknown_end_leaves_its_blobs)
{
	bool stored, staged;

	undo_with(true, &stored, &staged);
	CHECK(stored && !staged);
}

/* A new database that was cut off is in staging, where it does no harm and is swept. */
TEST(new_database_is_placed_when_complete)
{
	const char *root = unit_tmpdir();
	struct imp_opts o = { .root = root, .ns = "k8s.io", .write = true };
	struct imp *i = NULL;
	struct imp_dbs dbs;
	struct k3_err err;

	OK(imp_open(&o, &i, &err));
	EQ_INT(write_file(i->stagefd, "meta.db", "half of a page"), 0);
	OK(imp_make_dirs(i, IMP_META_DIR, &err));
	OK(imp_dbs_open(i, IMP_DBS_WRITE, IMP_PATIENCE_MS, &dbs, &err));
	CHECK(dbs.meta && !dbs.native);
	imp_dbs_close(&dbs);
	EQ_INT(faccessat(i->stagefd, "meta.db", F_OK, 0), -1);
	/* Left by a run that found its name taken, or was killed before it could look. */
	EQ_INT(write_file(i->stagefd, "meta.db", "half of a page"), 0);
	EQ_INT(write_file(i->stagefd, "metadata.db", ""), 0);
	imp_close(i, true);
	i = NULL;
	OK(imp_open(&o, &i, &err));
	OK(imp_dbs_open(i, IMP_DBS_WRITE, IMP_PATIENCE_MS, &dbs, &err));
	CHECK(dbs.meta);
	imp_dbs_close(&dbs);
	imp_close(i, false);
	char stage[512];

	snprintf(stage, sizeof(stage), "%s/" IMP_STAGE_DIR, root);
	EQ_INT(access(stage, F_OK), -1);
}

UNIT_MAIN
