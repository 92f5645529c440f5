/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Quantum permutation pads, wire.md section 7: a byte permutation over the payload of each smux stream, above smux and
 * below TCP.  Pads are derived once from key and count and shared by all; a stream has one generator a direction, which
 * always starts at the same state, so that it obscures rather than encrypts: the cipher's work it does not do.
 */

#include <stdint.h>

#include "limit.h"

#define QPP_COUNT_MIN LIMIT_QPP_MIN
#define QPP_COUNT_MAX LIMIT_QPP_MAX

struct qpp_pads; /* immutable; any thread may use it */

/* Where one direction of one stream is: 48 bytes, copied to go back to it later. */
struct qpp_prng {
	uint64_t s[4]; /* xoshiro256** */
	uint64_t word; /* its latest output */
	uint32_t used; /* bytes of `word` that are used up, 8 before the first */
};

/* 0; -ERANGE outside QPP_COUNT_MIN..MAX; -EINVAL when count is not prime (stock warns, and both sides must agree):
 * limit_qpp_count by reasons. */
int qpp_count_check(unsigned count);

/*
 * Derives the pads: cold, some milliseconds for 61.  The key's bytes are only read, and may be wiped afterwards.  0;
 * what qpp_count_check says; -ENOMEM; -ENOTSUP when libgcrypt cannot.
 */
int qpp_pads_create(struct qpp_pads **out, const char *key, uint32_t key_len, unsigned count);
void qpp_pads_destroy(struct qpp_pads *q); /* wipes them; q may be NULL */

/* The start of any stream's direction. */
void qpp_prng_init(struct qpp_prng *r, const struct qpp_pads *q);

/*
 * n bytes from `in` to `out` (the same place, or no overlap), moving r on by n: pieces of any size give what one piece
 * gives.
 */
void qpp_encrypt(const struct qpp_pads *q, struct qpp_prng *r, uint8_t *out, const uint8_t *in, uint32_t n);
void qpp_decrypt(const struct qpp_pads *q, struct qpp_prng *r, uint8_t *out, const uint8_t *in, uint32_t n);
