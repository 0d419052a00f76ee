/* SPDX-License-Identifier: Apache-2.0 */
/* Private to oci/: reading the JSON documents member by member, with messages that name it. */
#ifndef K3_OCI_JSON_H
#define K3_OCI_JSON_H

#include "base/json.h"
#include "oci/oci.h"

#define OCI_WHERE_MAX 48 /* "manifests[9999].platform" */

/* Parses a document that must be an object of at most OCI_DOCUMENT_MAX bytes. */
K3_MUST int oci_json_open(const void *json, size_t n, struct k3_json_doc **out, struct k3_err *e);

/* The member, or NULL when it is absent or null. */
const struct k3_json *oci_json_member(const struct k3_json *obj, const char *key);

/*
 * Optional string member; *out = NULL when absent.  where is the path of obj ("" at the top),
 * for the message.  K3_FORMAT when it is no string.
 */
K3_MUST int oci_json_str(const struct k3_json *obj, const char *where, const char *key,
			 const char **out, struct k3_err *e);

/* Array member; *out = NULL (length 0) for null.  K3_FORMAT when absent or no array. */
K3_MUST int oci_json_arr(const struct k3_json *obj, const char *where, const char *key,
			 const struct k3_json **out, struct k3_err *e);

/*
 * Object member; *out = NULL when absent or null.  K3_FORMAT when it is something else.
 */
K3_MUST int oci_json_obj(const struct k3_json *obj, const char *where, const char *key,
			 const struct k3_json **out, struct k3_err *e);

/*
 * Reads a descriptor.  The digest is read last: on K3_UNSUPPORTED (its algorithm) all else of
 * *out is filled.  K3_FORMAT, K3_LIMIT (media type too long).
 */
K3_MUST int oci_json_desc(const struct k3_json *v, const char *where, struct oci_desc *out,
			  struct k3_err *e);

/*
 * Checks that a document which should be an index (or else a manifest) is none of the other
 * kinds, by its mediaType, its schemaVersion and its members.  K3_FORMAT, K3_UNSUPPORTED.
 */
K3_MUST int oci_json_check_kind(const struct k3_json *root, bool index, struct k3_err *e);

#endif
