/* SPDX-License-Identifier: MIT */

/*
 * KCP alone: two sessions joined by a virtual wire, ns a segment sent, with windows of 128, 1024 and 32,768 segments
 * and no or 5 % loss (both ways, seeded).  A millisecond of virtual time brings 32 new segments, whatever the window,
 * so that a flush is equally long everywhere; the wire is as long as a quarter of the window each way, so that half of
 * the window is in flight and the other half is there for what waits behind a loss.
 *
 * Timed are the calls of the room alone, from 32 segments to 32 segments: `send` is kcp_send of 32 segments with a copy
 * each, `flush` kcp_flush into buffers with a copy each, `data` kcp_input of their datagrams and taking the payload,
 * `acks` the flush of the acknowledgements, `input` kcp_input of those.  Datagrams are carried between buffers that lie
 * as mbufs do, outside of the timing.  All six links go on in turn, round by round.
 *
 * A large window's segments do not fit in a cache: `copies alone` are the two copies a segment through a ring of so
 * many slots, and the difference between its rows is what the memory takes without any KCP.  That is why the room alone
 * depends more on the window than a whole packet does (F9): the rest of a packet's way does not.
 */

#include <stdio.h>

#include "bench.h"
#include "heap.h"
#include "kcp_state.h"
#include "le.h"
#include "pkts.h"

#define MTU	 (PKTS_BYTES - 8) /* behind an FEC header */
#define MSS	 (MTU - KCP_HEAD)
#define STEP	 32  /* new segments a millisecond */
#define LENT	 128 /* datagrams that a flush is lent */
#define STEPS	 512 /* ms a round */
#define LINKS	 6
#define LINE_MAX (32768 / STEP / 8) /* ms */

enum part { SEND, FLUSH, INPUT, DATA, ACKS, PARTS };
static const char *const part_name[PARTS] = {"send", "flush", "input acks", "input data", "flush acks"};

/* Datagrams under way in one direction: a place for every millisecond. */
struct line {
	struct {
		unsigned n;
		uint16_t len[LENT];
		uint8_t *bytes; /* LENT * MTU */
	} at[LINE_MAX];
};

struct end {
	struct kcp kcp;
	struct kcp_conf conf;
	struct snmp snmp;
	struct mem *mem;
	struct line out;
	bool due; /* input asked for a flush */
};

struct link {
	struct end a, b; /* a sends */
	unsigned window, delay, loss;
	uint64_t now, rnd;
	uint32_t sent, got; /* segments */

	uint64_t cycles[PARTS];
	struct bench_series all, part[PARTS];
};

static struct pkts tx, rx;
static uint8_t payload[MSS];

static void end_init(struct end *e, unsigned window, unsigned delay, unsigned lent)
{
	size_t heap = (size_t)window * 2048 + (8u << 20);

	e->conf = (struct kcp_conf){.mtu = MTU,
				    .snd_wnd = window,
				    .rcv_wnd = window,
				    .nodelay = 1,
				    .interval = 10,
				    .resend = 2,
				    .nc = 1,
				    .acknodelay = true};
	e->mem = heap_make(heap & ~(size_t)0xffff);
	for (unsigned i = 0; i < delay; i++)
		e->out.at[i].bytes = heap_region((size_t)lent * MTU);
	kcp_init(&e->kcp, 7, &e->conf, e->mem, &e->snmp, 1000);
}

static struct link *link_make(unsigned window, unsigned loss)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->window = window;
	l->loss = loss;
	l->delay = window / STEP / 8 ? window / STEP / 8 : 1;
	l->now = 1000;
	l->rnd = 77 + window + loss;
	end_init(&l->a, window, l->delay, LENT);
	end_init(&l->b, window, l->delay, LENT);
	return l;
}

/* What was flushed goes on the wire, but for what gets lost. */
static void depart(struct link *l, struct line *o, unsigned n)
{
	unsigned slot = (unsigned)(l->now % l->delay), k = 0;

	for (unsigned i = 0; i < n; i++) {
		if (pkts_rnd(&l->rnd) % 100 < l->loss)
			continue;
		memcpy(o->at[slot].bytes + (size_t)k * MTU, tx.v[i].p, tx.v[i].n);
		o->at[slot].len[k++] = tx.v[i].n;
	}
	o->at[slot].n = k;
}

