/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor [-i] FILE...: the least work on gzip blobs that ends in verified content, on one thread:
 * read each file, SHA-256 of what it holds, inflate by ISA-L, SHA-256 of the result.  With -i
 * inflate only.  Nothing is written but one line a file: digest of the blob, digest and size of
 * the tar.  Uses ISA-L and OpenSSL directly and none of k3simg's code.
 */
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (256 * 1024)

struct sums {
	EVP_MD_CTX *blob, *tar;
	bool hash;
	unsigned long long bytes;
};

static void add(const struct sums *s, EVP_MD_CTX *ctx, const void *p, size_t n)
{
	if (s->hash && !EVP_DigestUpdate(ctx, p, n))
		abort();
}

/* Inflates what is in `state`; at the end of a gzip member the next one begins. */
static int inflate_piece(struct inflate_state *state, uint8_t *out, struct sums *s)
{
	do {
		int rc;

		if (state->block_state == ISAL_BLOCK_FINISH) {
			if (!state->avail_in)
				return 0;
			isal_inflate_reset(state);
			state->crc_flag = ISAL_GZIP;
		}
		state->next_out = out;
		state->avail_out = PIECE;
		rc = isal_inflate(state);
		if (rc != ISAL_DECOMP_OK)
			return rc;
		add(s, s->tar, out, PIECE - state->avail_out);
		s->bytes += PIECE - state->avail_out;
	} while (state->avail_in || !state->avail_out);
	return 0;
}

static int one(int fd, struct inflate_state *state, struct sums *s)
{
	static uint8_t in[PIECE], out[PIECE];
	ssize_t n;

	isal_inflate_init(state);
	state->crc_flag = ISAL_GZIP;
	while ((n = read(fd, in, sizeof(in))) > 0) {
		add(s, s->blob, in, (size_t)n);
		state->next_in = in;
		state->avail_in = (uint32_t)n;
		if (inflate_piece(state, out, s))
			return -1;
	}
	return n || state->block_state != ISAL_BLOCK_FINISH ? -1 : 0;
}

static void print(EVP_MD_CTX *ctx)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned int n;

	if (!EVP_DigestFinal_ex(ctx, sum, &n))
		abort();
	for (unsigned int k = 0; k < n; k++)
		printf("%02x", sum[k]);
	putchar(' ');
}

int main(int argc, char **argv)
{
	struct sums s = { EVP_MD_CTX_new(), EVP_MD_CTX_new(), true, 0 };
	struct inflate_state *state = malloc(sizeof(*state));
	int k = 1;

	if (argc > 1 && !strcmp(argv[1], "-i")) {
		s.hash = false;
		k++;
	}
	if (!state || !s.blob || !s.tar)
		return 1;
	for (; k < argc; k++) {
		int fd = open(argv[k], O_RDONLY | O_CLOEXEC);

		s.bytes = 0;
		if (!EVP_DigestInit_ex(s.blob, EVP_sha256(), NULL) ||
		    !EVP_DigestInit_ex(s.tar, EVP_sha256(), NULL))
			return 1;
		if (fd < 0 || one(fd, state, &s)) {
			fprintf(stderr, "floor: %s: cannot be read as gzip\n", argv[k]);
			return 1;
		}
		close(fd);
		print(s.blob);
		print(s.tar);
		printf("%llu\n", s.bytes);
	}
	EVP_MD_CTX_free(s.blob);
	EVP_MD_CTX_free(s.tar);
	free(state);
	return 0;
}
