/* SPDX-License-Identifier: MIT */

/*
 * CFB sealing for ciphers whose implementation does many blocks of one key at a time.  Within a packet each block waits
 * for the one before, so the packets of a burst advance abreast, one block each a step.
 */

#include <string.h>

#include "crypt_int.h"

#define FORM static inline __attribute__((always_inline))

struct lane {
	uint8_t *p; /* next block */
	uint32_t left;
};

/* The blocks just sealed, and their keystream behind them; ecb may use one block more of the first. */
#define X_ROOM ((CRYPT_BURST + 4) * CRYPT_BLOCK)
static_assert(2 * X_ROOM <= CRYPT_STREAM, "both fit in the scratch");

/* Seals one block of each lane and drops the lanes that end, whose places the last ones take.  Returns how many go on,
 * the blocks of those in x. */
FORM unsigned step(struct lane *lane, unsigned n, uint8_t *x, uint8_t *s, unsigned block)
{
	unsigned i = 0;

	while (i < n) {
		struct lane *l = &lane[i];
		uint64_t a[2] = {0}, b[2] = {0};

		if (l->left <= block) {
			for (uint32_t k = 0; k < l->left; k++)
				l->p[k] ^= s[i * block + k];
			n--;
			lane[i] = lane[n];
			memcpy(s + (size_t)i * block, s + (size_t)n * block, block);
			continue;
		}
		memcpy(a, l->p, block);
		memcpy(b, s + (size_t)i * block, block);
		a[0] ^= b[0];
		a[1] ^= b[1];
		memcpy(l->p, a, block);
		memcpy(x + (size_t)i * block, a, block);
		l->p += block;
		l->left -= block;
		i++;
	}
	return n;
}

FORM int seal(struct crypt_mb *mb, void *key, struct pkt **v, unsigned n, const struct crypt_lanes *how,
	      const uint8_t *y0, unsigned block)
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;
	uint8_t *x = mb->stream, *s = mb->stream + X_ROOM;
	struct lane lane[CRYPT_BURST];

	for (unsigned i = 0; i < n; i++) {
		lane[i] = (struct lane){v[i]->p, v[i]->n};
		memcpy(s + (size_t)i * block, y0, block);
	}
	if (n == 1 && how->rest)
		return how->rest(key, iv, lane[0].p, lane[0].left);
	while ((n = step(lane, n, x, s, block)) > 0) {
		int rc;

		if (n == 1 && how->rest)
			return how->rest(key, x, lane[0].p, lane[0].left);
		rc = how->ecb(mb, key, x, s, n);
		if (rc)
			return rc;
	}
	return 0;
}

void crypt_lanes_seal(struct crypt_mb *mb, void *key, struct pkt **v, unsigned n, const struct crypt_lanes *how,
		      const uint8_t *y0)
{
	int rc;

	for (unsigned i = 0; i < n; i++)
		crypt_crc_put(v[i]->p, v[i]->n);
	/* Each block size has a body of its own, with the size a constant. */
	rc = how->block == 8 ? seal(mb, key, v, n, how, y0, 8) : seal(mb, key, v, n, how, y0, CRYPT_BLOCK);
	if (rc)
		crypt_blank(v, n);
}
