/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bed.h"
#include "seeds.h"

/*
 * A peer whose groups are not what the decoder takes them for, from the start or from some packet on: of full segments
 * the wrong group gives wrong bytes under a header that comes out right (wire.md 3.8).  Each segment's bytes follow
 * from its number, so that one that was never sent is seen.  A decoder that believes every shape, as stock does, takes
 * the same packets, and has to be fooled: else the test would prove nothing.
 */

#define HEAD	24 /* of a KCP segment */
#define SEGMENT 400
#define SN_OFF	12
#define SLOTS	64 /* packets on their way, at most */

static struct bed bed;

static void setup(void)
{
	bed_init(&bed, 21);
}

static void teardown(void)
{
	bed_fini(&bed);
}

TestSuite(proof, .init = setup, .fini = teardown, .timeout = 600);

struct shape {
	unsigned ds, ps;
};

enum follow { ON, ALIGNED, ANEW }; /* seqids of the new shape: the next ones, from its next multiple on, from 0 on */

struct rx {
	struct bed_dec t;
	unsigned good, wrong;
	unsigned withheld;
	unsigned proved_at; /* packet number of the first proof */
};

struct way {
	uint64_t seed;
	unsigned loss, late; /* percent, and places that a packet may be late */
	unsigned sn;	     /* segments sent */
	unsigned n;	     /* packets sent */
	bool pauses;	     /* that leave groups without parity */
	uint64_t now;
	struct rx wary, stock;
	unsigned n_slots;
	struct {
		unsigned at;
		uint16_t n;
		uint8_t p[FEC_HEAD + SEGMENT];
	} slot[SLOTS];
};

/* Segment sn of a sender with much to send. */
static void segment(uint8_t *p, uint64_t seed, uint32_t sn)
{
	uint64_t z = seed * 0x9e3779b97f4a7c15 + sn;

	memset(p, 0, HEAD);
	le32_put(p, 0x12345678);
	p[4] = 81;
	le16_put(p + 6, 1024);
	le32_put(p + 8, 5000 + sn / 40);
	le32_put(p + SN_OFF, sn);
	le32_put(p + 16, 77);
	le32_put(p + 20, SEGMENT - HEAD);
	for (unsigned i = HEAD; i < SEGMENT; i += 8) {
		z ^= z << 13;
		z ^= z >> 7;
		z ^= z << 17;
		memcpy(p + i, &z, 8);
	}
}

static void look(struct way *w, struct rx *r)
{
	for (unsigned i = 0; i < r->t.got.n_data; i++) {
		const struct slice *s = &r->t.got.data[i];
		uint8_t want[SEGMENT];
		uint32_t sn = s->n == SEGMENT ? le32_get(s->p + SN_OFF) : UINT32_MAX;

		segment(want, w->seed, sn);
		if (sn < w->sn && !memcmp(s->p, want, SEGMENT))
			r->good++;
		else
			r->wrong++;
	}
	r->withheld += r->t.got.withheld;
	if (!r->proved_at && fec_dec_proved(r->t.d))
		r->proved_at = w->n;
}

static void arrive(struct way *w, uint8_t *p, uint16_t n)
{
	struct pkt k = {.p = p, .n = n};

	bed_feed(&w->wary.t, &k);
	look(w, &w->wary);
	bed_feed(&w->stock.t, &k);
	look(w, &w->stock);
}

/* What is due arrives. */
static void deliver(struct way *w)
{
	for (unsigned i = 0; i < w->n_slots;) {
		if (w->slot[i].at > w->n) {
			i++;
			continue;
		}
		arrive(w, w->slot[i].p, w->slot[i].n);
		w->n_slots--;
		memmove(&w->slot[i], &w->slot[i + 1], (w->n_slots - i) * sizeof(w->slot[0]));
	}
}

static void carry(struct way *w, const struct pkt *k)
{
	w->n++;
	if (bed_below(&bed, 100) >= w->loss) {
		cr_assert_lt(w->n_slots, SLOTS);
		w->slot[w->n_slots].at = w->n + (w->late && !bed_below(&bed, 10) ? bed_below(&bed, w->late) : 0);
		w->slot[w->n_slots].n = k->n;
		memcpy(w->slot[w->n_slots++].p, k->p, k->n);
	}
	deliver(w);
}

