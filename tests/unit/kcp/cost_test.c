/* SPDX-License-Identifier: MIT */

/*
 * The cost of a segment does not depend on the window.  The room is compiled with -fsanitize-coverage=trace-pc, which
 * calls the function below in every basic block: a count of work that no clock disturbs.
 */

#include <stdio.h>

#include "kcp_test.h"
#include "sim.h"

static uint64_t blocks;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
	blocks++;
}

struct end {
	struct rig *r;
	struct sim_link *out;
};

static void end_flush(struct end *e, enum kcp_flush_kind kind, uint64_t now)
{
	struct pkt out[64];
	unsigned n;

	do {
		for (unsigned i = 0; i < 64; i++)
			out[i] = (struct pkt){.p = e->r->buf[i]};
		n = kcp_flush(&e->r->k, kind, now, out, 64);
		for (unsigned i = 0; i < n; i++)
			sim_link_send(e->out, out[i].p, out[i].n, now * 1000);
	} while (n == 64);
}

static void end_turn(struct end *e, struct sim_link *in, uint64_t now, bool writes)
{
	static const uint8_t data[64];
	uint8_t buf[KCP_MTU_MAX];
	struct kcp_got got;
	unsigned want = 0;
	int n;

	while ((n = sim_link_recv(in, buf, sizeof(buf), now * 1000)) >= 0) {
		want |= (unsigned)kcp_input(&e->r->k, buf, (uint16_t)n, 0, now, &got);
		want |= kcp_consume(&e->r->k, UINT32_MAX);
	}
	while (writes && kcp_room(&e->r->k))
		kcp_send(&e->r->k, &(struct slice){data, e->r->k.mss}, 1);
	if ((want & KCP_WANT_FULL) || kcp_next(&e->r->k) <= now)
		end_flush(e, KCP_FLUSH_FULL, now);
	else if (want & KCP_WANT_ACKS)
		end_flush(e, KCP_FLUSH_ACKS, now);
}

/* Basic blocks for each segment delivered, both ends together, with the window always full. */
static double cost(uint32_t wnd, uint32_t loss, bool blackouts, enum kcp_congestion congestion)
{
	struct kcp_conf conf = {.mtu = 64,
				.snd_wnd = wnd,
				.rcv_wnd = wnd,
				.nodelay = 1,
				.interval = 10,
				.resend = 2,
				.nc = 1,
				.congestion = congestion};
	struct sim_conf link = {.delay_us = 20000, .jitter_us = 2000, .loss = loss}, dark = {.loss = 1000};
	struct end e[2];
	uint64_t now = 0;

	for (int i = 0; i < 2; i++) {
		e[i].r = rig_new(7, &conf, 64 << 20, now);
		e[i].out = sim_link_new(&link, 99 + (uint64_t)i);
	}
	blocks = 0;
	for (; e[1].r->k.rcv_nxt < 6 * wnd + 4000; now++) {
		if (blackouts && now % 2000 == 300)
			sim_link_set(e[0].out, &dark);
		if (blackouts && now % 2000 == 600)
			sim_link_set(e[0].out, &link);
		end_turn(&e[0], e[1].out, now, true);
		end_turn(&e[1], e[0].out, now, false);
	}
	for (int i = 0; i < 2; i++) {
		rig_free(e[i].r);
		sim_link_free(e[i].out);
	}
	return (double)blocks / (6 * wnd + 4000);
}

static void compare(const char *name, uint32_t loss, bool blackouts, enum kcp_congestion cc, double most)
{
	double small = cost(256, loss, blackouts, cc), mid = cost(2048, loss, blackouts, cc),
	       large = cost(32768, loss, blackouts, cc);

	printf("%s: %.0f, %.0f, %.0f basic blocks a segment with windows of 256, 2048, 32768\n", name, small, mid,
	       large);
	cr_expect_leq(mid, 1.3 * small + 10, "%s", name);
	cr_expect_leq(large, 1.3 * small + 10, "%s", name);
	cr_expect_leq(large, most, "%s: %.0f", name, large);
}

