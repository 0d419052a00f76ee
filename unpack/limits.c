/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/unpack.h"

const struct unpack_limits unpack_limits_default = {
	/* The largest layers in public registries (machine-learning models) are below 32 GiB. */
	.bytes = 128ull << 30,
	/*
	 * A texlive or conda image has about 300,000 files in one layer.  8 to 16 bytes of memory
	 * per entry are kept, so this also bounds memory.
	 */
	.entries = 2000000,
	/* What Go's archive/tar, and with it containerd, reads at most. */
	.pax_bytes = 1u << 20,
	/* Four values of the kernel's XATTR_SIZE_MAX; images use a few hundred bytes. */
	.xattr_bytes = 256u << 10,
	/* PATH_MAX: containerd addresses files by path, so nothing longer could be used. */
	.path_bytes = 4096,
	/*
	 * Opaque markers, copy-ups and symlinks make work that grows with the tree and not with the
	 * layer.  Real layers stay below a few million; this many take some minutes.
	 */
	.steps = 1u << 28,
	/* deflate cannot do more than 1032; zstd could go to 32,000 and fill a disk from one
	   packet. */
	.ratio = 1100,
	/* Small enough to be no harm, large enough for a disk image or log full of zeros. */
	.ratio_from = 1u << 30,
	/* What the zstd tool accepts unasked (128 MiB); frames of common levels need 8 MiB. */
	.zstd_window_log = 27,
};