/* `groups` groups of this shape from seqid `next` on.  Returns where the next one would begin. */
static uint32_t send_groups(struct way *w, struct shape s, uint32_t next, unsigned groups)
{
	static uint8_t room[FEC_MAX_SHARDS][FEC_HEAD + SEGMENT + 64];
	struct pkt v[FEC_MAX_SHARDS];
	struct fec_codec *c;
	struct fec_enc e;

	cr_assert_eq(fec_codec_get(&c, s.ds, s.ps), 0);
	fec_enc_init(&e, c, bed.mem, &bed.cnt);
	e.next = next;
	e.last_ms = w->now;
	for (unsigned i = 0; i < groups * s.ds; i++) {
		unsigned made;

		for (unsigned j = 0; j <= s.ps; j++)
			v[j] = (struct pkt){.p = room[j] + FEC_HEAD};
		segment(v[0].p, w->seed, w->sn++);
		v[0].n = SEGMENT;
		w->now += w->pauses && !bed_below(&bed, 60) ? 600 : 1;
		made = fec_enc_burst(&e, v, 1, w->now);
		for (unsigned j = 0; j <= made; j++)
			carry(w, &v[j]);
	}
	next = e.next;
	fec_enc_fini(&e);
	fec_codec_put(c);
	return next;
}

static void way_open(struct way *w, uint64_t seed, struct shape rx)
{
	struct fec_codec *c = NULL;

	*w = (struct way){.seed = seed, .now = 1000};
	bed.seed = seed;
	if (rx.ds)
		cr_assert_eq(fec_codec_get(&c, rx.ds, rx.ps), 0);
	bed_dec_wary(&w->wary.t, &bed, c, seed & 1);
	bed_dec_init(&w->stock.t, &bed, c, false);
	fec_codec_put(c);
}

static void way_close(struct way *w)
{
	w->n += SLOTS;
	deliver(w);
	bed_dec_fini(&w->wary.t);
	bed_dec_fini(&w->stock.t);
}

static const unsigned losses[] = {0, 2, 5, 10, 20};

struct sum {
	unsigned wrong, good;		  /* of the decoder that wants proof */
	unsigned stock_wrong, stock_good; /* of the one that does not */
};

static void add(struct sum *sum, struct way *w)
{
	sum->wrong += w->wary.wrong;
	sum->good += w->wary.good;
	sum->stock_wrong += w->stock.wrong;
	sum->stock_good += w->stock.good;
}

#define CHANGE_SEEDS SEEDS_OF(20, 5)

/* Sessions in which the sender goes from one shape to another under way. */
static struct sum change(struct shape from, struct shape to, enum follow follow, unsigned late)
{
	unsigned size = from.ds + from.ps, size2 = to.ds + to.ps;
	struct sum sum = {0};
	static struct way w;

	for (unsigned seed = 1; seed <= CHANGE_SEEDS; seed++) {
		for (unsigned l = 0; l < 5; l++) {
			uint32_t next;

			way_open(&w, 100 * seed + l, from);
			w.loss = losses[l];
			w.late = late;
			w.pauses = seed % 2;
			next = send_groups(&w, from, 0, 12 + seed + 100 / size);
			if (follow == ALIGNED)
				next = (next + size2 - 1) / size2 * size2;
			send_groups(&w, to, follow == ANEW ? 0 : next, 400 / size2 + 20);
			way_close(&w);
			add(&sum, &w);
		}
	}
	return sum;
}

/*
 * Shapes between which a session may go as long as the loss of a few packets does not make the one look like the other:
 * 10/3 and 11/3 differ in a single packet of the first group, and whoever recovers from ds packets cannot know.
 */
Test(proof, change_under_way)
{
	static const struct shape s[] = {{10, 3}, {10, 6}, {20, 3}, {5, 5}, {1, 1}};
	unsigned fooled = 0;

	for (unsigned a = 0; a < 5; a++) {
		for (unsigned b = 0; b < 5; b++) {
			struct sum sum;

			if (a == b || (s[a].ds == 5 && s[b].ds == 1))
				continue;
			for (unsigned late = 0; late < 8; late += 7) {
				sum = change(s[a], s[b], ON, late);
				cr_assert_eq(sum.wrong, 0, "%u/%u to %u/%u: %u datagrams that were never sent", s[a].ds,
					     s[a].ps, s[b].ds, s[b].ps, sum.wrong);
				cr_assert_gt(sum.good, 0);
				fooled += sum.stock_wrong;
			}
			sum = change(s[a], s[b], ANEW, 0);
			cr_assert_eq(sum.wrong, 0, "%u/%u to %u/%u from 0 on", s[a].ds, s[a].ps, s[b].ds, s[b].ps);
			fooled += sum.stock_wrong;
		}
	}
	cr_assert_gt(fooled, 50 * CHANGE_SEEDS, "what believes every shape took %u wrong datagrams only", fooled);
}