Test(kcp_cost, does_not_grow_with_the_window)
{
	compare("no loss", 0, false, KCP_CONGESTION_STOCK, 400);
	compare("2 % loss", 20, false, KCP_CONGESTION_STOCK, 500);
	compare("20 % loss", 200, false, KCP_CONGESTION_STOCK, 600);
	compare("blackouts", 20, true, KCP_CONGESTION_STOCK, 600);
}

Test(kcp_cost, does_not_grow_with_the_flight)
{
	compare("no loss, by the model", 0, false, KCP_CONGESTION_AUTO, 600);
	compare("2 % loss, by the model", 20, false, KCP_CONGESTION_AUTO, 600);
	compare("20 % loss, by the model", 200, false, KCP_CONGESTION_AUTO, 800);
	compare("blackouts, by the model", 20, true, KCP_CONGESTION_AUTO, 1000);
}

/* ---- lies ---- */

#define FLOOD	  56 /* ACKs of a datagram */
#define DATAGRAMS 2000

/* A session with so many segments in flight, some of them acknowledged by themselves. */
static struct rig *flight_of(uint32_t n)
{
	struct kcp_conf conf = {.mtu = 64,
				.snd_wnd = 65535,
				.rcv_wnd = 1024,
				.nodelay = 1,
				.interval = 10,
				.resend = 2,
				.nc = 1,
				.congestion = KCP_CONGESTION_AUTO};
	struct rig *r = rig_new(7, &conf, 64 << 20, 1000);
	static const uint8_t data[64];
	struct kcp *k = &r->k;

	k->rmt_wnd = 65535;
	k->m.cwnd = UINT32_MAX / 2;
	while (k->snd_sent != n) {
		struct pkt out = {.p = r->buf[0]};

		while (kcp_room(k) && k->snd_end != n)
			kcp_send(k, &(struct slice){data, k->mss}, 1);
		kcp_flush(k, KCP_FLUSH_FULL, 1000, &out, 1);
	}
	return r;
}

/* Basic blocks of an ACK in a flood of such as say nothing new, with the flush that each datagram may ask for. */
static double flood(uint32_t n, unsigned kind)
{
	struct rig *r = flight_of(n);
	struct sim_rng g = {kind};
	struct kcp *k = &r->k;
	unsigned long spent = 0;
	uint64_t now = 1000;

	for (unsigned d = 0; d < DATAGRAMS; d++) {
		uint8_t p[FLOOD * KCP_HEAD];

		for (unsigned i = 0; i < FLOOD; i++) {
			struct kcp_head h = {.conv = 7, .cmd = KCP_ACK, .wnd = 65535, .una = k->snd_una};

			h.ts = (uint32_t)(kind == 2 ? sim_rand(&g) : 1000);
			h.sn = kind == 0   ? n + sim_below(&g, 100000) /* never sent */
			       : kind == 1 ? k->snd_una + 1	       /* again and again */
					   : k->snd_una - 1 - sim_below(&g, 100000);
			kcp_head_put(p + i * KCP_HEAD, &h);
		}
		blocks = 0;
		if (kcp_input(k, p, sizeof(p), 0, now, NULL) & KCP_WANT_FULL)
			kcp_flush(k, KCP_FLUSH_FULL, now, &(struct pkt){.p = r->buf[0]}, 1);
		spent += blocks;
	}
	rig_free(r);
	return (double)spent / DATAGRAMS / FLOOD;
}

Test(kcp_cost, a_flood_of_lies_costs_no_more_with_a_large_flight)
{
	for (unsigned kind = 0; kind < 3; kind++) {
		double small = flood(256, kind), large = flood(32768, kind);

		printf("lies of kind %u: %.1f, %.1f basic blocks an ACK with a flight of 256, 32768\n", kind, small,
		       large);
		cr_expect_leq(large, 1.1 * small + 1);
		cr_expect_leq(large, 60, "%.1f", large);
	}
}
