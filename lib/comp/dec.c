/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <snappy-c.h>

#include "comp.h"
#include "le.h"
#include "scratch.h"

#define HOLD_MIN 64 /* a cache line for the first bytes of a chunk, */
#define HOLD_TIMES \
	4 /* then so many times what has come: a frame's chunk is moved once, and a head alone holds nothing */

void comp_dec_init(struct comp_dec *d, struct mem *mem)
{
	*d = (struct comp_dec){.mem = mem};
}

/* Back to a chunk border. */
static void drop_part(struct comp_dec *d)
{
	if (d->part)
		mem_put(d->mem, d->part, d->cap);
	d->part = NULL;
	d->cap = 0;
	d->have = 0;
}

void comp_dec_fini(struct comp_dec *d)
{
	drop_part(d);
}

static int corrupt(struct comp_dec *d)
{
	drop_part(d);
	d->skip = 0;
	d->broken = true;
	return -EBADMSG;
}

static void take(struct slice *in, uint32_t n)
{
	in->p += n;
	in->n -= n;
}

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static enum snappy_type type_of(const struct comp_dec *d)
{
	return d->head[0];
}

/* What follows type and length. */
static uint32_t body_of(const struct comp_dec *d)
{
	return le32_get(d->head) >> 8;
}

/* The receiver's rules that type and length alone decide (wire.md 6).  Skippable chunks may have any length. */
static bool head_ok(const struct comp_dec *d)
{
	uint32_t body = body_of(d);

	if (!d->begun && type_of(d) != SNAPPY_T_ID)
		return false;
	switch (type_of(d)) {
	case SNAPPY_T_COMPRESSED:
		return body >= SNAPPY_CRC && body <= COMP_CHUNK_MAX;
	case SNAPPY_T_RAW:
		return body >= SNAPPY_CRC && body <= COMP_BLOCK_MAX + SNAPPY_CRC;
	case SNAPPY_T_ID:
		return body == SNAPPY_ID_BODY;
	default:
		return type_of(d) >= SNAPPY_T_SKIP_FIRST;
	}
}

/* Completes type and length: 1, or 0 when the input ends before. */
static int get_head(struct comp_dec *d, struct slice *in)
{
	uint32_t n;

	if (d->have >= SNAPPY_HEAD)
		return 1;
	n = min32(SNAPPY_HEAD - d->have, in->n);
	if (n)
		memcpy(d->head + d->have, in->p, n);
	d->have += n;
	take(in, n);
	if (d->have < SNAPPY_HEAD)
		return 0;
	return head_ok(d) ? 1 : corrupt(d);
}

/* Compares the identifier's body as it comes: 1 when all of it was there. */
static int get_id(struct comp_dec *d, struct slice *in)
{
	uint32_t n = min32(SNAPPY_ID_LEN - d->have, in->n);

	if (n && memcmp(in->p, &SNAPPY_ID[d->have], n))
		return corrupt(d);
	take(in, n);
	d->have += n;
	if (d->have < SNAPPY_ID_LEN)
		return 0;
	d->have = 0;
	d->begun = true;
	return 1;
}

/* Room for the first n bytes behind the head: memory is taken for what came, not for what the head announces. */
static bool hold(struct comp_dec *d, uint32_t n)
{
	uint32_t len = body_of(d), old = d->have - SNAPPY_HEAD, cap = n > HOLD_MIN ? HOLD_TIMES * n : HOLD_MIN;
	uint8_t *part;

	if (n <= d->cap)
		return true;
	cap = min32(cap, len);
	part = mem_get(d->mem, cap);
	if (!part)
		return false;
	if (d->part) {
		memcpy(part, d->part, old);
		mem_put(d->mem, d->part, d->cap);
	}
	d->part = part;
	d->cap = cap;
	return true;
}

bool comp_dec_room(struct comp_dec *d, uint32_t n)
{
	uint32_t len;
	void *p;

	if (d->have < SNAPPY_HEAD || type_of(d) > SNAPPY_T_RAW) {
		p = mem_get(d->mem, n); /* a chunk that begins will want it, if it does not end as well */
		mem_put(d->mem, p, n);
		return p != NULL;
	}
	len = body_of(d);
	n = min32(n, len - (d->have - SNAPPY_HEAD));
	return hold(d, d->have - SNAPPY_HEAD + n);
}

/* 1 with *body when checksum and block lie in one piece, in the input if it holds them; 0 when the input ends before.
 */
static int get_data(struct comp_dec *d, struct slice *in, const uint8_t **body)
{
	uint32_t len = body_of(d), n;

	if (!d->part) {
		if (in->n >= len) {
			*body = in->p;
			take(in, len);
			return 1;
		}
		if (!in->n)
			return 0;
	}
	n = min32(len - (d->have - SNAPPY_HEAD), in->n);
	if (n && !hold(d, d->have - SNAPPY_HEAD + n))
		return -ENOMEM;
	if (n)
		memcpy(d->part + d->have - SNAPPY_HEAD, in->p, n);
	take(in, n);
	d->have += n;
	*body = d->part;
	return d->have - SNAPPY_HEAD == len;
}

/* Uncompresses and checks one whole chunk. */
static int open_data(struct comp_dec *d, struct comp_scratch *s, const uint8_t *body, struct slice *out)
{
	const char *block = (const char *)body + SNAPPY_CRC;
	size_t len = body_of(d) - SNAPPY_CRC, plain;

	if (type_of(d) == SNAPPY_T_RAW) {
		*out = (struct slice){body + SNAPPY_CRC, (uint32_t)len};
	} else {
		/* The block's own length field is the peer's word: it is looked at before anything is written. */
		if (snappy_uncompressed_length(block, len, &plain) != SNAPPY_OK || plain > COMP_BLOCK_MAX)
			return corrupt(d);
		if (snappy_uncompress(block, len, (char *)s->plain, &plain) != SNAPPY_OK)
			return corrupt(d);
		*out = (struct slice){s->plain, (uint32_t)plain};
	}
	if (comp_crc(out, 1) != le32_get(body))
		return corrupt(d);
	if (type_of(d) == SNAPPY_T_COMPRESSED)
		drop_part(d);
	d->have = 0;
	return 1;
}

static void pass_over(struct comp_dec *d, struct slice *in)
{
	uint32_t n = min32(d->skip, in->n);

	take(in, n);
	d->skip -= n;
}

int comp_dec(struct comp_dec *d, struct comp_scratch *s, struct slice *in, struct slice *out)
{
	const uint8_t *body;
	int r;

	if (d->broken)
		return -EBADMSG;
	if (!d->have)
		drop_part(d); /* what the last call gave, uncompressed, out of part */
	for (;;) {
		pass_over(d, in);
		if (d->skip)
			return 0;
		r = get_head(d, in);
		if (r <= 0)
			return r;
		if (type_of(d) == SNAPPY_T_COMPRESSED || type_of(d) == SNAPPY_T_RAW) {
			r = get_data(d, in, &body);
			return r <= 0 ? r : open_data(d, s, body, out);
		}
		if (type_of(d) == SNAPPY_T_ID) {
			r = get_id(d, in);
			if (r <= 0)
				return r;
		} else {
			d->skip = body_of(d);
			d->have = 0;
		}
	}
}
