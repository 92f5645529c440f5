/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "buf.h"
#include "le.h"
#include "ref.h"
#include "sim.h"
#include "stock_fec.h"
#include "stock_kcp.h"

/* The yardstick is stock: its KCP of 2026 is that of kcp/ref.c byte for byte, and what 2021 does otherwise (wire.md 4).
 */

TestSuite(perf_stock);

#define DGRAMS 600

struct sent { /* datagrams since the last look */
	unsigned n;
	uint16_t len[DGRAMS];
	uint8_t p[DGRAMS][1500];
};

static void keep(void *arg, uint8_t *p, uint16_t n)
{
	struct sent *s = arg;

	cr_assert_lt(s->n, DGRAMS);
	memcpy(s->p[s->n], p, n);
	s->len[s->n++] = n;
}

static void keep_ref(struct sent *s, struct ref *r)
{
	for (unsigned i = 0; i < r->n_out; i++)
		keep(s, r->out[i], r->out_len[i]);
}

/* What kcp-go does with the wish that an input leaves behind. */
static void ref_feed(struct sent *s, struct ref *r, const uint8_t *p, uint32_t n, bool recovered, uint32_t now)
{
	int want = ref_input(r, p, n, recovered, now);

	if (want <= 0)
		return;
	ref_flush(r, want == KCP_WANT_FULL ? KCP_FLUSH_FULL : KCP_FLUSH_ACKS, now);
	keep_ref(s, r);
}

static void same(const struct sent *a, const struct sent *b, uint32_t now)
{
	cr_assert_eq(a->n, b->n, "at %u: %u datagrams, not %u", now, a->n, b->n);
	for (unsigned i = 0; i < a->n; i++) {
		cr_assert_eq(a->len[i], b->len[i]);
		cr_assert_eq(memcmp(a->p[i], b->p[i], a->len[i]), 0, "at %u: datagram %u", now, i);
	}
}

struct twin { /* one end, made twice */
	struct ref *ref;
	struct sk sk;
	struct sent by_ref, by_sk;
	uint32_t flush_at;
};

static void twin_flush(struct twin *t, uint32_t now)
{
	uint32_t delay = ref_flush(t->ref, KCP_FLUSH_FULL, now);

	keep_ref(&t->by_ref, t->ref);
	cr_assert_eq(sk_flush(&t->sk, SK_FULL, now), delay, "at %u", now);
	t->flush_at = now + delay;
}

static void twin_write(struct twin *t, struct sim_rng *g, uint32_t now)
{
	uint8_t buf[4000];
	uint32_t n = 1 + sim_below(g, sizeof(buf) - 1);

	cr_assert_eq(ref_may_send(t->ref), sk_writable(&t->sk));
	if (!sk_writable(&t->sk))
		return;
	for (uint32_t i = 0; i < n; i++)
		buf[i] = (uint8_t)sim_rand(g);
	ref_send(t->ref, buf, n);
	sk_send(&t->sk, buf, n);
	twin_flush(t, now);
}

static void twin_read(struct twin *t, unsigned most)
{
	uint8_t buf[2048];
	const uint8_t *p;
	uint16_t n;

	for (; most && (p = sk_peek(&t->sk, &n)); most--) {
		cr_assert_eq(ref_recv(t->ref, buf), n);
		cr_assert_eq(memcmp(p, buf, n), 0);
		sk_read(&t->sk);
	}
	if (most)
		cr_assert_eq(ref_recv(t->ref, buf), -1);
}

static void twins_run(const struct kcp_conf *c, uint32_t loss, uint64_t seed)
{
	struct sim_conf link = {.delay_us = 20000, .jitter_us = 15000, .loss = loss, .dup = 20, .reorder = 20};
	struct sk_conf sc = {2026,	  c->mtu,    c->snd_wnd, c->rcv_wnd,   c->nodelay,
			     c->interval, c->resend, c->nc,	 c->acknodelay};
	struct twin *t = calloc(2, sizeof(*t));
	struct sim_link *out[2];
	struct sim_rng g = {seed};
	uint64_t moved = 0;

	for (int e = 0; e < 2; e++) {
		t[e].ref = ref_new(7, c);
		t[e].ref->credulous = true;
		t[e].ref->stock = true;
		sk_init(&t[e].sk, &sc, 7, keep, &t[e].by_sk);
		out[e] = sim_link_new(&link, seed + (uint64_t)e);
	}
	for (uint32_t now = 1; now < 8000; now++) {
		for (int e = 0; e < 2; e++) {
			uint8_t buf[1500];
			int n;

			t[e].by_ref.n = t[e].by_sk.n = 0;
			while ((n = sim_link_recv(out[!e], buf, sizeof(buf), now * 1000)) >= 0) {
				bool recovered = sim_chance(&g, 50);

				ref_feed(&t[e].by_ref, t[e].ref, buf, (uint32_t)n, recovered, now);
				sk_input(&t[e].sk, buf, (uint32_t)n, recovered, now);
			}
			twin_read(&t[e], sim_below(&g, 3) ? 1000 : sim_below(&g, 8));
			if (sim_chance(&g, 150))
				twin_write(&t[e], &g, now);
			if (now >= t[e].flush_at)
				twin_flush(&t[e], now);
			same(&t[e].by_ref, &t[e].by_sk, now);
			for (unsigned i = 0; i < t[e].by_sk.n; i++)
				sim_link_send(out[e], t[e].by_sk.p[i], t[e].by_sk.len[i], now * 1000);
			moved += t[e].by_sk.n;
		}
	}
	cr_assert_gt(moved, 1000);
	for (int e = 0; e < 2; e++) {
		cr_assert_eq(t[e].sk.timeouts, t[e].ref->lost);
		cr_assert_eq(t[e].sk.fast, t[e].ref->fast);
		cr_assert_eq(t[e].sk.early, t[e].ref->early);
		cr_assert_eq(t[e].sk.repeats, t[e].ref->repeat);
		ref_free(t[e].ref);
		sk_fini(&t[e].sk);
		sim_link_free(out[e]);
	}
	free(t);
}

