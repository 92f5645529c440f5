/* SPDX-License-Identifier: MIT */

/*
 * Nonces without a system call a packet.  The receiver never looks at them.
 *
 * In the 20-byte header family the nonce is the first CFB block: what follows is as secret as that block is
 * unpredictable, and as safe from repetition as it is unique.  A counter under a secret AES key is both, since
 * encryption is a permutation of the counters.
 *
 * aes-128-gcm lives on never repeating a nonce under one key, and a passphrase outlives the process.  Its nonces are
 *
 *	count (7 bytes) | worker (1 byte) | process (4 bytes)
 *
 * where count starts at the wall clock in units of 1/32 us and goes up by one a packet.  No worker sends a packet every
 * 31 ns for long, so count stays behind the clock, and a later start begins above all that an earlier one used: worker
 * by worker, nonces cannot repeat over restarts while the clock is not set back (7 bytes come round in 71 years).
 * Workers of one process differ in their byte, processes that run at the same time on one host in their process ids (22
 * bits on Linux), which `process` carries.  Its other 10 bits are random, made anew at every start: they help against
 * what is left to chance, namely other hosts with the same passphrase and starts before a clock was set back; those
 * would also have to have the same process id and be at the same count.
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

#define COUNT_PER_US   32
#define PROCESS_RANDOM 10 /* bits */
#define COUNT_MASK     ((UINT64_C(1) << 56) - 1)

static_assert(CRYPT_WORKERS <= 256, "a worker is one byte of the nonce");
static_assert(CRYPT_GCM_NONCE == 12, "count, worker and process fill the nonce");

void crypt_counted_init(struct crypt_counted *t, struct crypt_nonces *g, IMB_MGR *mgr, uint64_t now_us, unsigned worker,
			uint32_t pid)
{
	uint8_t block[CRYPT_NONCE_LEN] = {[8] = 1}; /* beyond all counters of crypt_nonces_fill */

	crypt_ecb(mgr, g->enc, 32, block, block, sizeof(block));
	t->count = now_us * COUNT_PER_US;
	t->process = pid << PROCESS_RANDOM | (le32_get(block) & ((1u << PROCESS_RANDOM) - 1));
	t->worker = (uint8_t)worker;
}

void crypt_counted_put(struct crypt_counted *t, uint8_t nonce[CRYPT_GCM_NONCE])
{
	le64_put(nonce, (t->count++ & COUNT_MASK) | (uint64_t)t->worker << 56);
	le32_put(nonce + 8, t->process);
}
