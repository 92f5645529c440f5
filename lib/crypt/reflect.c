/* SPDX-License-Identifier: MIT */

/*
 * What this process has sealed and somebody sends back.  Both ends of a tunnel have one key, and nothing in a datagram
 * says which way it goes: it opens where it came from, and its segments look like the peer's.
 *
 * Nothing needs to be remembered: the nonce, which nobody can change without the key where a block of CFB is as long as
 * it, is a counter under a key of our own (nonce.c).  A stranger's decrypts to one of ours with a chance of 2^-57.
 */

#include <string.h>

#include "crypt_int.h"

bool crypt_knows_own(const struct crypt *c)
{
	return c->side != CRYPT_SIDE_NONE && c->ops->nonce == CRYPT_NONCE_SECRET && c->ops->mark_at == 0 &&
	       c->ops->mark_len == CRYPT_NONCE_LEN;
}

void crypt_set_side(struct crypt *c, enum crypt_side side)
{
	c->side = (uint8_t)side;
}

static void reflected(struct crypt_mb *mb, struct pkt *v, unsigned n)
{
	uint8_t(*block)[CRYPT_NONCE_LEN] = (void *)mb->stream;
	struct pkt *of[CRYPT_BURST];
	unsigned m = 0;

	for (unsigned i = 0; i < n; i++) {
		if (v[i].verdict != VERDICT_OK || !crypt_knows_own(v[i].crypt))
			continue;
		memcpy(block[m], v[i].p - CRYPT_HEAD_LEN, CRYPT_NONCE_LEN);
		of[m++] = &v[i];
	}
	if (!m)
		return;
	crypt_ecb_back(mb->mgr, mb->nonces.dec, block[0], block[0], m * CRYPT_NONCE_LEN);
	for (unsigned i = 0; i < m; i++)
		if (crypt_nonce_was(block[i], of[i]->crypt->side))
			of[i]->verdict = DROP_REFLECTED;
}

void crypt_reflected(struct crypt_mb *mb, struct pkt *v, unsigned n)
{
	for (; n > CRYPT_BURST; v += CRYPT_BURST, n -= CRYPT_BURST)
		reflected(mb, v, CRYPT_BURST);
	reflected(mb, v, n);
}
