/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <snappy-c.h>

#include "comp.h"
#include "le.h"
#include "scratch.h"

#define SHORTEST     17	 /* below, a snappy block is never shorter than its input (wire.md 6) */
#define JUDGED	     256 /* shorter input says nothing about its neighbours, and costs little to try */
#define SKIP_MAX_LOG 6	 /* at most 64 chunks pass untried */

void comp_enc_init(struct comp_enc *e)
{
	*e = (struct comp_enc){};
}

static uint32_t total_of(const struct slice *in, unsigned n)
{
	uint32_t total = 0;

	for (unsigned i = 0; i < n; i++)
		total += in[i].n;
	return total;
}

/* The input as one run of bytes. */
static const uint8_t *gather(struct comp_scratch *s, const struct slice *in, unsigned n)
{
	uint8_t *to = s->gathered;

	if (n == 1)
		return in[0].p;
	for (unsigned i = 0; i < n; i++) {
		if (in[i].n)
			memcpy(to, in[i].p, in[i].n);
		to += in[i].n;
	}
	return s->gathered;
}

/* Whether a try is worth its time: after the second miss in a row 1 chunk is passed untried, then 2, 4, ... 64. */
static bool worth_trying(struct comp_enc *e, uint32_t total)
{
	if (total < SHORTEST)
		return false;
	if (total < JUDGED || !e->skip)
		return true;
	e->skip--;
	return false;
}

static void learn(struct comp_enc *e, uint32_t total, bool shrank)
{
	if (shrank) {
		e->misses = 0;
		e->skip = 0;
	} else if (total >= JUDGED) {
		if (e->misses < SKIP_MAX_LOG + 2)
			e->misses++;
		e->skip = e->misses < 2 ? 0 : (uint16_t)(1u << (e->misses - 2));
	}
}

/* Length of the block at packed, 0: not compressed. */
static uint32_t shrink(struct comp_enc *e, struct comp_scratch *s, const struct slice *in, unsigned n, uint32_t total)
{
	size_t len = sizeof(s->packed) - COMP_HEAD_MAX;
	bool shrank;

	if (!worth_trying(e, total))
		return 0;
	shrank = snappy_compress((const char *)gather(s, in, n), total, (char *)s->packed + COMP_HEAD_MAX, &len) ==
			 SNAPPY_OK &&
		 len < total - total / 8;
	learn(e, total, shrank);
	return shrank ? (uint32_t)len : 0;
}

/* Writes the head so that it ends where the block begins; returns where it starts. */
static uint8_t *put_head(struct comp_enc *e, struct comp_scratch *s, enum snappy_type type, uint32_t body, uint32_t crc)
{
	uint8_t *p = s->packed + COMP_HEAD_MAX - SNAPPY_CRC - SNAPPY_HEAD;

	le32_put(p, type | (body + SNAPPY_CRC) << 8);
	le32_put(p + SNAPPY_HEAD, crc);
	if (!e->begun) {
		p -= SNAPPY_ID_LEN;
		memcpy(p, SNAPPY_ID, SNAPPY_ID_LEN);
		e->begun = true;
	}
	return p;
}

unsigned comp_enc(struct comp_enc *e, struct comp_scratch *s, const struct slice *in, unsigned n, struct slice *out)
{
	uint8_t *block = s->packed + COMP_HEAD_MAX;
	uint32_t total = total_of(in, n), packed = shrink(e, s, in, n, total);
	uint32_t crc = comp_crc(in, n);
	uint8_t *head;
	unsigned k = 0;

	if (packed) {
		head = put_head(e, s, SNAPPY_T_COMPRESSED, packed, crc);
		out[k++] = (struct slice){head, (uint32_t)(block - head) + packed};
		return k;
	}
	head = put_head(e, s, SNAPPY_T_RAW, total, crc);
	out[k++] = (struct slice){head, (uint32_t)(block - head)};
	for (unsigned i = 0; i < n; i++) {
		if (in[i].n)
			out[k++] = in[i];
	}
	return k;
}