/* What was put on the wire `delay` ago lies in receive buffers. */
static unsigned arrive(struct link *l, const struct line *o)
{
	unsigned slot = (unsigned)(l->now % l->delay), n = o->at[slot].n;

	for (unsigned i = 0; i < n; i++) {
		rx.v[i].p = pkts_at(&rx, i);
		rx.v[i].n = o->at[slot].len[i];
		memcpy(rx.v[i].p, o->at[slot].bytes + (size_t)i * MTU, rx.v[i].n);
	}
	return n;
}

static void took(struct link *l, const struct slice *s)
{
	if (s->n != MSS || le32_get(s->p) != l->got)
		bench_wrong("window %u, loss %u %%: segment %u is another", l->window, l->loss, l->got);
	l->got++;
}

static void take_data(struct link *l, unsigned n)
{
	struct kcp *k = &l->b.kcp;
	struct kcp_got got;
	struct slice v[64];
	unsigned m;

	for (unsigned i = 0; i < n; i++) {
		l->b.due |= kcp_input(k, rx.v[i].p, rx.v[i].n, 0, l->now, &got) > 0;
		for (unsigned j = 0; j < got.n; j++)
			took(l, &got.v[j]);
		while ((m = kcp_peek(k, v, 64))) {
			for (unsigned j = 0; j < m; j++)
				took(l, &v[j]);
			l->b.due |= kcp_consume(k, m) > 0;
		}
	}
}

static unsigned flush(struct end *e, uint64_t now)
{
	return now < kcp_next(&e->kcp) && !e->due ? 0 : kcp_flush(&e->kcp, KCP_FLUSH_FULL, now, tx.v, LENT);
}

static void send_some(struct link *l)
{
	struct slice s = {payload, MSS};

	for (unsigned i = 0; i < STEP && kcp_room(&l->a.kcp); i++) {
		le32_put(payload, l->sent);
		if (kcp_send(&l->a.kcp, &s, 1)) {
			bench_wrong("window %u: no memory", l->window);
			return;
		}
		l->sent++;
	}
}

/* A millisecond of both ends. */
static void step(struct link *l)
{
	uint64_t t;
	unsigned n;

	l->now++;
	n = arrive(l, &l->b.out);
	t = bench_tsc();
	for (unsigned i = 0; i < n; i++)
		l->a.due |= kcp_input(&l->a.kcp, rx.v[i].p, rx.v[i].n, 0, l->now, NULL) > 0;
	l->cycles[INPUT] += bench_tsc() - t;

	t = bench_tsc();
	send_some(l);
	l->cycles[SEND] += bench_tsc() - t;

	n = arrive(l, &l->a.out);
	t = bench_tsc();
	take_data(l, n);
	l->cycles[DATA] += bench_tsc() - t;

	pkts_reset(&tx, 0);
	t = bench_tsc();
	n = flush(&l->a, l->now);
	l->cycles[FLUSH] += bench_tsc() - t;
	l->a.due = n == LENT; /* then it is not over */
	depart(l, &l->a.out, n);

	pkts_reset(&tx, 0);
	t = bench_tsc();
	n = flush(&l->b, l->now);
	l->cycles[ACKS] += bench_tsc() - t;
	l->b.due = n == LENT;
	depart(l, &l->b.out, n);
}

/* Data segments that went out so far. */
static uint64_t out_segs(const struct link *l)
{
	return l->a.snmp.OutSegs;
}

/* A round. */
static void go_on(struct link *l)
{
	uint64_t sum = 0, before = out_segs(l), sent;

	memset(l->cycles, 0, sizeof(l->cycles));
	for (unsigned i = 0; i < STEPS; i++)
		step(l);
	sent = out_segs(l) - before;
	if (!sent) {
		bench_wrong("window %u, loss %u %%: nothing goes out in %u ms", l->window, l->loss, STEPS);
		return;
	}
	for (unsigned i = 0; i < PARTS; i++) {
		bench_add(&l->part[i], bench_ns(l->cycles[i]) / (double)sent);
		sum += l->cycles[i];
	}
	bench_add(&l->all, bench_ns(sum) / (double)sent);
}

