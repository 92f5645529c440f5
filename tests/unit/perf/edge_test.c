/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "fec.h"
#include "fec_wire.h"
#include "kcp_test.h"
#include "sim.h"
#include "stock_fec.h"
#include "stock_kcp.h"

/*
 * Our KCP and FEC with stock's, both generations of it, while everything that wraps does: sequence numbers, the 32 bits
 * of the clock that segments bear, and seqids.  Both ends send, so each side of each is there.
 */

TestSuite(perf_edge);

#define ROOM  64
#define DS    10
#define PS    3
#define BYTES 400000
#define SEGS  100 /* before sequence numbers wrap */
#define MS    60  /* before the clock does */
#define GUARD 120000
#define HEAP  ((size_t)16 << 20)
#define CONV  7

struct ours {
	struct rig *r;
	struct fec_enc enc;
	struct fec_dec *dec;
	struct fec_got got;
	unsigned want;
};

struct stock {
	struct sk k;
	struct sf f;
	uint64_t flush_at;
};

struct bed {
	struct ours us;
	struct stock them;
	struct fec_codec *codec;
	struct sim_link *out[2]; /* ours, stock's */
	uint64_t sent[2], read[2];
	uint64_t now;
	unsigned recovered[2];
	uint8_t *scratch;
};

static uint8_t byte(uint64_t i)
{
	return (uint8_t)(i * 0x9e3779b97f4a7c15 >> 56);
}

static unsigned fill(struct bed *b, int e, uint8_t *p, unsigned n)
{
	if (n > BYTES - b->sent[e])
		n = (unsigned)(BYTES - b->sent[e]);
	for (unsigned i = 0; i < n; i++)
		p[i] = byte(b->sent[e] + i + (uint64_t)e * 777);
	b->sent[e] += n;
	return n;
}

/* End e has received. */
static void check(struct bed *b, int e, const uint8_t *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(p[i], byte(b->read[e] + i + (uint64_t)!e * 777), "byte %lu at end %d", b->read[e] + i, e);
	b->read[e] += n;
}

/* One datagram with its FEC header, and the parity that it may bring. */
static void dress(struct bed *b, int e, const uint8_t *p, unsigned n)
{
	static uint8_t room[1 + PS][ROOM + 1500];
	struct pkt v[1 + PS];
	unsigned more;

	for (unsigned i = 0; i <= PS; i++)
		v[i] = (struct pkt){.p = room[i] + ROOM};
	memcpy(v[0].p, p, n);
	v[0].n = (uint16_t)n;
	more = e ? sf_encode(&b->them.f, v, b->now) : fec_enc_burst(&b->us.enc, v, 1, b->now);
	for (unsigned i = 0; i <= more; i++)
		sim_link_send(b->out[e], v[i].p, v[i].n, b->now * 1000);
}

/* ---- ours ---- */

static void our_input(struct bed *b, const uint8_t *p, uint16_t n, unsigned flags)
{
	int want = kcp_input(&b->us.r->k, p, n, flags, b->now, NULL);

	cr_assert_geq(want, 0, "%d", want);
	b->us.want |= (unsigned)want;
}

static void our_take(struct bed *b, uint8_t *p, uint16_t n)
{
	struct pkt in = {.p = p, .n = n};

	if (p[4] == FEC_TYPE_DATA)
		our_input(b, p + FEC_HEAD, (uint16_t)(n - FEC_HEAD), 0);
	cr_assert_eq(fec_dec_packet(b->us.dec, &in, b->scratch, &b->us.got), 0);
	for (unsigned i = 0; i < b->us.got.n_data; i++)
		our_input(b, b->us.got.data[i].p, (uint16_t)b->us.got.data[i].n, KCP_IN_RECOVERED);
	b->recovered[0] += b->us.got.n_data;
}

static void our_flush(struct bed *b, enum kcp_flush_kind kind)
{
	struct rig *r = b->us.r;

	for (unsigned i = 0, n = rig_flush(r, kind, b->now); i < n; i++)
		dress(b, 0, r->out[i].p, r->out[i].n);
}

static void our_turn(struct bed *b)
{
	struct kcp *k = &b->us.r->k;
	uint8_t buf[4000];
	struct slice v[16];
	unsigned n;

	while ((n = kcp_peek(k, v, 16))) {
		for (unsigned i = 0; i < n; i++)
			check(b, 0, v[i].p, v[i].n);
		b->us.want |= kcp_consume(k, n);
	}
	while (kcp_room(k) && (n = fill(b, 0, buf, sizeof(buf))))
		cr_assert_eq(kcp_send(k, &(struct slice){buf, n}, 1), 0);
	if (b->us.want & KCP_WANT_FULL || kcp_next(k) <= b->now)
		our_flush(b, KCP_FLUSH_FULL);
	else if (b->us.want)
		our_flush(b, KCP_FLUSH_ACKS);
	b->us.want = 0;
}

/* ---- stock's ---- */

static void their_out(void *arg, uint8_t *p, uint16_t n)
{
	dress(arg, 1, p, n);
}

static void their_take(struct bed *b, uint8_t *p, uint16_t n)
{
	struct sf *f = &b->them.f;

	if (p[4] == FEC_TYPE_DATA)
		sk_input(&b->them.k, p + FEC_HEAD, n - FEC_HEAD, false, (uint32_t)b->now);
	sf_decode(f, p, n, b->now);
	for (unsigned i = 0; i < f->got.n_data; i++)
		sk_input(&b->them.k, f->got.data[i].p, f->got.data[i].n, true, (uint32_t)b->now);
	b->recovered[1] += f->got.n_data;
}

