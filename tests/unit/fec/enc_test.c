/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bed.h"
#include "ref.h"
#include "vectors.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed, 1);
}

static void teardown(void)
{
	bed_fini(&bed);
}

TestSuite(enc, .init = setup, .fini = teardown);

static void check_packet(const struct pkt *k, const json_t *hex)
{
	size_t n;
	uint8_t *want = vectors_unhex(hex, &n);

	cr_assert_eq(k->n, n);
	cr_assert_eq(memcmp(k->p, want, n), 0);
	free(want);
}

/* A list of packets with what the Go encoder made of each. */
static void run_vectors(json_t *list, unsigned ds, unsigned ps, uint32_t first_seqid)
{
	struct fec_codec *c;
	struct fec_enc e;
	struct pkt v[1 + FEC_MAX_SHARDS];
	uint64_t now = 1000000;
	json_t *step;
	size_t i;

	cr_assert_eq(fec_codec_get(&c, ds, ps), 0);
	fec_enc_init(&e, c, bed.mem, &bed.cnt);
	e.next = first_seqid;
	for (unsigned j = 0; j <= ps; j++)
		bed_lend(&v[j]);
	json_array_foreach(list, i, step)
	{
		json_t *parity = json_object_get(step, "parity_packets");
		size_t n;
		uint8_t *payload = vectors_hex(step, "payload", &n);

		for (unsigned j = 0; j <= ps; j++)
			v[j].p = v[j].n ? v[j].p + FEC_HEAD : v[j].p;
		memset(v[0].p, 0xee, BED_DATAGRAM);
		memcpy(v[0].p, payload, n);
		memset(v[0].p - FEC_HEAD, 0xee, FEC_HEAD);
		for (unsigned j = 0; j <= ps; j++)
			v[j].n = 0;
		v[0].n = (uint16_t)n;
		now += 1 + (uint64_t)json_integer_value(json_object_get(step, "sleep_ms_before"));
		cr_assert_eq(fec_enc_burst(&e, v, 1, now), json_array_size(parity));
		check_packet(&v[0], json_object_get(step, "data_packet"));
		cr_assert_eq(v[0].flags & PKT_F_PARITY, 0);
		for (size_t j = 0; j < json_array_size(parity); j++) {
			check_packet(&v[1 + j], json_array_get(parity, j));
			cr_assert(v[1 + j].flags & PKT_F_PARITY);
		}
		cr_assert_eq(e.next, (uint32_t)json_integer_value(json_object_get(step, "next_seqid_after")));
		free(payload);
	}
	fec_enc_fini(&e);
	fec_codec_put(c);
}

Test(enc, go_s_packets)
{
	json_t *root = vectors_load("fec"), *x = json_object_get(root, "extra"), *c;
	size_t i;

	json_array_foreach(json_object_get(root, "cases"), i, c)
	{
		run_vectors(json_object_get(c, "encode"),
			    (unsigned)json_integer_value(json_object_get(c, "data_shards")),
			    (unsigned)json_integer_value(json_object_get(c, "parity_shards")), 0);
	}
	run_vectors(json_object_get(x, "skip_parity_3_2"), 3, 2, 0);
	run_vectors(json_object_get(x, "gap_in_middle_still_emits_parity_3_2"), 3, 2, 0);
	run_vectors(json_object_get(x, "first_packet_1_1"), 1, 1, 0);
	x = json_object_get(x, "wrap_10_3");
	run_vectors(json_object_get(x, "encode"), 10, 3,
		    (uint32_t)json_integer_value(json_object_get(x, "first_seqid")));
	json_decref(root);
}