Test(proof, change_to_a_multiple)
{
	static const struct shape s[] = {{10, 3}, {10, 6}, {20, 3}};
	unsigned fooled = 0;

	for (unsigned b = 1; b < 3; b++) {
		struct sum sum = change(s[0], s[b], ALIGNED, 0);

		cr_assert_eq(sum.wrong, 0, "10/3 to %u/%u", s[b].ds, s[b].ps);
		fooled += sum.stock_wrong;
	}
	cr_assert_gt(fooled, 0);
}

/* Of another shape than the decoder was made for, or made for none, from the first packet on: even a neighbour. */
Test(proof, unequal_from_the_start)
{
	static const struct shape rx[] = {{10, 3}, {0, 0}, {1, 1}, {5, 5}, {2, 2}};
	static const struct shape tx[] = {{10, 6}, {20, 3}, {9, 4}, {11, 3}, {5, 5}, {1, 1}, {2, 1}, {2, 6}};
	static struct way w;
	struct sum sum = {0};

	for (unsigned a = 0; a < 5; a++) {
		for (unsigned b = 0; b < 8; b++) {
			unsigned size = tx[b].ds + tx[b].ps;

			for (unsigned seed = 1; seed <= 50 && rx[a].ds != tx[b].ds; seed++) {
				way_open(&w, seed, rx[a]);
				w.loss = losses[seed % 5];
				w.late = seed % 2 ? 7 : 0;
				send_groups(&w, tx[b], seed % 3 * 7 * size, 200 / size + 10);
				way_close(&w);
				cr_assert_eq(w.wary.wrong, 0, "%u/%u of %u/%u, seed %u", rx[a].ds, rx[a].ps, tx[b].ds,
					     tx[b].ps, seed);
				add(&sum, &w);
			}
		}
	}
	cr_assert_gt(sum.stock_wrong, 0);
	cr_assert_gt(sum.good, 1000, "and the right shape is found");
}

/* What waiting for the proof costs where the shape is what it should be: next to nothing but at the very start. */
Test(proof, costs_little)
{
	static const unsigned per_cent[] = {0, 5, 20, 30};
	static const unsigned groups[] = {2, 3, 4, 8}; /* on an average, until the proof: at most */
	static struct way w;

	for (unsigned l = 0; l < 4; l++) {
		struct sum sum = {0};
		unsigned until = 0;

		for (unsigned seed = 1; seed <= 100; seed++) {
			way_open(&w, seed, (struct shape){10, 3});
			w.loss = per_cent[l];
			send_groups(&w, (struct shape){10, 3}, 0, 80);
			way_close(&w);
			cr_assert_gt(w.wary.proved_at, 0);
			cr_assert_leq(w.wary.good + w.wary.withheld, w.stock.good);
			until += w.wary.proved_at;
			add(&sum, &w);
		}
		cr_assert_leq(until, groups[l] * 13 * 100, "%u %%: %u packets in 100 sessions", per_cent[l], until);
		cr_assert_eq(sum.wrong + sum.stock_wrong, 0);
		cr_assert_geq(sum.good * 100, sum.stock_good * 95, "%u of %u", sum.good, sum.stock_good);
	}
}

/* ---- what makes a proof, and what unmakes it ---- */

enum { DS = 10, PS = 3, SIZE = DS + PS };

static struct fec_codec *codec;
static struct fec_enc enc;
static struct bed_dec t;
static struct bed_group g;

static void line_up(void)
{
	cr_assert_eq(fec_codec_get(&codec, DS, PS), 0);
	fec_enc_init(&enc, codec, bed.mem, &bed.cnt);
	bed_dec_wary(&t, &bed, codec, true);
}

static void line_down(void)
{
	bed_dec_fini(&t);
	fec_enc_fini(&enc);
	fec_codec_put(codec);
}

static void encode(void)
{
	unsigned len[DS];

	for (unsigned i = 0; i < DS; i++)
		len[i] = 200 + bed_below(&bed, 100);
	enc.last_ms = 999;
	bed_encode(&bed, &enc, len, &g);
}

