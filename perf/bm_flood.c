/* SPDX-License-Identifier: MIT */

/*
 * A flood of garbage to a listening port, and one real session beside it (figure F11).  Time is what the server's
 * worker spends: while a turn lasts, so much garbage arrives as its rate says, in between the session's own datagrams,
 * into a receive ring of a NIC's size; what finds it full is lost, whosever it is.  The client sends at a fixed rate
 * and costs nothing.  The highest rate at which the session keeps 90 % of its goodput is the figure.
 *
 * And a flood by somebody who has the key: datagrams that each begin a session, of one address that has as many as it
 * may, so that each is decrypted and refused.
 */

#include <stdio.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_udp.h>

#include "bed.h"
#include "bench.h"
#include "eal.h"
#include "origin.h"

#define RX_RING	    1024u      /* descriptors */
#define SOURCES	    4096u      /* garbage comes from so many addresses and ports */
#define LINE	    125000000u /* bytes/s that the session sends: 1 Gbit/s with all overhead */
#define DELAY_US    5000u
#define CLIENT_US   20u	  /* the client has a turn so often */
#define TURN_MAX_US 2000u /* a longer one was interrupted by the machine: its time does not count, but is told of */
#define RATE_MIN    500000.0
#define RATE_MAX    20e6
#define HIS_LIMIT   16u /* sessions of the address that the flood with the key comes from */

struct garbage {
	unsigned len; /* of the frame, without FCS */
	uint8_t frame[SOURCES][1500];
};

/* A run: virtual time in cycles of the TSC. */
struct flood {
	struct bed *b;
	const struct garbage *g;
	double rate;	      /* packets/s */
	double owed;	      /* garbage that has arrived and was not yet given */
	uint64_t now, client; /* cycles; when the client had its last turn */
	uint64_t us, step;    /* the bed's time at 0 */
	uint64_t sent, lost;
	uint64_t interrupted; /* turns */
	bool keyed;
};

