/* SPDX-License-Identifier: MIT */
#include "bed_int.h"

#include <stdio.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "bench.h"
#include "worker_int.h"

#define FIRST 10000 /* client's ports */

/* What the gates dropped, for those who wonder. */
static void tell_drops(const struct bed *b)
{
	for (int e = 0; e < 2; e++)
		for (unsigned i = 0; i < DROP_COUNT; i++)
			if (shard_stats(b->g[e].shard)->drops[i])
				fprintf(stderr, "%s: %lu x %s\n", e ? "server" : "client",
					(unsigned long)shard_stats(b->g[e].shard)->drops[i],
					drop_name(VERDICT_DROP + i));
}

/* ---- TCP's place ---- */

/* As much as `want` bytes, of chunks as they come. */
static uint32_t source_write(struct bed_gate *g, struct chan *c, uint32_t want)
{
	struct iovec v[CHAN_IOV];
	unsigned got = chan_space(g->chans, &c->up, want, v);
	uint32_t n = 0;

	for (unsigned i = 0; i < got; i++)
		n += (uint32_t)v[i].iov_len;
	if (got)
		chan_commit(g->chans, &c->up, n);
	return n;
}

static void source(struct bed *b, struct bed_app *a)
{
	struct bed_gate *g = &b->g[BED_CLIENT];
	uint32_t used = chan_used(&a->chan->up), n, sum = 0;

	if (!a->on || used >= b->conf.ahead / 2)
		return;
	do {
		n = source_write(g, a->chan, b->conf.ahead - used - sum);
		sum += n;
	} while (n && used + sum < b->conf.ahead);
	if (sum)
		mbox_post(g->border->to_worker, &a->chan->to_worker, CHAN_EV_DATA);
}

static void app_event(struct bed *b, struct chan *ch, uint32_t ev)
{
	struct bed_gate *g = &b->g[BED_CLIENT];
	struct bed_app *a = ch->ctl;

	if (ev & CHAN_EV_CLOSE) {
		a->chan = NULL;
		a->on = false;
		mbox_post(g->border->to_worker, &ch->to_worker, CHAN_EV_GONE);
		return;
	}
	if (ev & CHAN_EV_ROOM && !a->on)
		chan_trim(g->chans, &ch->up);
	source(b, a);
}

static void sink_event(struct bed *b, struct chan *ch, uint32_t ev)
{
	struct bed_gate *g = &b->g[BED_SERVER];
	uint32_t post = ev & CHAN_EV_OPEN ? CHAN_EV_UP : 0;
	struct iovec v[CHAN_IOV];
	unsigned n;

	while ((n = chan_peek(&ch->down, v, CHAN_IOV))) {
		uint32_t took = 0;

		for (unsigned i = 0; i < n; i++)
			took += (uint32_t)v[i].iov_len;
		chan_done(g->chans, &ch->down, took);
		b->got += took;
		post |= CHAN_EV_ROOM;
	}
	if (ev & CHAN_EV_CLOSE)
		post = CHAN_EV_GONE;
	if (post)
		mbox_post(g->border->to_worker, &ch->to_worker, post);
}

static void dial_event(struct bed *b, struct dial *d, uint32_t ev)
{
	if (!(ev & DIAL_EV_WANT))
		return;
	d->key = (struct flow_key){.peer = bed_addr(BED_SERVER),
				   .local = bed_addr(BED_CLIENT),
				   .peer_port = BED_PORT,
				   .local_port = (uint16_t)(FIRST + d->slot)};
	atomic_store(&b->g[BED_CLIENT].udp->of[d->key.local_port], 1);
	mbox_post(b->g[BED_CLIENT].border->to_worker, &d->to_worker, DIAL_EV_READY);
}

static void gate_control(struct bed *b, int e)
{
	struct mbox_ent *ents[64];
	uint32_t ev[64];
	unsigned n;

	while ((n = mbox_get(b->g[e].border->to_ctl, ents, ev, 64)))
		for (unsigned i = 0; i < n; i++) {
			if (ents[i]->kind == MBOX_DIAL)
				dial_event(b, container_of(ents[i], struct dial, to_ctl), ev[i]);
			else if (e == BED_CLIENT)
				app_event(b, container_of(ents[i], struct chan, to_ctl), ev[i]);
			else
				sink_event(b, container_of(ents[i], struct chan, to_ctl), ev[i]);
		}
}

/* ---- the wire ---- */

/* What a NIC does as it sends, as far as the receiver looks. */
static void wire_checksum(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, m->l2_len);

	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) {
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
	}
	m->ol_flags = 0;
}