Test(perf_stock, like_the_reference)
{
	struct kcp_conf c = {.mtu = 1322, .snd_wnd = 64, .rcv_wnd = 48, .interval = 30, .resend = 2, .nc = 1};

	twins_run(&c, 0, 1);
	twins_run(&c, 100, 2);
	c.nodelay = 1;
	c.interval = 10;
	twins_run(&c, 50, 3);
	c.nc = 0;
	twins_run(&c, 50, 4);
	c.acknodelay = true;
	c.resend = 0;
	twins_run(&c, 200, 5);
	c = (struct kcp_conf){.mtu = 400, .snd_wnd = 128, .rcv_wnd = 8, .interval = 40, .resend = 1, .nc = 1};
	twins_run(&c, 100, 6);
}

/* ---- 2021 ---- */

static struct sk_conf conf_2021(void)
{
	return (struct sk_conf){
		.year = 2021, .mtu = 1024, .snd_wnd = 64, .rcv_wnd = 64, .interval = 30, .resend = 2, .nc = 1};
}

static void ack(struct sk *k, uint32_t sn, uint32_t ts, uint32_t una, uint16_t wnd, uint32_t now)
{
	uint8_t p[24] = {0};

	p[4] = 82;
	le16_put(p + 6, wnd);
	le32_put(p + 8, ts);
	le32_put(p + 12, sn);
	le32_put(p + 16, una);
	cr_assert_eq(sk_input(k, p, sizeof(p), false, now), 0);
}

/* Acknowledgements of later segments ask for no flush by themselves, and one that una lets run sends it again as often
 * as they come: nothing is latched. */
Test(perf_stock, fast_again_and_again)
{
	struct sk_conf c = conf_2021();
	struct sent *s = calloc(1, sizeof(*s));
	uint8_t data[1000] = {0};
	struct sk k;

	sk_init(&k, &c, 0, keep, s);
	for (int i = 0; i < 8; i++) {
		sk_send(&k, data, sizeof(data));
		sk_flush(&k, SK_FULL, 1);
	}
	cr_assert_eq(s->n, 8);
	ack(&k, 2, 1, 1, 64, 50);
	cr_assert_eq(s->n, 9, "una has advanced: the segment at it, with an acknowledgement behind it, goes early");
	cr_assert_eq(k.early, 1);
	ack(&k, 3, 50, 1, 64, 51);
	ack(&k, 4, 50, 1, 64, 51);
	cr_assert_eq(s->n, 9, "no flush without una");
	sk_flush(&k, SK_FULL, 60);
	cr_assert_eq(s->n, 10);
	cr_assert_eq(k.fast, 1);
	ack(&k, 5, 60, 1, 64, 70);
	ack(&k, 6, 60, 1, 64, 70);
	sk_flush(&k, SK_FULL, 71);
	cr_assert_eq(k.fast, 2);
	cr_assert_eq(k.timeouts, 0);
	sk_fini(&k);
	free(s);
}

/* Writers wait for the peer's window too, and many waiting acknowledgements for the tick. */
Test(perf_stock, waits_of_2021)
{
	struct sk_conf c = conf_2021();
	struct sent *s = calloc(1, sizeof(*s));
	uint8_t data[1000] = {0}, push[24 + 1] = {0};
	struct sk k;
	unsigned n = 0;

	sk_init(&k, &c, 0, keep, s);
	for (; sk_writable(&k); n++)
		sk_send(&k, data, sizeof(data));
	cr_assert_eq(n, 32, "the peer's window, before it has spoken");
	k.conf.year = 2026;
	cr_assert(sk_writable(&k));
	k.conf.year = 2021;
	push[4] = 81;
	le16_put(push + 6, 64);
	le32_put(push + 20, 1);
	for (uint32_t sn = 0; sn < 60; sn++) {
		le32_put(push + 12, sn);
		sk_input(&k, push, sizeof(push), false, 1);
	}
	cr_assert_eq(s->n, 0);
	sk_flush(&k, SK_ACKS, 1);
	cr_assert_eq(s->n, 1);
	cr_assert_eq(s->len[0], 24, "in order: the last one alone");
	sk_fini(&k);
	free(s);
}