static void their_turn(struct bed *b)
{
	struct sk *k = &b->them.k;
	uint8_t buf[4000];
	const uint8_t *p;
	uint16_t n;
	unsigned len;

	while ((p = sk_peek(k, &n))) {
		check(b, 1, p, n);
		sk_read(k);
	}
	while (sk_writable(k) && (len = fill(b, 1, buf, sizeof(buf)))) {
		sk_send(k, buf, len);
		sk_flush(k, SK_FULL, (uint32_t)b->now);
	}
	if (b->now >= b->them.flush_at)
		b->them.flush_at = b->now + sk_flush(k, SK_FULL, (uint32_t)b->now);
}

/* ---- both ---- */

static struct bed *bed_new(int year, uint8_t congestion, uint64_t edge, uint64_t seed)
{
	struct sim_conf link = {.delay_us = 15000, .jitter_us = 3000, .loss = 50, .dup = 10, .reorder = 20};
	struct kcp_conf c = {
		.mtu = 1322, .snd_wnd = 128, .rcv_wnd = 128, .nodelay = 1, .interval = 10, .resend = 2, .nc = 1};
	struct sk_conf sc = {year, 1322, 128, 128, 1, 10, 2, 1, false};
	struct bed *b = calloc(1, sizeof(*b));
	struct sk *k = &b->them.k;
	uint32_t sn = (uint32_t)edge - SEGS;

	c.congestion = congestion;
	b->now = edge - MS;
	b->scratch = malloc(FEC_SCRATCH);
	cr_assert_eq(fec_codec_get(&b->codec, DS, PS), 0);
	b->us.r = rig_new(CONV, &c, HEAP, b->now);
	rig_start_at(b->us.r, sn);
	fec_enc_init(&b->us.enc, b->codec, b->us.r->mem, &b->us.r->cnt);
	b->us.dec = fec_dec_create(b->codec, b->us.r->mem, &b->us.r->cnt);
	sk_init(k, &sc, CONV, their_out, b);
	sf_init(&b->them.f, year, DS, PS);
	k->una = k->nxt = k->end = k->rcv_read = k->rcv = sn;
	b->us.enc.next = b->us.enc.paws - 6 * (DS + PS);
	b->them.f.enc.next = b->us.enc.next;
	b->them.flush_at = b->now;
	for (unsigned e = 0; e < 2; e++)
		b->out[e] = sim_link_new(&link, seed * 2 + e);
	return b;
}

static void bed_free(struct bed *b)
{
	void *none[16];

	fec_enc_fini(&b->us.enc);
	cr_assert_eq(fec_dec_release(b->us.dec, none, 16), 0);
	fec_dec_destroy(b->us.dec);
	rig_free(b->us.r);
	sk_fini(&b->them.k);
	sf_fini(&b->them.f);
	buf_drain();
	fec_codec_put(b->codec);
	sim_link_free(b->out[0]);
	sim_link_free(b->out[1]);
	free(b->scratch);
	free(b);
}

static uint64_t run(int year, uint8_t congestion, uint64_t edge, uint64_t seed)
{
	struct bed *b = bed_new(year, congestion, edge, seed);
	uint64_t begin = b->now;

	for (; b->read[0] < BYTES || b->read[1] < BYTES; b->now++) {
		uint8_t buf[1500];
		int n;

		cr_assert_lt(b->now - begin, GUARD, "edge %lx, %d: %lu and %lu bytes came", edge, year, b->read[0],
			     b->read[1]);
		while ((n = sim_link_recv(b->out[1], buf, sizeof(buf), b->now * 1000)) >= 0)
			our_take(b, buf, (uint16_t)n);
		our_turn(b);
		while ((n = sim_link_recv(b->out[0], buf, sizeof(buf), b->now * 1000)) >= 0)
			their_take(b, buf, (uint16_t)n);
		their_turn(b);
	}
	cr_assert_gt(b->now, edge);
	cr_assert_lt(b->us.r->k.snd_nxt - (uint32_t)edge, 1u << 16);
	cr_assert_lt(b->them.k.nxt - (uint32_t)edge, 1u << 16);
	cr_assert_lt(b->us.enc.next, 1u << 16);
	cr_assert_lt(b->them.f.enc.next, 1u << 16);
	cr_assert(b->recovered[0] && b->recovered[1], "FEC had nothing to do");
	begin = b->now - begin;
	bed_free(b);
	return begin;
}

/* As soon as far from any edge, or nearly. */
static void over(int year, uint8_t congestion)
{
	static const uint64_t edges[] = {1ull << 32, 1ull << 31, 0x41000000};
	uint64_t ms[3] = {0};

	for (unsigned i = 0; i < 3; i++)
		for (uint64_t seed = 1; seed <= 5; seed++)
			ms[i] += run(year, congestion, edges[i], seed);
	printf("%d, congestion %u: %lu, %lu; far from edges %lu ms\n", year, congestion, ms[0] / 5, ms[1] / 5,
	       ms[2] / 5);
	cr_assert_lt(ms[0], ms[2] * 3 / 2);
	cr_assert_lt(ms[1], ms[2] * 3 / 2);
}

Test(perf_edge, stock_of_2021)
{
	over(2021, KCP_CONGESTION_STOCK);
	over(2021, KCP_CONGESTION_AUTO);
}

Test(perf_edge, stock_of_2026)
{
	over(2026, KCP_CONGESTION_STOCK);
	over(2026, KCP_CONGESTION_AUTO);
}
