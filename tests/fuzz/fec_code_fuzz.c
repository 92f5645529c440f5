/* SPDX-License-Identifier: MIT */

/*
 * The Reed-Solomon code beside the plain reference: parity is the reference's, byte for byte, and whichever packets
 * arrive, in whatever order and however often, as soon as there are enough of them the rest is what was sent.
 *
 *	ds(1) ps(1) lengths: ds times 2; fill(1); then the places of the packets that arrive, one a byte
 */

#include "bed.h"
#include "fuzz.h"
#include "ref.h"

#define DS_MAX 24
#define PS_MAX 12

static struct bed_group group;
static uint8_t *memory[DS_MAX + PS_MAX];

/* The group by lib/fec. */
static void encode(struct bed *b, const struct fec_codec *c, struct fuzz_in *in)
{
	struct fec_enc e;
	unsigned fill;

	group.ds = fec_codec_ds(c);
	group.ps = fec_codec_ps(c);
	for (unsigned i = 0; i < group.ds + group.ps; i++) {
		memory[i] = malloc(FEC_HEAD + BED_DATAGRAM);
		group.v[i] = (struct pkt){.p = memory[i] + FEC_HEAD};
		if (i < group.ds)
			group.v[i].n = (uint16_t)(fuzz_u16(in) % (BED_DATAGRAM + 1));
	}
	fill = fuzz_u8(in);
	for (unsigned i = 0; i < group.ds; i++)
		for (unsigned k = 0; k < group.v[i].n; k++)
			group.v[i].p[k] = (uint8_t)(fill + bed_rand(b));
	fec_enc_init(&e, c, b->mem, &b->cnt);
	e.last_ms = 1; /* a first group of one packet has no parity (wire.md 3.2) */
	fuzz_must(fec_enc_burst(&e, group.v, group.ds, 1) == group.ps);
	fec_enc_fini(&e);
}

static void check_parity(void)
{
	static uint8_t rows[PS_MAX * DS_MAX], want[FEC_MAX_BODY];
	uint8_t *body[DS_MAX];
	unsigned n[DS_MAX], longest = 0;

	for (unsigned i = 0; i < group.ds; i++) {
		body[i] = group.v[i].p + FEC_BODY_OFF;
		n[i] = group.v[i].n - FEC_BODY_OFF;
		longest = n[i] > longest ? n[i] : longest;
	}
	ref_rows(group.ds, group.ps, rows);
	for (unsigned j = 0; j < group.ps; j++) {
		const struct pkt *k = &group.v[group.ds + j];

		ref_parity(rows + j * group.ds, group.ds, body, n, longest, want);
		fuzz_must(k->n == FEC_BODY_OFF + longest && memcmp(k->p + FEC_BODY_OFF, want, longest) == 0,
			  "parity %u of (%u,%u)", j, group.ds, group.ps);
	}
}

static bool is_ours(const struct bed_dec *t, unsigned i)
{
	unsigned k = 0;

	while (k < group.ds && !bed_is(t, i, &group.v[k]))
		k++;
	return k < group.ds;
}

/* `now`: of the data packets that did not arrive every one, in order; else none.  A group that is over and is sent once
 * more may be rebuilt once more, as stock does. */
static void check_rebuilt(const struct bed_dec *t, const bool *here, bool now, bool done)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->got.n_data; i++)
		fuzz_must(is_ours(t, i));
	if (done)
		return;
	for (unsigned i = 0; i < group.ds && now; i++) {
		if (!here[i])
			fuzz_must(n < t->got.n_data && bed_is(t, n++, &group.v[i]), "packet %u of (%u,%u)", i, group.ds,
				  group.ps);
	}
	fuzz_must(t->got.n_data == n);
}

static void deliver(struct bed *b, const struct fec_codec *c, struct fuzz_in *in, bool own)
{
	bool here[DS_MAX + PS_MAX] = {false}, done = false;
	unsigned n = 0, data = 0;
	struct bed_dec t;

	bed_dec_init(&t, b, c, own);
	while (in->n) {
		unsigned i = fuzz_u8(in) % (group.ds + group.ps);
		bool is_new = !here[i], now;

		here[i] = true;
		n += is_new;
		data += is_new && i < group.ds;
		bed_feed(&t, &group.v[i]);
		now = !done && is_new && n >= group.ds;
		check_rebuilt(&t, here, now && data < group.ds, done);
		done |= now;
	}
	bed_dec_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	struct fec_codec *c;
	struct bed b;
	unsigned ds = 1 + fuzz_u8(&in) % DS_MAX, ps = fuzz_u8(&in);

	bed_init(&b, 1);
	fuzz_must(fec_codec_get(&c, ds, 1 + ps / 2 % PS_MAX) == 0);
	encode(&b, c, &in);
	check_parity();
	deliver(&b, c, &in, ps & 1);
	for (unsigned i = 0; i < group.ds + group.ps; i++)
		free(memory[i]);
	fec_codec_put(c);
	bed_fini(&b);
	return 0;
}
