/* SPDX-License-Identifier: MIT */

/*
 * Whole worker turns: what a datagram costs the worker that sends it and the one that receives it, beside the bare
 * primitives on packets of the same size, timed in the same rounds (figures F1, F2, F3, F9).
 */

#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "bench.h"
#include "eal.h"
#include "prim.h"

#define ROUND_BYTES ((uint64_t)16 << 20)
#define WARM_BYTES  ((uint64_t)64 << 20)
#define MODEL_RATE  ((uint64_t)2500000000) /* 20 Gbit/s: what a worker can carry, and so vectors as wide as without */

/* One direction's outcome. */
struct side {
	struct bench_series ns; /* a datagram of the sender's */
	struct bench_series ratio;
	struct bench_series gbit; /* TCP payload a second of worker time */
};

struct outcome {
	struct side side[2];
	struct bench_series prim[2];
	double payload; /* bytes of TCP a datagram */
};

static void side_add(struct side *s, uint64_t cycles, uint64_t frames, uint64_t bytes, double prim)
{
	double ns = bench_ns(cycles);

	bench_add(&s->ns, ns / (double)frames);
	bench_add(&s->gbit, (double)bytes * 8 / ns);
	if (prim > 0)
		bench_add(&s->ratio, prim * (double)frames / ns);
}

/* A datagram's cycles by stage of the turn: the sender's, and the receiver's. */
static void stages_note(const struct bed *b, const struct worker_stats before[2], uint64_t frames)
{
	for (int e = 0; e < 2; e++) {
		char line[400];
		size_t n = 0;

		for (unsigned s = 0; s < WORKER_N_STAGES; s++)
			n += (size_t)snprintf(line + n, sizeof(line) - n, " %s %.0f", worker_stage_name(s),
					      (double)(worker_stats(b->g[e].w)->stage[s] - before[e].stage[s]) /
						      (double)frames);
		bench_note("%s, cycles a datagram:%s", e ? "receiver" : "sender", line);
	}
}

static void rows(const char *name, const struct outcome *o)
{
	static const char *const what[2] = {"send", "receive"};
	char line[96];

	for (int e = 0; e < 2; e++) {
		snprintf(line, sizeof(line), "%s, %s: turn", name, what[e]);
		bench_row(line, &o->side[e].ns, o->payload);
		snprintf(line, sizeof(line), "%s, %s: primitives", name, what[e]);
		bench_row(line, &o->prim[e], o->payload);
	}
}

static void run(const char *name, const struct bed_conf *c, struct outcome *o)
{
	struct bed *b = bed_new(c);
	struct prim *p = prim_new(c->cipher, c->ds, c->ps, b->g[0].tun.kcp.mtu);

	struct worker_stats before[2];
	uint64_t frames = 0;

	memset(o, 0, sizeof(*o));
	bed_start(b);
	bed_flow(b, true);
	bed_zero(b);
	bed_carry(b, bench_opts.quick ? ROUND_BYTES : WARM_BYTES);
	for (int e = 0; e < 2; e++)
		before[e] = *worker_stats(b->g[e].w);
	for (unsigned i = 0; i < bench_opts.rounds; i++) {
		double send = prim_sum(prim_send(p)), receive = prim_sum(prim_receive(p));

		bed_zero(b);
		if (!bed_carry(b, ROUND_BYTES))
			break;
		side_add(&o->side[BED_CLIENT], b->g[BED_CLIENT].cycles, b->frames[0], b->got, send);
		side_add(&o->side[BED_SERVER], b->g[BED_SERVER].cycles, b->frames[0] - b->lost, b->got, receive);
		bench_add(&o->prim[BED_CLIENT], send);
		bench_add(&o->prim[BED_SERVER], receive);
		o->payload = (double)b->got / (double)b->frames[0];
		frames += b->frames[0];
	}
	rows(name, o);
	stages_note(b, before, frames);
	bed_flow(b, false);
	prim_free(p);
	bed_end(b);
}

static void figure(const char *id, const char *name, const struct bench_series *s, double target)
{
	struct bench_stat t = bench_stat(s);

	bench_figure(id, name, &t, BENCH_AT_LEAST, target);
}

static const struct bed_conf usual = {
	.cipher = "aes", .ds = 10, .ps = 3, .wnd = 4096, .nic_csum = true, .sessions = 1, .streams = 1, .step_us = 200};