/* Until the windows are as full as they get. */
static void warm(struct link *l)
{
	for (unsigned i = 0; i < 6 * l->delay + 200; i++)
		step(l);
}

static void rows(const struct link *l)
{
	const struct snmp *c = &l->a.snmp;
	char name[64];

	for (unsigned i = 0; i < PARTS; i++) {
		snprintf(name, sizeof(name), "kcp %s, window %u, loss %u %%", part_name[i], l->window, l->loss);
		bench_row(name, &l->part[i], MSS);
	}
	snprintf(name, sizeof(name), "kcp all, window %u, loss %u %%", l->window, l->loss);
	bench_row(name, &l->all, MSS);
	bench_note("%u segments arrived, %llu sent again, %u in flight, heaps %zu and %zu KiB", l->got,
		   (unsigned long long)c->RetransSegs, l->a.kcp.snd_nxt - l->a.kcp.snd_una, mem_used(l->a.mem) >> 10,
		   mem_used(l->b.mem) >> 10);
}

/* ---- the copies alone ---- */

struct ring {
	uint8_t *mem;
	unsigned slots, at;
};

#define SLOT 1536 /* what mem takes for a segment */

static void copies(void *arg)
{
	struct ring *r = arg;

	for (unsigned i = 0; i < STEP; i++) {
		uint8_t *slot = r->mem + (size_t)((r->at + i) % r->slots) * SLOT;

		memcpy(slot + 64, payload, MSS);
	}
	for (unsigned i = 0; i < STEP; i++)
		memcpy(pkts_at(&tx, i), r->mem + (size_t)((r->at + i) % r->slots) * SLOT + 64, MSS);
	r->at = (r->at + STEP) % r->slots;
}

static void bare(void)
{
	struct ring small = {heap_region(128 * SLOT), 128, 0}, large = {heap_region((size_t)32768 * SLOT), 32768, 0};
	struct bench_series a, b, ratio;
	struct bench_job ja = {"kcp copies alone, ring of 32768", copies, NULL, &large, STEP, MSS};
	struct bench_job jb = {"kcp copies alone, ring of 128", copies, NULL, &small, STEP, MSS};
	struct bench_stat t;

	if (!bench_wanted(ja.name) && !bench_wanted(jb.name))
		return;
	for (unsigned i = 0; i < 2 * large.slots / STEP; i++)
		copies(&large);
	bench_pair(&ja, &jb, &a, &b, &ratio);
	t = bench_stat(&ratio);
	bench_value("  copies alone at 32768 / at 128", t.median, "");
}

static void ratio_value(const struct link *large, const struct link *small)
{
	struct bench_series ratio = {0};
	char name[80];

	for (unsigned i = 0; i < large->all.n; i++)
		bench_add(&ratio, large->all.v[i] / small->all.v[i]);
	snprintf(name, sizeof(name), "KCP alone: cost at window 32768 / at 128, loss %u %%", large->loss);
	bench_value(name, bench_stat(&ratio).median, "times");
}

int main(int argc, char **argv)
{
	static const unsigned windows[] = {128, 1024, 32768};
	struct link *l[LINKS];

	bench_begin(argc, argv, "bm_kcp", "KCP, a segment of 1312 bytes");
	pkts_make(&tx, LENT, 0);
	pkts_make(&rx, LENT, 0);
	pkts_fill(payload, sizeof(payload), 2);
	for (unsigned i = 0; i < LINKS; i++) {
		l[i] = link_make(windows[i % 3], i < 3 ? 0 : 5);
		warm(l[i]);
	}
	for (unsigned r = 0; r < bench_opts.rounds; r++) {
		for (unsigned i = 0; i < LINKS; i++)
			go_on(l[i]);
	}
	for (unsigned i = 0; i < LINKS; i++)
		rows(l[i]);
	bare();
	ratio_value(l[2], l[0]);
	ratio_value(l[5], l[3]);
	for (unsigned i = 0; i < LINKS; i++) {
		kcp_fini(&l[i]->a.kcp);
		kcp_fini(&l[i]->b.kcp);
		free(l[i]);
	}
	return bench_end();
}