/* A whole Go session without encryption: its datagrams are FEC packets, first to last. */
Test(enc, go_s_session)
{
	json_t *root = vectors_load("pipeline"), *x;
	size_t i, n, seen = 0;

	json_array_foreach(json_object_get(root, "vectors"), i, x)
	{
		json_t *grams = json_object_get(x, "datagrams");
		struct fec_codec *c;
		struct pkt v[3];
		struct fec_enc e;
		unsigned made = 0, at = 0;

		if (strcmp(json_string_value(json_object_get(x, "crypt")), "null") || !json_array_size(grams) ||
		    !json_integer_value(json_object_get(x, "datashard")))
			continue;
		cr_assert_eq(fec_codec_get(&c, 3, 2), 0);
		fec_enc_init(&e, c, bed.mem, &bed.cnt);
		for (size_t k = 0; k < json_array_size(grams); k++) {
			uint8_t *want = vectors_unhex(json_array_get(grams, k), &n);

			if (at < made) {
				check_packet(&v[1 + at++], json_array_get(grams, k));
			} else {
				for (unsigned j = 0; j < 3; j++)
					bed_lend(&v[j]);
				v[0].n = (uint16_t)(n - FEC_HEAD);
				memcpy(v[0].p, want + FEC_HEAD, v[0].n);
				made = fec_enc_burst(&e, v, 1, 1000);
				at = 0;
				check_packet(&v[0], json_array_get(grams, k));
			}
			free(want);
			seen++;
		}
		fec_enc_fini(&e);
		fec_codec_put(c);
	}
	cr_assert_gt(seen, 0);
	json_decref(root);
}

/* The group's parity packets must be what the reference makes of its data packets. */
static void check_group(const struct bed_group *g, const uint8_t *rows, uint32_t seqid)
{
	uint8_t *body[FEC_MAX_SHARDS], want[FEC_MAX_BODY];
	unsigned n[FEC_MAX_SHARDS], longest = 0;

	for (unsigned i = 0; i < g->ds; i++) {
		body[i] = g->v[i].p + FEC_BODY_OFF;
		n[i] = g->v[i].n - FEC_BODY_OFF;
		longest = n[i] > longest ? n[i] : longest;
		cr_assert_eq(le32_get(g->v[i].p), seqid + i);
		cr_assert_eq(le16_get(g->v[i].p + FEC_TYPE_OFF), FEC_TYPE_DATA);
		cr_assert_eq(le16_get(body[i]), n[i]);
	}
	for (unsigned j = 0; j < g->ps; j++) {
		const struct pkt *k = &g->v[g->ds + j];

		cr_assert_eq(k->n, FEC_PARITY_OFF + longest);
		cr_assert_eq(le32_get(k->p), seqid + g->ds + j);
		cr_assert_eq(le16_get(k->p + FEC_TYPE_OFF), FEC_TYPE_PAR);
		ref_parity(rows + j * g->ds, g->ds, body, n, longest, want);
		cr_assert_eq(memcmp(k->p + FEC_PARITY_OFF, want, longest), 0, "(%u,%u) parity %u of %u bytes", g->ds,
			     g->ps, j, longest);
	}
	cr_assert_eq(mem_used(bed.mem), bed.idle, "nothing is held between groups");
}

/* Groups whose lengths are chosen by `pick`, in bursts of random size, against the reference. */
static void run_groups(unsigned ds, unsigned ps, unsigned from, unsigned to, unsigned step,
		       unsigned (*pick)(unsigned len, unsigned i))
{
	static struct bed_group g;
	uint8_t *rows = malloc((size_t)ds * ps);
	unsigned len[FEC_MAX_SHARDS];
	struct fec_codec *c;
	struct fec_enc e;
	uint32_t seqid = 0;

	ref_rows(ds, ps, rows);
	cr_assert_eq(fec_codec_get(&c, ds, ps), 0);
	fec_enc_init(&e, c, bed.mem, &bed.cnt);
	e.last_ms = 999;
	for (unsigned n = from; n <= to; n += step) {
		for (unsigned i = 0; i < ds; i++)
			len[i] = pick(n, i);
		bed_encode(&bed, &e, len, &g);
		check_group(&g, rows, seqid);
		seqid += ds + ps;
	}
	fec_enc_fini(&e);
	fec_codec_put(c);
	free(rows);
}

