/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "bed.h"

/*
 * An encoder that sends fewer parity packets than its code has, beside one that sends all of them: what it sends is
 * byte for byte what the other sends, without what was left out, and under the same seqids.
 */

static struct bed bed;

static void setup(void)
{
	bed_init(&bed, 11);
}

static void teardown(void)
{
	bed_fini(&bed);
}

TestSuite(send, .init = setup, .fini = teardown);

static struct pkt lent[2][FEC_MAX_SHARDS]; /* as they are lent, each burst again */

struct two {
	struct fec_codec *c;
	struct fec_enc all, some;
	struct pkt a[FEC_MAX_SHARDS], s[FEC_MAX_SHARDS];
	unsigned opened; /* fec_enc_send as the group opened, and now */
	unsigned now;
	unsigned sent;
};

static void two_open(struct two *t, unsigned ds, unsigned ps)
{
	t->opened = t->now = ps;
	t->sent = 0;
	cr_assert_eq(fec_codec_get(&t->c, ds, ps), 0);
	fec_enc_init(&t->all, t->c, bed.mem, &bed.cnt);
	fec_enc_init(&t->some, t->c, bed.mem, &bed.cnt);
}

static void lend(struct pkt *v, unsigned side, unsigned n, const uint8_t *bytes, unsigned len)
{
	if (!lent[side][n].p)
		bed_lend(&lent[side][n]);
	*v = lent[side][n];
	v->n = (uint16_t)len;
	memcpy(v->p, bytes, len);
}

static void two_close(struct two *t)
{
	fec_enc_fini(&t->all);
	fec_enc_fini(&t->some);
	fec_codec_put(t->c);
}

static void two_send(struct two *t, unsigned n)
{
	fec_enc_send(&t->some, n);
	t->now = n < fec_codec_ps(t->c) ? n : fec_codec_ps(t->c);
}

static void same(const struct pkt *a, const struct pkt *s)
{
	cr_assert_eq(a->n, s->n);
	cr_assert_eq(a->flags, s->flags);
	cr_assert_eq(memcmp(a->p, s->p, a->n), 0, "seqid %u", le32_get(a->p));
}

/* One burst through both; `mode` counts where it closes a group. */
static void two_burst(struct two *t, unsigned n, unsigned longest, enum fec_parity mode)
{
	unsigned ps = fec_codec_ps(t->c), made, got, k = 0, most;

	if (fec_enc_left(&t->all) == fec_codec_ds(t->c))
		t->opened = t->now;
	for (unsigned i = 0; i < n + ps; i++) {
		uint8_t bytes[BED_DATAGRAM];
		unsigned len = i < n ? 1 + bed_below(&bed, longest) : 0;

		for (unsigned b = 0; b < len; b++)
			bytes[b] = (uint8_t)bed_rand(&bed);
		lend(&t->a[i], 0, i, bytes, len);
		lend(&t->s[i], 1, i, bytes, len);
	}
	fec_enc_parity(&t->some, mode);
	made = fec_enc_burst(&t->all, t->a, n, 1000);
	got = fec_enc_burst(&t->some, t->s, n, 1000);
	for (unsigned i = 0; i < n; i++)
		same(&t->a[i], &t->s[i]);
	most = t->opened < t->now ? t->opened : t->now;
	for (unsigned j = 0; j < made; j++) {
		bool odd = le32_get(t->a[n + j].p) & 1;

		if (j < most && mode != FEC_PARITY_NONE && !(mode == FEC_PARITY_EVEN && odd))
			same(&t->a[n + j], &t->s[n + k++]);
	}
	cr_assert_eq(got, k, "%u packets, not %u", got, k);
	for (unsigned i = n + k; i < n + ps; i++)
		cr_assert_eq(t->s[i].flags, 0, "what is not sent is not said to be parity");
	t->sent += k;
}