static void garbage_make(struct garbage *g, unsigned len)
{
	uint64_t r = 88172645463325252ull;

	g->len = len;
	for (unsigned i = 0; i < SOURCES; i++) {
		struct rte_ether_hdr *eth = (struct rte_ether_hdr *)g->frame[i];
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

		for (unsigned k = 0; k < len; k++) {
			r ^= r << 13;
			r ^= r >> 7;
			r ^= r << 17;
			g->frame[i][k] = (uint8_t)(r >> 32);
		}
		memcpy(eth, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
		*ip = (struct rte_ipv4_hdr){.version_ihl = 0x45,
					    .total_length = rte_cpu_to_be_16((uint16_t)(len - 14)),
					    .time_to_live = 60,
					    .next_proto_id = 17,
					    .src_addr = rte_cpu_to_be_32(0x0a000000u | (uint32_t)(r & 0xffff00)),
					    .dst_addr = rte_cpu_to_be_32(0x0a000002)};
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		udp->src_port = (uint16_t)(r >> 40);
		udp->dst_port = rte_cpu_to_be_16(4000);
		udp->dgram_len = rte_cpu_to_be_16((uint16_t)(len - 34));
		udp->dgram_cksum = 0;
	}
}

/* Sealed with the tunnel's key, over the frames that are there: a conversation each, of a port each. */
static void beginnings_make(struct garbage *g, struct bed *b)
{
	struct bed_gate *from = &b->g[BED_CLIENT];
	unsigned head = crypt_head(from->crypt), n = g->len - 42 - head - crypt_tail(from->crypt);

	for (unsigned i = 0; i < SOURCES; i++) {
		struct rte_ether_hdr *eth = (struct rte_ether_hdr *)g->frame[i];
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
		uint8_t *p = g->frame[i] + 42 + head, *kcp = p + FEC_HEAD;
		struct pkt k = {.p = p, .n = (uint16_t)n, .crypt = from->crypt};

		memset(p, 0, n);
		p[4] = 0xf1;
		p[6] = (uint8_t)(n - FEC_HEAD + 2);
		memcpy(kcp, &i, 4);
		kcp[4] = 81; /* PUSH */
		kcp[20] = (uint8_t)(n - FEC_HEAD - 24);
		for (unsigned at = 24; at + 8 <= n - FEC_HEAD; at += 8)
			memcpy(kcp + at, "\2\3", 2); /* NOPs of smux 2: what is let in stays */
		crypt_seal_burst(from->mb, &k, 1);
		ip->src_addr = rte_cpu_to_be_32(0x0a090909);
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		udp->src_port = rte_cpu_to_be_16((uint16_t)(10000 + i));
	}
}

static bool ring_full(const struct bed *b)
{
	return rte_ring_count(b->g[BED_SERVER].rx) >= RX_RING;
}

static void flood_one(struct flood *f)
{
	struct bed_gate *to = &f->b->g[BED_SERVER];
	struct rte_mbuf *m;

	f->sent++;
	if (ring_full(f->b)) {
		f->lost++;
		return;
	}
	m = rte_pktmbuf_alloc(f->b->pool);
	if (!m) {
		f->lost++;
		return;
	}
	memcpy(rte_pktmbuf_append(m, (uint16_t)f->g->len), f->g->frame[f->sent % SOURCES], f->g->len);
	m->port = to->port;
	rte_ring_sp_enqueue(to->rx, m);
}

/* What arrived while the last turn lasted: garbage, with the session's datagrams spread among it. */
static void arrive(struct flood *f, uint64_t cycles)
{
	unsigned n, every;

	f->owed += f->rate * (double)cycles / bench_hz();
	n = (unsigned)f->owed;
	f->owed -= n;
	every = n / 8 + 1;
	for (unsigned i = 0; i < n; i++) {
		flood_one(f);
		if (i % every == 0 && !ring_full(f->b))
			bed_give(f->b, BED_SERVER, 16);
	}
	while (!ring_full(f->b) && bed_give(f->b, BED_SERVER, 16))
		;
	bed_lose(f->b, BED_SERVER);
}

static void flood_turn(struct flood *f)
{
	struct bed *b = f->b;
	uint64_t us = (uint64_t)((double)f->now * 1e6 / bench_hz()), cycles;

	b->us = f->us + us;
	b->step = f->step + us;
	if (f->now - f->client > (uint64_t)(bench_hz() * CLIENT_US / 1e6)) {
		f->client = f->now;
		while (bed_give(b, BED_CLIENT, 256) == 256)
			bed_turn(b, BED_CLIENT);
		bed_turn(b, BED_CLIENT);
	}
	cycles = bed_turn(b, BED_SERVER);
	if (cycles > (uint64_t)(bench_hz() * TURN_MAX_US / 1e6)) {
		cycles = 0;
		f->interrupted++;
	}
	f->now += cycles;
	arrive(f, cycles);
}

/* Bytes a second that the session's sink gets over `seconds`. */
static double goodput(struct flood *f, double rate, double seconds)
{
	uint64_t begin = f->now, got = f->b->got, end = begin + (uint64_t)(seconds * bench_hz());

	f->rate = rate;
	while (f->now < end)
		flood_turn(f);
	return (double)(f->b->got - got) * bench_hz() / (double)(f->now - begin);
}

/* The highest rate, in steps of 8 %, that leaves the session 90 %; *cost: cycles a packet there, of everything. */
static double highest(struct flood *f, double seconds, double *alone)
{
	double best = 0;

	goodput(f, 0, seconds);
	*alone = goodput(f, 0, seconds);
	for (double rate = RATE_MIN; rate < RATE_MAX; rate *= 1.08) {
		goodput(f, rate, seconds / 4);
		if (goodput(f, rate, seconds) < 0.9 * *alone)
			break;
		best = rate;
	}
	return best;
}

/* Every packet of the flood that reached the ring was dropped, and counted; with the key but for HIS_LIMIT ports'. */
static void check(const struct flood *f)
{
	const uint64_t *d = shard_stats(f->b->g[BED_SERVER].shard)->drops;
	uint64_t seen = 0;

	for (unsigned i = 0; i < DROP_COUNT; i++)
		seen += d[i];

	/* Those of the ports that have a session reach it. */
	if (f->keyed && f->sent - seen - f->lost <= f->sent / SOURCES * 2 * HIS_LIMIT)
		return;
	if (seen + f->lost != f->sent)
		bench_wrong("%lu packets of garbage sent, %lu lost in the ring, %lu dropped", (unsigned long)f->sent,
			    (unsigned long)f->lost, (unsigned long)seen);
}

/* Cycles a packet of the flood, by stage, the session's among them. */
static void stages_note(const struct flood *f)
{
	char line[300];
	size_t n = 0;

	for (unsigned s = 0; s < WORKER_N_STAGES; s++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " %s %.0f", worker_stage_name(s),
				      (double)worker_stats(f->b->g[BED_SERVER].w)->stage[s] / (double)f->sent);
	bench_note("cycles a packet of the flood, with the session's:%s", line);
}

static void flood(unsigned len, bool keyed)
{
	static struct garbage g;
	struct origins_conf oc = {.sessions = 1024, .address = HIS_LIMIT, .n_tunnels = 1, .key = {1, 2}};
	struct origins *o = NULL;
	struct bed_conf c = {.cipher = "aes",
			     .ds = 10,
			     .ps = 3,
			     .wnd = 8192,
			     .nic_csum = true,
			     .sessions = 1,
			     .streams = 1,
			     .step_us = 1,
			     .delay = DELAY_US,
			     .ratelimit = LINE};
	struct flood f = {.g = &g, .keyed = keyed};
	double seconds = 0.05, alone = 0;
	static struct bench_series mpps;
	struct bench_stat t;
	char name[96];

	garbage_make(&g, len);
	mpps.n = 0;
	if (keyed && origins_create(&o, &oc))
		bench_wrong("no memory for the sources");
	c.origins = o;
	f.b = bed_new(&c);
	bed_start(f.b);
	if (keyed)
		beginnings_make(&g, f.b);
	bed_zero(f.b);
	bed_flow(f.b, true);
	f.us = f.b->us;
	f.step = f.b->step;
	for (unsigned i = 0; i < (bench_opts.quick ? 3 : 5); i++)
		bench_add(&mpps, highest(&f, seconds, &alone) / 1e6);
	bed_flow(f.b, false);
	f.rate = 0;
	do
		flood_turn(&f);
	while (rte_ring_count(f.b->g[BED_SERVER].rx));
	check(&f);
	t = bench_stat(&mpps);
	snprintf(name, sizeof(name), "Mpps of %s, frames of %u bytes, beside a session",
		 keyed ? "refused beginnings" : "garbage", len);
	bench_figure("F11", name, &t, BENCH_AT_LEAST, keyed ? 0.5 : 1.5);
	bench_note("the session alone: %.0f Mbit/s of TCP payload; %lu turns of %lu interrupted", alone * 8 / 1e6,
		   (unsigned long)f.interrupted, (unsigned long)f.b->g[BED_SERVER].turns);
	stages_note(&f);
	bed_flow(f.b, false);
	bed_end(f.b);
	origins_destroy(o);
}

int main(int argc, char **argv)
{
	bench_begin(argc, argv, "bm_flood", "a flood of garbage beside a real session");
	if (bench_eal(1024, NULL))
		return 1;
	flood(60, false);
	flood(142, false);
	flood(1392, false);
	flood(142, true);
	return bench_end();
}
