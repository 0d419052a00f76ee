/* SPDX-License-Identifier: Apache-2.0 */
/* Private to oci/. */
#ifndef K3_OCI_PLATFORM_H
#define K3_OCI_PLATFORM_H

#include "oci/oci.h"

/*
 * Fills *out with the platform that a document means by these three texts (none NULL, os ""
 * means linux): lower case, aliases that containerd knows replaced, each part cut to
 * OCI_PLATFORM_PART_MAX - 1 bytes.
 */
void oci_platform_normal(const char *os, const char *arch, const char *variant,
			 struct oci_platform *out);

#endif