/* Of a group ten packets are enough, whichever; nine are not. */
Test(perf_stock, fec)
{
	for (int year = 2021; year <= 2026; year += 5) {
		struct sim_rng g = {(uint64_t)year};
		struct sf a, b;

		sf_init(&a, year, 10, 3);
		sf_init(&b, year, 10, 3);
		for (unsigned group = 0; group < 300; group++) {
			unsigned gone = sim_below(&g, 5), lost_data = 0, got = 0, parity = 0, drop[13] = {0};
			static uint8_t body[10][64 + 1400], room[4][64 + 1500];
			unsigned len[10];

			for (unsigned k = 0; k < gone;) {
				unsigned i = sim_below(&g, 13);

				k += !drop[i];
				drop[i] = 1;
			}
			for (unsigned i = 0; i < 10; i++) {
				struct pkt v[4];
				unsigned more;

				len[i] = 24 + sim_below(&g, 1300);
				for (unsigned k = 0; k < len[i]; k++)
					body[i][64 + k] = (uint8_t)sim_rand(&g);
				for (unsigned k = 0; k < 4; k++)
					v[k] = (struct pkt){.p = room[k] + 64};
				memcpy(v[0].p, body[i] + 64, len[i]);
				v[0].n = (uint16_t)len[i];
				more = sf_encode(&a, v, 1000 + group);
				cr_assert_eq(more, i == 9 ? 3 : 0);
				lost_data += drop[i];
				for (unsigned k = 0; k <= more; k++) {
					if (drop[k ? 10 + parity++ : i])
						continue;
					sf_decode(&b, v[k].p, v[k].n, 1000 + group);
					got += b.got.n_data;
					for (unsigned d = 0; d < b.got.n_data; d++) {
						bool known = false;

						for (unsigned o = 0; o < 10; o++)
							known |= b.got.data[d].n == len[o] &&
								 !memcmp(b.got.data[d].p, body[o] + 64, len[o]);
						cr_assert(known, "a datagram that nobody sent");
					}
				}
			}
			cr_assert_eq(got, gone <= 3 ? lost_data : 0, "%u of %u came back, %u packets gone", got,
				     lost_data, gone);
		}
		cr_assert_eq(b.foreign, 0);
		sf_fini(&a);
		sf_fini(&b);
	}
}

/* What a group of 10+3 with at most `most` of its parity is to a stock decoder when `gone` of its data are lost. */
static unsigned few(struct sf *a, struct sf *b, struct sim_rng *g, unsigned most, unsigned gone)
{
	static uint8_t room[4][64 + 1500], body[10][1400];
	unsigned got = 0, from = sim_below(g, 11 - gone);

	fec_enc_send(&a->enc, most);
	for (unsigned i = 0; i < 10; i++) {
		struct pkt v[4];
		unsigned more;

		for (unsigned k = 0; k < 4; k++)
			v[k] = (struct pkt){.p = room[k] + 64};
		for (unsigned k = 0; k < 1400; k++)
			body[i][k] = (uint8_t)sim_rand(g);
		v[0].n = 1400;
		memcpy(v[0].p, body[i], 1400);
		more = sf_encode(a, v, 1000);
		cr_assert_eq(more, i == 9 ? most : 0);
		for (unsigned k = i >= from && i < from + gone; k <= more; k++) {
			sf_decode(b, v[k].p, v[k].n, 1000);
			for (unsigned d = 0; d < b->got.n_data; d++)
				cr_assert_eq(memcmp(b->got.data[d].p, body[from + d], 1400), 0);
			got += b->got.n_data;
		}
	}
	return got;
}

/* Parity that is left out is a hole to a stock decoder: what does come serves as ever, and the groups stay. */
Test(perf_stock, fec_with_parity_left_out)
{
	for (int year = 2021; year <= 2026; year += 5) {
		struct sf a, b;
		struct sim_rng g = {61};

		sf_init(&a, year, 10, 3);
		sf_init(&b, year, 10, 3);
		cr_assert_eq(few(&a, &b, &g, 3, 0), 0);
		for (unsigned run = 0; run < 200; run++) {
			unsigned most = sim_below(&g, 4), gone = 1 + sim_below(&g, 3);

			cr_assert_eq(few(&a, &b, &g, most, gone), gone <= most ? gone : 0, "%d: %u of 3, %u gone", year,
				     most, gone);
		}
		cr_assert_eq(b.foreign, 0);
		sf_fini(&a);
		sf_fini(&b);
	}
}

/* A group that is late with its parity has it in 2021, and not later. */
Test(perf_stock, fec_after_a_pause)
{
	for (int year = 2021; year <= 2026; year += 5) {
		static uint8_t room[3][64 + 1500];
		struct sf f;
		unsigned more = 0;

		sf_init(&f, year, 2, 1);
		for (unsigned i = 0; i < 2; i++) {
			struct pkt v[2] = {{.p = room[0] + 64, .n = 100}, {.p = room[1] + 64}};

			more = sf_encode(&f, v, 1000 + 600 * i);
		}
		cr_assert_eq(more, year == 2021 ? 1 : 0);
		sf_fini(&f);
	}
}
