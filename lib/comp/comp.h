/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The snappy framing format over a KCP byte stream, wire.md section 6: one continuous stream a session and direction.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"
#include "slice.h"

#define COMP_BLOCK_MAX 65536 /* uncompressed bytes a chunk */
#define COMP_CHUNK_MAX 76494 /* longest chunk that a reader accepts: checksum and body */
#define COMP_HEAD_MAX  18    /* stream identifier and chunk header */

/* One worker's working space, shared by all its sessions; nothing in it lives longer than one call says. */
struct comp_scratch;
struct comp_scratch *comp_scratch_create(void); /* NULL: no memory.  Set-up code: uses malloc. */
void comp_scratch_destroy(struct comp_scratch *s);

/* ---- encoder ---- */

struct comp_enc {
	bool begun;	/* identifier sent */
	uint8_t misses; /* chunks in a row that did not shrink */
	uint16_t skip;	/* chunks left to send uncompressed without trying */
};

void comp_enc_init(struct comp_enc *e);

/*
 * Makes one chunk of in[0..n) (1..COMP_BLOCK_MAX bytes in all) as out[0..*), at most COMP_OUT_MAX(n) slices in scratch
 * or in the input itself, valid until the next call with this scratch and while the input is.  Returns the number of
 * slices.  Compressed only where it is shorter than stock demands (n - n/8); input that has not shrunk for a while is
 * passed on uncompressed, tried again now and then.  One slice when compressed; else a head and the input's own slices.
 */
#define COMP_OUT_MAX(n) ((n) + 1)
unsigned comp_enc(struct comp_enc *e, struct comp_scratch *s, const struct slice *in, unsigned n, struct slice *out);

/* ---- decoder ---- */

struct comp_dec {
	struct mem *mem;
	uint8_t *part;	 /* a chunk that has not arrived in full, from mem; NULL at a chunk border */
	uint32_t have;	 /* bytes of it (header included) */
	uint32_t cap;	 /* size of part */
	uint32_t skip;	 /* bytes of a skippable chunk still to pass over */
	uint8_t head[4]; /* type and length while they arrive in pieces */
	bool begun;	 /* identifier seen */
	bool broken;	 /* fatal error: every further call fails */
};

void comp_dec_init(struct comp_dec *d, struct mem *mem);
void comp_dec_fini(struct comp_dec *d);

/*
 * Consumes from *in until one data chunk is complete: 1, with its uncompressed bytes in *out (in scratch, in the input
 * or in d: valid until the next call on d or comp_dec with this scratch, and while the input is); 0 when *in is used up
 * first; -EBADMSG for a corrupt stream (wire.md 6, receiver rules), which is final; -ENOMEM, after which the same call
 * may be made again.  Zero-length data chunks give 1 with out->n == 0.
 *
 * Memory is held for a chunk only while it waits for its rest, a few times as much as has come of it; and for a raw one
 * until the call after its delivery:
 * call until 0, also when *in is empty after a 1.
 */
int comp_dec(struct comp_dec *d, struct comp_scratch *s, struct slice *in, struct slice *out);

/* False when there is no memory for n more bytes of input (1..COMP_BLOCK_MAX): then it is better not to take them yet.
 */
bool comp_dec_room(struct comp_dec *d, uint32_t n);

/* The chunk's head that comp_dec failed at, 4 bytes, for who wants to say why. */
static inline const uint8_t *comp_dec_failed_at(const struct comp_dec *d)
{
	return d->head;
}

/* True while part of a chunk waits for the rest of it. */
static inline bool comp_dec_partial(const struct comp_dec *d)
{
	return d->have != 0 || d->skip != 0;
}
