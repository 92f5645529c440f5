/* SPDX-License-Identifier: MIT */

/*
 * Nonces without a system call a packet.  The receiver never looks at a nonce, but it is the first CFB block: what
 * follows is as secret as that block is unpredictable, and as safe from repetition as it is unique.  A counter under a
 * secret AES key is both, since encryption is a permutation of the counters.
 */

#include "crypt_int.h"

void crypt_nonces_fill(struct crypt_nonces *g, IMB_MGR *mgr)
{
	for (unsigned i = 0; i < sizeof(g->buf) / sizeof(g->buf[0]); i++) {
		le64_put(g->buf[i], g->count++);
		le64_put(g->buf[i] + 8, 0);
	}
	crypt_ecb(mgr, g->enc, 32, g->buf[0], g->buf[0], sizeof(g->buf));
	g->at = 0;
}

void crypt_nonces_init(struct crypt_nonces *g, IMB_MGR *mgr, const uint8_t seed[32])
{
	crypt_expand(mgr, seed, 32, g->enc);
	g->count = 0;
	crypt_nonces_fill(g, mgr);
}