static unsigned withheld;

/* A group but for the packets lost; returns how many were recovered. */
static unsigned group(uint32_t lost)
{
	unsigned n = 0;

	encode();
	for (unsigned i = 0; i < SIZE; i++) {
		if (lost >> i & 1)
			continue;
		bed_feed(&t, &g.v[i]);
		n += t.got.n_data;
		withheld += t.got.withheld;
	}
	return n;
}

static void prove(void)
{
	while (!fec_dec_proved(t.d))
		group(0);
}

Test(proof, takes_two_groups, .init = line_up, .fini = line_down)
{
	cr_assert_eq(group(0), 0);
	cr_assert_not(fec_dec_proved(t.d), "a packet more tells where a group ends");
	encode();
	for (unsigned i = 0; i < SIZE; i++) {
		cr_assert_not(fec_dec_proved(t.d));
		cr_assert_eq(bed_feed(&t, &g.v[i]), 0);
	}
	cr_assert(fec_dec_proved(t.d));
	cr_assert_eq(bed.cnt.FECFullShardSet, 2, "counted as stock does");
	cr_assert_eq(bed.cnt.FECParityShards, 6);
	cr_assert_eq(t.kept, 0, "nothing is kept that nobody waits for");
	cr_assert_eq(group(7), 3, "from now on at once");
}

/* What waited comes when the proof does; what could not wait so long is counted. */
Test(proof, what_waited_comes, .init = line_up, .fini = line_down)
{
	struct pkt lost;

	cr_assert_eq(group(1 << 4), 0);
	lost = g.v[4];
	bed_lend(&g.v[4]); /* its memory is the lost packet's */
	encode();
	for (unsigned i = 0; i < SIZE; i++) {
		bed_feed(&t, &g.v[i]);
		if (t.got.n_data)
			cr_assert(bed_is(&t, 0, &lost));
	}
	cr_assert_not(fec_dec_proved(t.d), "one of 26 is lost");
	bed_lend(&g.v[4]);
	encode();
	bed_feed(&t, &g.v[0]);
	cr_assert_eq(t.got.n_data, 1);
	cr_assert(bed_is(&t, 0, &lost));
	cr_assert_eq(t.got.withheld, 0);
	bed_release(&t);
}

Test(proof, what_is_given_up_is_counted, .init = line_up, .fini = line_down)
{
	for (unsigned k = 0; k < 8; k++)
		cr_assert_eq(group(7), 0, "no more than ds: nothing to compare with");
	cr_assert_not(fec_dec_proved(t.d));
	cr_assert_eq(withheld, 3 * 4, "%u: four groups are still at hand", withheld);
	cr_assert_eq(bed.cnt.FECRecovered, 0);
}

/* Without its last data packet a group may be a shorter one's: it proves nothing. */
Test(proof, last_data_packet, .init = line_up, .fini = line_down)
{
	for (unsigned k = 0; k < 6; k++)
		cr_assert_eq(group(1 << (DS - 1)), 0);
	cr_assert_not(fec_dec_proved(t.d));
	group(0);
	cr_assert(fec_dec_proved(t.d));
}

/* Packets that are all the same fit any shape. */
Test(proof, sameness_is_none, .init = line_up, .fini = line_down)
{
	uint8_t body[50] = {50};
	struct pkt in;

	for (uint32_t k = 0; k < 20 * SIZE; k++) {
		bed_packet(&in, k, k % SIZE < DS ? FEC_TYPE_DATA : FEC_TYPE_PAR, body, sizeof(body));
		cr_assert_eq(bed_feed(&t, &in), 0);
		cr_assert_not(fec_dec_proved(t.d));
	}
}

Test(proof, unmade_by_a_packet_out_of_place, .init = line_up, .fini = line_down)
{
	struct pkt stray;

	prove();
	bed_packet(&stray, enc.next, FEC_TYPE_PAR, "\x04\x00xy", 4);
	bed_feed(&t, &stray);
	cr_assert_not(fec_dec_proved(t.d));
	cr_assert_eq(t.kept, 0);
}