static unsigned all_equal(unsigned len, unsigned i)
{
	return len;
}

static unsigned any_length(unsigned len, unsigned i)
{
	return 1 + bed_below(&bed, len);
}

static unsigned one_long(unsigned len, unsigned i)
{
	return i == len % 3 ? len : 24;
}

static unsigned creeping(unsigned len, unsigned i)
{
	return len + 64 * i < BED_DATAGRAM ? len + 64 * i : BED_DATAGRAM;
}

Test(enc, every_length)
{
	run_groups(1, 1, 1, BED_DATAGRAM, 1, all_equal);
	run_groups(2, 1, 1, BED_DATAGRAM, 1, all_equal);
	run_groups(3, 2, 1, BED_DATAGRAM, 1, any_length);
	run_groups(10, 3, 1, BED_DATAGRAM, 1, all_equal);
}

Test(enc, mixed_lengths)
{
	run_groups(10, 3, 1, BED_DATAGRAM, 3, any_length);
	run_groups(10, 3, 1, BED_DATAGRAM, 7, one_long);
	run_groups(20, 10, 1, 1400, 101, creeping);
	run_groups(4, 7, 1, BED_DATAGRAM, 11, any_length);
}

Test(enc, large_groups)
{
	run_groups(20, 10, 1, 140, 1, all_equal);
	run_groups(20, 10, 1, BED_DATAGRAM, 31, any_length);
	run_groups(70, 30, 1, BED_DATAGRAM, 149, any_length);
	run_groups(128, 127, 1, BED_DATAGRAM, 499, any_length);
	run_groups(255, 1, 1, BED_DATAGRAM, 499, any_length);
	run_groups(1, 255, 1, BED_DATAGRAM, 499, any_length);
	cr_assert_eq(bed.cnt.FECErrs, 0);
}

/* ---- the 500 ms, memory, idling ---- */

struct line {
	struct fec_codec *c;
	struct fec_enc e;
	struct pkt v[FEC_MAX_SHARDS];
};

static void line_open(struct line *l, unsigned ds, unsigned ps)
{
	cr_assert_eq(fec_codec_get(&l->c, ds, ps), 0);
	fec_enc_init(&l->e, l->c, bed.mem, &bed.cnt);
}

static void line_close(struct line *l)
{
	fec_enc_fini(&l->e);
	fec_codec_put(l->c);
}

static unsigned line_send(struct line *l, unsigned n, unsigned len, uint64_t now)
{
	unsigned all = n + fec_codec_ps(l->c), made;

	for (unsigned i = 0; i < all; i++) {
		bed_lend(&l->v[i]);
		l->v[i].n = i < n ? (uint16_t)len : 0;
		l->v[i].own = &l->v[i];
	}
	made = fec_enc_burst(&l->e, l->v, n, now);
	for (unsigned i = 0; i < all; i++)
		cr_assert_eq(l->v[i].own, &l->v[i], "a lent packet is its lender's, and stays where it is");
	return made;
}