/* Takes what a gate sent off its port, and gives the buffers back. */
static void wire_take(struct bed *b, int from)
{
	struct bed_wire *w = &b->g[!from].wire;
	struct rte_mbuf *m[64];
	unsigned n;

	while ((n = rte_ring_sc_dequeue_burst(b->g[from].tx, (void **)m, 64, NULL))) {
		b->frames[from] += n;
		for (unsigned i = 0; i < n; i++) {
			struct bed_frame *f = &w->slot[w->tail % BED_WIRE];

			if (w->tail - w->head == BED_WIRE || (from == BED_CLIENT && b->conf.loss_permille &&
							      bed_random(b) % 1000 < b->conf.loss_permille)) {
				b->lost++;
				continue;
			}
			wire_checksum(m[i]);
			f->step = b->step + b->conf.delay;
			f->n = m[i]->data_len;
			memcpy(f->data, rte_pktmbuf_mtod(m[i], void *), f->n);
			w->tail++;
		}
		rte_pktmbuf_free_bulk(m, n);
	}
}

unsigned bed_give(struct bed *b, int to, unsigned max)
{
	struct bed_wire *w = &b->g[to].wire;
	unsigned n;

	for (n = 0; n < max && w->head != w->tail; n++, w->head++) {
		struct bed_frame *f = &w->slot[w->head % BED_WIRE];
		struct rte_mbuf *m;

		if (f->step > b->step)
			break;
		m = rte_pktmbuf_alloc(b->pool);
		bed_need(m, "a packet buffer");
		memcpy(rte_pktmbuf_append(m, f->n), f->data, f->n);
		m->port = b->g[to].port;
		rte_ring_sp_enqueue(b->g[to].rx, m);
	}
	return n;
}

unsigned bed_lose(struct bed *b, int to)
{
	struct bed_wire *w = &b->g[to].wire;
	unsigned n = 0;

	for (; w->head != w->tail && w->slot[w->head % BED_WIRE].step <= b->step; w->head++)
		n++;
	b->lost += n;
	return n;
}

uint64_t bed_turn(struct bed *b, int e)
{
	uint64_t tsc = b->clock.base + (uint64_t)((unsigned __int128)b->us * b->clock.hz / 1000000) + 1;
	struct bed_gate *g = &b->g[e];
	uint64_t t = bench_tsc(), cycles;

	worker_turn(g->w, tsc);
	cycles = bench_tsc() - t;
	g->cycles += cycles;
	g->turns++;
	gate_control(b, e);
	wire_take(b, e);
	return cycles;
}

void bed_step(struct bed *b)
{
	b->step++;
	b->us += b->conf.step_us;
	for (int e = 0; e < 2; e++) {
		unsigned n;

		do {
			n = bed_give(b, e, PL_RX);
			bed_turn(b, e);
		} while (n == PL_RX);
	}
}

/* ---- running ---- */

void bed_start(struct bed *b)
{
	struct bed_gate *g = &b->g[BED_CLIENT];
	unsigned n = b->conf.sessions * b->conf.streams;

	for (unsigned i = 0; i < n; i++) {
		struct bed_app *a = &b->app[b->n_app++];

		a->chan = chan_alloc(g->chans, 0);
		bed_need(a->chan, "a chan");
		a->chan->ctl = a;
		a->chan->slot = (uint16_t)(i % b->conf.sessions);
		mbox_post(g->border->to_worker, &a->chan->to_worker, CHAN_EV_OPEN);
		if (i % 64 == 63)
			bed_step(b);
	}
	for (unsigned i = 0; i < 200 + 8 * b->conf.delay; i++)
		bed_step(b);
	if (shard_stats(b->g[BED_SERVER].shard)->streams != n)
		bench_wrong("%u streams opened, %lu arrived", n,
			    (unsigned long)shard_stats(b->g[BED_SERVER].shard)->streams);
}

void bed_flow(struct bed *b, bool on)
{
	for (unsigned i = 0; i < b->n_app; i++) {
		b->app[i].on = on;
		if (on && b->app[i].chan)
			source(b, &b->app[i]);
	}
}

void bed_zero(struct bed *b)
{
	bench_hold();
	b->got = b->frames[0] = b->frames[1] = b->lost = 0;
	for (int e = 0; e < 2; e++)
		b->g[e].cycles = b->g[e].turns = 0;
}

bool bed_carry(struct bed *b, uint64_t bytes)
{
	uint64_t end = b->us + 10000000;

	while (b->got < bytes && b->us < end)
		bed_step(b);
	if (b->got >= bytes)
		return true;
	tell_drops(b);
	bench_wrong("%lu of %lu bytes in 10 s", (unsigned long)b->got, (unsigned long)bytes);
	return false;
}
