/* SPDX-License-Identifier: Apache-2.0 */
/* How a refused attribute is told.  Private to pipeline/. */
#ifndef K3_PIPELINE_LOSSES_H
#define K3_PIPELINE_LOSSES_H

#include "unpack/unpack.h"

/* "<path>: extended attribute <what> was refused: <why>" into out->msg. */
static inline void loss_text(enum unpack_loss_kind kind, const char *path, const char *what,
			     int errnum, struct k3_err *out)
{
	const char *name = "attribute";

	switch (kind) {
	case UNPACK_LOSS_XATTR:
		name = "extended attribute";
		break;
	case UNPACK_LOSS_DEVICE:
		name = "device node";
		break;
	case UNPACK_LOSS_OWNER:
		name = "owner";
		break;
	}
	k3_fail_sys(out, errnum, "%s: %s %s was refused", path, name, what);
}

#endif