Test(proof, unmade_by_a_gap, .init = line_up, .fini = line_down)
{
	prove();
	cr_assert_eq(group(0x7ff), 0); /* no longer gap than a group: nothing happens */
	cr_assert(fec_dec_proved(t.d));
	group(0x1fff);
	cr_assert_eq(group(3), 2, "one packet too many agrees, and that is enough");
	cr_assert(fec_dec_proved(t.d));
	group(0x1fff);
	cr_assert_eq(group(7), 0);
	cr_assert_not(fec_dec_proved(t.d));
}

Test(proof, unmade_by_what_cannot_be, .init = line_up, .fini = line_down)
{
	static const uint8_t zeros[400];

	prove();
	/* A body that says that it is longer than its group. */
	encode();
	for (unsigned i = 1; i < SIZE; i++) {
		if (i == 5)
			memset(g.v[5].p + FEC_BODY_OFF, 0xff,
			       2); /* so that the lost one's size comes out as nonsense */
		bed_feed(&t, &g.v[i]);
		cr_assert_eq(t.got.n_data, 0);
	}
	cr_assert_not(fec_dec_proved(t.d));
	prove();
	fec_dec_doubt(t.d); /* the caller's word */
	cr_assert_not(fec_dec_proved(t.d));
	group(0);
	encode();
	memcpy(g.v[DS].p + FEC_BODY_OFF, zeros, 100);
	for (unsigned i = 0; i < DS; i++)
		bed_feed(&t, &g.v[i]);
	cr_assert_eq(bed_feed(&t, &g.v[DS]), DROP_FEC, "parity that is not that of its group");
	cr_assert_eq(t.kept, 0);
	group(0);
	cr_assert_not(fec_dec_proved(t.d), "all over again");
}

/* Parity is as long as the longest of its group: what is right as far as it goes is not enough. */
Test(proof, unmade_by_parity_cut_short, .init = line_up, .fini = line_down)
{
	encode();
	g.v[DS].n -= 100;
	for (unsigned i = 0; i < DS; i++)
		cr_assert_eq(bed_feed(&t, &g.v[i]), 0);
	cr_assert_eq(bed_feed(&t, &g.v[DS]), DROP_FEC);
}

/* Of one packet a group: what came is not recovered once more from its copies, as stock does. */
Test(proof, copies)
{
	static struct way w;

	way_open(&w, 1, (struct shape){1, 2});
	send_groups(&w, (struct shape){1, 2}, 0, 50);
	cr_assert_eq(w.wary.good, 0);
	cr_assert_gt(w.stock.good, 90);
	w.loss = 20;
	send_groups(&w, (struct shape){1, 2}, 150, 100);
	cr_assert_gt(w.wary.good, 10);
	cr_assert_leq(w.wary.good, w.sn - bed.cnt.FECFullShardSet / 2);
	cr_assert_eq(w.wary.wrong, 0);
	way_close(&w);
}

/* With memory short, packets in the caller's memory or copied, noise and pauses: nothing is lost or kept for ever. */
Test(proof, takes_noise)
{
	for (unsigned run = 0; run < 30; run++) {
		struct fec_codec *c;

		cr_assert_eq(fec_codec_get(&c, 1 + bed_below(&bed, 12), 1 + bed_below(&bed, 12)), 0);
		bed_dec_wary(&t, &bed, c, run & 1);
		for (unsigned i = 0; i < 2000; i++) {
			unsigned size = fec_codec_ds(c) + fec_codec_ps(c), kind = bed_below(&bed, 200);
			uint8_t p[FEC_BODY_OFF + 80];
			struct pkt in = {.p = p, .n = (uint16_t)(8 + bed_below(&bed, sizeof(p) - 8))};
			uint32_t seqid = i + bed_below(&bed, 6);
			bool data = seqid % size < fec_codec_ds(c);

			memset(p, run % 3 ? 60 : (int)i, sizeof(p));
			le32_put(p, seqid);
			le16_put(p + FEC_TYPE_OFF,
				 data != (!kind && !bed_below(&bed, 5)) ? FEC_TYPE_DATA : FEC_TYPE_PAR);
			le16_put(p + FEC_BODY_OFF, 60);
			if (kind == 2)
				bed_exhaust(&bed);
			bed_feed(&t, &in);
			if (kind == 2)
				bed_relieve(&bed);
			if (kind == 3)
				bed_release(&t);
			if (kind == 4)
				bed_let_go(&t);
			if (kind == 5)
				fec_dec_doubt(t.d);
		}
		bed_dec_fini(&t);
		fec_codec_put(c);
	}
}
