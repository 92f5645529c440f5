/* SPDX-License-Identifier: MIT */

/*
 * The FEC decoder, its search for a shape and what it rebuilds, over many packets of a peer that may say anything.
 * What comes out lies in the scratch, every buffer lent comes back once, and so does all memory.
 *
 *	shape(1) flags(1): 1 buffers are lent, 2 it trusts; steps: op(1) seqid(1 or 4) length(1 or 2) bytes
 */

#include "bed.h"
#include "fuzz.h"

#define STEPS 600

static const struct {
	uint8_t ds, ps;
} shapes[] = {{0, 0}, {1, 1}, {2, 1}, {3, 2}, {10, 3}, {4, 4}, {20, 10}, {128, 127}, {1, 8}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void check(const struct bed_dec *t)
{
	const struct fec_got *got = &t->got;

	fuzz_must(got->n_data <= FEC_MAX_SHARDS && got->n_freed <= FEC_MAX_SHARDS);
	for (unsigned i = 0; i < got->n_data; i++) {
		const struct slice *s = &got->data[i];

		fuzz_must(s->p >= t->scratch && s->p + s->n <= t->scratch + FEC_SCRATCH && s->n < FEC_MAX_BODY);
		fuzz_touch(s->p, s->n);
	}
}

/* A packet: its place by a step from the last, or by itself; its type by its place, or by itself. */
static void step(struct bed_dec *t, struct fuzz_in *in, uint32_t *seqid, unsigned op)
{
	unsigned ds, ps, len;
	struct fuzz_in body;
	struct pkt k;
	uint8_t *p;

	fec_dec_params(t->d, &ds, &ps);
	*seqid = op & 1 ? fuzz_u32(in) : *seqid + (uint32_t)(int8_t)fuzz_u8(in);
	len = op & 2 ? fuzz_u16(in) % (FEC_MAX_BODY + 16) : fuzz_u8(in);
	body = fuzz_bytes(in, len);
	p = malloc(len + FEC_BODY_OFF);
	memset(p, op, len + FEC_BODY_OFF);
	le32_put(p, *seqid);
	le16_put(p + 4, *seqid % (ds + ps) < ds ? FEC_TYPE_DATA : FEC_TYPE_PAR);
	if (op & 4)
		le16_put(p + 4, op & 8 ? FEC_TYPE_DATA : FEC_TYPE_PAR);
	memcpy(p + FEC_BODY_OFF, body.p, body.n);
	if (op & 16 && len >= 2) /* a size that fits */
		le16_put(p + FEC_BODY_OFF, (uint16_t)len);
	k = (struct pkt){.p = p, .n = (uint16_t)(len + FEC_BODY_OFF)};
	if (op & 32 && body.n >= FEC_BODY_OFF) { /* all of it as it comes */
		memcpy(p, body.p, body.n);
		k.n = (uint16_t)body.n;
	}
	bed_feed(t, &k);
	check(t);
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct fec_codec *codec[SHAPES];
	struct fuzz_in in = {p, n};
	unsigned shape = fuzz_u8(&in) % SHAPES, flags = fuzz_u8(&in);
	uint32_t seqid = UINT32_MAX;
	struct bed_dec t;
	struct bed b;

	if (shapes[shape].ds && !codec[shape])
		fuzz_must(fec_codec_get(&codec[shape], shapes[shape].ds, shapes[shape].ps) == 0);
	bed_init(&b, 1);
	bed_dec_wary(&t, &b, codec[shape], flags & 1);
	if (flags & 2)
		fec_dec_trust(t.d);
	for (unsigned i = 0; in.n && i < STEPS; i++) {
		unsigned op = fuzz_u8(&in);

		if (op < 0xf0)
			step(&t, &in, &seqid, op);
		else if (op < 0xf4)
			bed_release(&t);
		else if (op < 0xf8)
			bed_let_go(&t);
		else
			fec_dec_doubt(t.d);
	}
	bed_dec_fini(&t);
	bed_fini(&b);
	return 0;
}
