/* SPDX-License-Identifier: MIT */
#pragma once

/* What the suites of comp share: a heap, seeded bytes, and the format once more, written for clarity alone. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comp.h"
#include "mem.h"

/* Bytes that grow; fails the running test when there is no memory. */
struct bytes {
	uint8_t *p;
	size_t n, cap;
};

void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_free(struct bytes *b);

/* A heap of len bytes on a region from malloc; free *region after use. */
struct mem *heap(void **region, size_t len);

struct rng {
	uint64_t s;
};

uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);

enum kind { KIND_ZERO, KIND_TEXT, KIND_RANDOM, KIND_MIX, KIND_COUNT };

void fill(struct rng *r, enum kind kind, uint8_t *p, size_t n);

uint32_t ref_crc32c(const uint8_t *p, size_t n);
uint32_t ref_masked(const uint8_t *p, size_t n);

/* Appends what one block says to `plain`; false: malformed (plain may have grown). */
bool ref_block(const uint8_t *p, size_t n, struct bytes *plain);

/*
 * Reads a whole stream at once: appends what it holds to `plain`.  False: corrupt (what came before is in plain).
 * *chunks counts data chunks; a last chunk that ends early is no error.
 */
bool ref_read(const uint8_t *p, size_t n, struct bytes *plain, unsigned *chunks);

/* Encodes slices and appends the chunk to `wire`. */
unsigned enc_add(struct comp_enc *e, struct comp_scratch *s, const struct slice *in, unsigned n, struct bytes *wire);

/*
 * Feeds wire[0..n) to d in pieces of at most `step` bytes (0: all at once), each piece on a heap block of its own
 * length so that a read beyond it is caught; appends to plain.  Returns 0 or comp_dec's error.
 */
int dec_all(struct comp_dec *d, struct comp_scratch *s, const uint8_t *wire, size_t n, size_t step,
	    struct bytes *plain);