static void run(unsigned ds, unsigned ps, unsigned groups, unsigned longest)
{
	static struct two t;

	two_open(&t, ds, ps);
	for (unsigned g = 0; g < groups; g++) {
		for (unsigned left = ds, n; left; left -= n) {
			n = bed_below(&bed, 3) ? 1 + bed_below(&bed, left) : left;
			if (bed_below(&bed, 2))
				two_send(&t, bed_below(&bed, ps + 3));
			two_burst(&t, n, longest,
				  (enum fec_parity)(bed_below(&bed, 6) < 4 ? 0 : 1 + bed_below(&bed, 2)));
		}
		cr_assert_eq(t.all.next, t.some.next);
		cr_assert_eq(mem_used(bed.mem), bed.idle, "nothing is held between groups");
	}
	cr_assert_gt(t.sent, 0);
	two_close(&t);
}

Test(send, as_the_full_encoder_less_what_is_left_out)
{
	run(10, 3, 400, BED_DATAGRAM);
	run(10, 3, 200, 50);
	run(1, 1, 100, BED_DATAGRAM);
	run(5, 5, 100, BED_DATAGRAM);
	run(20, 10, 100, 1200);
	run(3, 20, 60, 900);
}

/* Over the wrap, too, groups stay where the peer expects them. */
Test(send, the_wrap)
{
	static struct two t;

	for (unsigned n = 0; n <= 3; n++) {
		two_open(&t, 10, 3);
		t.all.next = t.some.next = t.all.paws - 13;
		two_send(&t, n);
		two_burst(&t, 10, 900, FEC_PARITY_ALL);
		cr_assert_eq(t.sent, n);
		cr_assert_eq(t.some.next, 0);
		two_close(&t);
	}
}

/* What a group costs: nothing when it opened with 0, the sums of what is sent when it opened with less than all. */
Test(send, costs_what_is_sent)
{
	struct mem_tunnel tun;
	static struct two t;
	struct mem own;

	mem_tunnel(&tun, bed.mem, 0);
	mem_session(&own, &tun, true);
	two_open(&t, 10, 3);
	fec_enc_init(&t.some, t.c, &own, &bed.cnt);
	for (unsigned n = 0; n <= 3; n++) {
		two_send(&t, n);
		two_burst(&t, 4, 1400, FEC_PARITY_ALL);
		cr_assert_eq(own.used, mem_class((size_t)n * t.all.stride), "%u of 3 take %zu bytes", n, own.used);
		two_burst(&t, 6, 1400, FEC_PARITY_ALL);
		cr_assert_eq(own.used, 0);
	}
	/* Where there is no memory nothing fails that needs none. */
	fec_enc_send(&t.some, 0);
	bed_exhaust(&bed);
	for (unsigned i = 0; i < 10; i++) {
		lend(&t.s[0], 1, 0, (const uint8_t[700]){0}, 700);
		cr_assert_eq(fec_enc_burst(&t.some, t.s, 1, 1000), 0);
	}
	bed_relieve(&bed);
	cr_assert_eq(bed.cnt.FECErrs, 0);
	two_close(&t);
}

/* Raised while a group is open: it goes on as it was opened; the next one has what was asked for. */
Test(send, more_comes_with_the_next_group)
{
	static struct two t;

	two_open(&t, 10, 3);
	two_send(&t, 0);
	two_burst(&t, 1, 900, FEC_PARITY_ALL);
	two_send(&t, 3);
	two_burst(&t, 9, 900, FEC_PARITY_ALL);
	cr_assert_eq(t.sent, 0);
	two_burst(&t, 10, 900, FEC_PARITY_ALL);
	cr_assert_eq(t.sent, 3);
	/* Lowered and raised again: all that was summed up from the beginning is whole. */
	two_burst(&t, 2, 900, FEC_PARITY_ALL);
	two_send(&t, 1);
	two_burst(&t, 2, 900, FEC_PARITY_ALL);
	two_send(&t, 0);
	two_burst(&t, 2, 900, FEC_PARITY_ALL);
	two_send(&t, 2);
	two_burst(&t, 4, 900, FEC_PARITY_ALL);
	cr_assert_eq(t.sent, 5);
	two_close(&t);
}
