/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the store, taken away. */
#ifndef K3_IMPORTER_REMOVE_H
#define K3_IMPORTER_REMOVE_H

#include "importer/root.h"

/*
 * Removes a file, or moves a directory aside as `number`, in one step; gone already is success.
 */
K3_MUST int imp_remove_file(struct imp *i, const char *path, size_t number, struct k3_err *e);
/* Removes what lies aside; a failure does not keep the others from it. */
K3_MUST int imp_empty_aside(struct imp *i, struct k3_err *e);

#endif