Test(enc, late_closing_packet_gets_no_parity)
{
	struct line l;

	line_open(&l, 3, 2);
	cr_assert_eq(line_send(&l, 2, 100, 10000), 0);
	cr_assert_eq(fec_enc_left(&l.e), 1);
	cr_assert_eq(line_send(&l, 1, 100, 10499), 2);
	cr_assert_eq(l.e.next, 5);
	cr_assert_eq(line_send(&l, 2, 100, 20000), 0);
	cr_assert_eq(line_send(&l, 1, 100, 20500), 0);
	cr_assert_eq(l.e.next, 10);
	/* Only the last gap matters, and packets of one burst have none. */
	cr_assert_eq(line_send(&l, 1, 100, 30000), 0);
	cr_assert_eq(line_send(&l, 2, 100, 40000), 2);
	cr_assert_eq(line_send(&l, 3, 100, 50000), 2);
	cr_assert_eq(l.e.next, 20);
	line_close(&l);
	line_open(&l, 1, 2);
	cr_assert_eq(line_send(&l, 1, 100, 1), 0, "whatever the clock began with");
	line_close(&l);
	line_open(&l, 1, 2);
	cr_assert_eq(line_send(&l, 1, 100, 60000), 0, "the first group of one has no predecessor");
	cr_assert_eq(line_send(&l, 1, 100, 60001), 2);
	cr_assert_eq(line_send(&l, 1, 100, 60501), 0);
	cr_assert_eq(l.e.next, 9);
	cr_assert_eq(bed.cnt.FECErrs, 0);
	line_close(&l);
}

/* Lent packets that end where the longest datagram would. */
Test(enc, writes_nothing_behind_a_packet)
{
	for (unsigned room = 1; room < 200; room++) {
		for (unsigned first = 1; first <= 3; first++) {
			struct line l;

			line_open(&l, 3, 2);
			for (unsigned i = 0; i < 5; i++) {
				bed_lend_room(&l.v[i], room);
				l.v[i].n = (uint16_t)(i == 1 ? room : 1);
			}
			cr_assert_eq(fec_enc_burst(&l.e, l.v, first, 1000), first == 3 ? 2 : 0);
			if (first < 3)
				cr_assert_eq(fec_enc_burst(&l.e, l.v + first, 3 - first, 1000), 2);
			cr_assert_eq(l.v[4].n, FEC_HEAD + room);
			line_close(&l);
		}
	}
}

Test(enc, seqids_wrap_at_a_group_border)
{
	struct line l;

	line_open(&l, 3, 2);
	l.e.next = l.e.paws - 5;
	cr_assert_eq(line_send(&l, 3, 50, 1000), 2);
	cr_assert_eq(le32_get(l.v[4].p), l.e.paws - 1);
	cr_assert_eq(l.e.next, 0);
	l.e.next = l.e.paws - 5;
	cr_assert_eq(line_send(&l, 2, 50, 1000), 0);
	cr_assert_eq(line_send(&l, 1, 50, 2000), 0, "skipped over the wrap");
	cr_assert_eq(l.e.next, 0);
	line_close(&l);
}

Test(enc, goes_without_parity_when_memory_is_short)
{
	struct line l;

	line_open(&l, 10, 3);
	bed_exhaust(&bed);
	cr_assert_eq(line_send(&l, 4, 1000, 1000), 0);
	cr_assert_eq(bed.cnt.FECErrs, 1);
	cr_assert_eq(line_send(&l, 1, 1000, 1000), 0);
	cr_assert_eq(line_send(&l, 5, 1000, 1000), 0);
	cr_assert_eq(bed.cnt.FECErrs, 1);
	cr_assert_eq(l.e.next, 13);
	/* A whole group needs none. */
	cr_assert_eq(line_send(&l, 10, 1000, 1000), 3);
	bed_relieve(&bed);
	/* Growing fails: what was summed up is given back. */
	cr_assert_eq(line_send(&l, 4, 60, 1000), 0);
	cr_assert_gt(mem_used(bed.mem), bed.idle);
	bed_exhaust(&bed);
	cr_assert_eq(line_send(&l, 1, 1400, 1000), 0);
	bed_relieve(&bed);
	cr_assert_eq(mem_used(bed.mem), bed.idle);
	cr_assert_eq(bed.cnt.FECErrs, 2);
	cr_assert_eq(line_send(&l, 5, 60, 1000), 0);
	cr_assert_eq(line_send(&l, 9, 60, 1000), 0);
	cr_assert_eq(line_send(&l, 1, 60, 1000), 3);
	line_close(&l);
}

