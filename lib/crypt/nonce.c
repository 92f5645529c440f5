/* SPDX-License-Identifier: MIT */

/*
 * Nonces without a system call a packet.  The receiver never looks at them.
 *
 * In the 20-byte header family the nonce is the first CFB block: what follows is as secret as that block is
 * unpredictable, and as safe from repetition as it is unique.  A counter under a secret AES key is both, since
 * encryption is a permutation of the counters.  Workers of a process share the key, and differ in a byte of what is
 * counted: so whichever of them meets a nonce knows it for the process's own, and which end of a tunnel it was sealed
 * at, by a block's decryption and without a memory of what was sent (reflect.c).
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

/* The block: count (8 bytes) | side | worker | zeros. */
void crypt_nonces_fill(struct crypt_nonces *g, IMB_MGR *mgr, unsigned side)
{
	uint8_t(*buf)[CRYPT_NONCE_LEN] = g->buf[side];

	for (unsigned i = 0; i < CRYPT_POOL; i++) {
		le64_put(buf[i], g->count++);
		le64_put(buf[i] + 8, side | (uint64_t)g->worker << 8);
	}
	crypt_ecb(mgr, g->enc, 32, buf[0], buf[0], sizeof(g->buf[side]));
	g->at[side] = 0;
}

bool crypt_nonce_was(const uint8_t block[CRYPT_NONCE_LEN], unsigned side)
{
	uint64_t high = le64_get(block + 8);

	return (high & 0xff) == side && high >> 8 < CRYPT_WORKERS;
}

void crypt_nonces_init(struct crypt_nonces *g, IMB_MGR *mgr, const uint8_t seed[32], unsigned worker)
{
	crypt_expand_both(mgr, seed, g->enc, g->dec);
	g->count = 0;
	g->worker = (uint8_t)worker;
	for (unsigned side = 0; side < CRYPT_SIDES; side++)
		g->at[side] = CRYPT_POOL;
}

#define COUNT_PER_US   32
#define PROCESS_RANDOM 10 /* bits */
#define COUNT_MASK     ((UINT64_C(1) << 56) - 1)

static_assert(CRYPT_WORKERS <= 256, "a worker is one byte of the nonce");
static_assert(CRYPT_GCM_NONCE == 12, "count, worker and process fill the nonce");

void crypt_counted_init(struct crypt_counted *t, struct crypt_nonces *g, IMB_MGR *mgr, uint64_t now_us, unsigned worker,
			uint32_t pid)
{
	/* None of crypt_nonces_fill's. */
	uint8_t block[CRYPT_NONCE_LEN] = {[9] = (uint8_t)worker, [10] = 1};

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