static void efficiency(void)
{
	static struct outcome o;
	struct bed_conf c = usual;

	if (bench_wanted("F1") || bench_wanted("F2")) {
		run("F1, F2: aes, FEC 10/3", &c, &o);
		figure("F1", "send: primitives / turn (aes, FEC 10/3)", &o.side[0].ratio, 0.60);
		figure("F1", "send: Gbit/s of TCP payload on one worker", &o.side[0].gbit, 10);
		figure("F2", "receive: primitives / turn (aes, FEC 10/3)", &o.side[1].ratio, 0.60);
		figure("F2", "receive: Gbit/s of TCP payload on one worker", &o.side[1].gbit, 14);
	}
	if (bench_wanted("F3")) {
		c.cipher = "aes-128-gcm";
		c.ds = c.ps = 0;
		run("F3: aes-128-gcm, no FEC", &c, &o);
		figure("F3", "send: primitives / turn (aes-128-gcm)", &o.side[0].ratio, 0.55);
		figure("F3", "receive: primitives / turn (aes-128-gcm)", &o.side[1].ratio, 0.55);
	}
}

static void variant(const char *name, struct bed_conf c)
{
	static struct outcome o;

	if (bench_wanted(name))
		run(name, &c, &o);
}

/* What the other settings cost, without figures. */
static void variants(void)
{
	struct bed_conf c = usual;

	c.nic_csum = false;
	variant("aes, 10/3, checksums by us", c);
	c = usual;
	c.unfiltered = true;
	variant("aes, 10/3, replaycheck off", c);
	c = usual;
	c.streams = 64;
	variant("aes, 10/3, 64 streams", c);
	c = usual;
	c.sessions = 64;
	c.wnd = 512;
	variant("aes, 10/3, 64 sessions", c);
	c = usual;
	c.comp = true;
	variant("aes, 10/3, snappy", c);
	c = usual;
	c.ds = c.ps = 0;
	variant("aes, no FEC", c);
	c.bandwidth = MODEL_RATE;
	c.model = true;
	variant("aes, no FEC, paced by the model", c);
	c = usual;
	c.cipher = "null";
	c.ds = c.ps = 0;
	variant("null, no FEC", c);
}

/* ---- F9: windows ---- */

/* A datagram's cost at both ends with a window that is full: the wire is as long as it takes for that. */
static void window(unsigned wnd, unsigned loss, struct bench_series *ns)
{
	struct bed_conf c = {.cipher = "aes",
			     .wnd = wnd,
			     .nic_csum = true,
			     .sessions = 1,
			     .streams = 1,
			     .step_us = 200,
			     .delay = wnd > 1024 ? wnd / 1024 : 1,
			     .loss_permille = loss * 10,
			     .ahead = 4 << 20};
	struct bed *b = bed_new(&c);
	uint64_t warm = (uint64_t)wnd * 1300 * 4, most = 0, frames = 0;
	struct worker_stats before[2];
	char name[64];

	ns->n = 0;
	bed_start(b);
	bed_flow(b, true);
	bed_zero(b);
	bed_carry(b, warm > WARM_BYTES ? warm : WARM_BYTES);
	for (int e = 0; e < 2; e++)
		before[e] = *worker_stats(b->g[e].w);
	for (unsigned i = 0; i < bench_opts.rounds; i++) {
		struct kcp_info info;

		bed_zero(b);
		if (!bed_carry(b, ROUND_BYTES))
			break;
		bench_add(ns, bench_ns(b->g[0].cycles + b->g[1].cycles) / (double)b->frames[0]);
		frames += b->frames[0];
		kcp_info(&b->g[BED_CLIENT].shard->all[0]->kcp, &info);
		most = info.snd_buf > most ? info.snd_buf : most;
	}
	snprintf(name, sizeof(name), "F9: window %u, %u %% lost, both ends", wnd, loss);
	bench_row(name, ns, 0);
	stages_note(b, before, frames);
	bench_note("at most %lu segments in flight", (unsigned long)most);
	bed_flow(b, false);
	bed_end(b);
}

static void windows(void)
{
	static const unsigned losses[] = {0, 5};
	static struct bench_series small, large;

	for (unsigned i = 0; i < 2; i++) {
		struct bench_stat s, l, r;
		char name[80];

		window(128, losses[i], &small);
		window(32768, losses[i], &large);
		s = bench_stat(&small);
		l = bench_stat(&large);
		r = (struct bench_stat){l.median / s.median, l.lo / s.hi, l.hi / s.lo, l.min / s.max, l.max / s.min};
		snprintf(name, sizeof(name), "cost a packet at window 32,768 / at 128, %u %% lost", losses[i]);
		bench_figure("F9", name, &r, BENCH_AT_MOST, 1.3);
	}
}

int main(int argc, char **argv)
{
	bench_begin(argc, argv, "bm_turn", "whole worker turns, no kernel in between");
	if (bench_eal(1024, NULL))
		return 1;
	efficiency();
	if (bench_wanted("F9"))
		windows();
	variants();
	return bench_end();
}