/* A group of 10+3 as it is sent: which parity packets, by seqid; and with them, what is missing is recovered. */
static void sent_parity(struct line *l, enum fec_parity send, const uint32_t *seqid, unsigned n)
{
	struct bed_dec t;
	unsigned got;

	bed_dec_init(&t, &bed, l->c, false);
	cr_assert_eq(line_send(l, 9, 900, 1000), 0);
	fec_enc_parity(&l->e, send);
	for (unsigned i = n; i < 9; i++)
		bed_feed(&t, &l->v[i]);
	got = line_send(l, 1, 900, 1000);
	cr_assert_eq(got, n, "%u instead of %u", got, n);
	bed_feed(&t, &l->v[0]);
	for (unsigned i = 1; i <= 3; i++) {
		cr_assert_eq(l->v[i].flags, i <= n ? PKT_F_PARITY : 0);
		if (i > n)
			continue;
		cr_assert_eq(l->v[i].n, FEC_PARITY_OFF + FEC_SIZE_LEN + 900);
		cr_assert_eq(le32_get(l->v[i].p), seqid[i - 1]);
		bed_feed(&t, &l->v[i]);
	}
	cr_assert_eq(t.got.n_data, n);
	bed_dec_fini(&t);
}

/* How it stands at the close counts, for what was summed up before too. */
Test(enc, parity_left_out)
{
	struct line l;

	line_open(&l, 10, 3);
	sent_parity(&l, FEC_PARITY_EVEN, (uint32_t[]){10, 12}, 2);
	sent_parity(&l, FEC_PARITY_EVEN, (uint32_t[]){24}, 1);
	sent_parity(&l, FEC_PARITY_NONE, NULL, 0);
	sent_parity(&l, FEC_PARITY_ALL, (uint32_t[]){49, 50, 51}, 3);
	cr_assert_eq(l.e.next, 52);
	cr_assert_eq(mem_used(bed.mem), bed.idle);
	fec_enc_parity(&l.e, FEC_PARITY_EVEN);
	cr_assert_eq(line_send(&l, 10, 900, 1000), 2, "in one burst");
	cr_assert_eq(l.e.next, 65);
	cr_assert_eq(bed.cnt.FECErrs, 0);
	line_close(&l);
}

/* Leaving out the last seqids before the wrap wraps all the same. */
Test(enc, parity_left_out_at_the_wrap)
{
	struct line l;

	line_open(&l, 10, 3);
	l.e.next = l.e.paws - 13;
	fec_enc_parity(&l.e, FEC_PARITY_EVEN);
	line_send(&l, 10, 900, 1000);
	cr_assert_eq(l.e.next, 0);
	l.e.next = l.e.paws - 13;
	fec_enc_parity(&l.e, FEC_PARITY_NONE);
	line_send(&l, 10, 900, 1000);
	cr_assert_eq(l.e.next, 0);
	line_close(&l);
}

Test(enc, idle_session_holds_nothing)
{
	struct line l;

	line_open(&l, 10, 3);
	fec_enc_idle(&l.e);
	cr_assert_eq(line_send(&l, 10, 60, 1000), 3);
	fec_enc_idle(&l.e);
	cr_assert_eq(line_send(&l, 7, 900, 1000), 0, "nothing to give up between groups");
	cr_assert_gt(mem_used(bed.mem), bed.idle);
	fec_enc_idle(&l.e);
	cr_assert_eq(mem_used(bed.mem), bed.idle);
	cr_assert_eq(line_send(&l, 2, 900, 1000), 0);
	cr_assert_eq(mem_used(bed.mem), bed.idle);
	cr_assert_eq(line_send(&l, 1, 900, 1000), 0);
	cr_assert_eq(l.e.next, 26);
	cr_assert_eq(line_send(&l, 10, 900, 1000), 3);
	cr_assert_eq(bed.cnt.FECErrs, 0);
	cr_assert_eq(fec_enc_burst(&l.e, l.v, 0, 1000), 0);
	line_close(&l);
}
