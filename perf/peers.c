/* SPDX-License-Identifier: MIT */
#include "peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "bench.h"
#include "fec_wire.h"
#include "kcp_wire.h"
#include "smux_wire.h"

#define PORTS	50000u /* of one address */
#define PORT_LO 10000u
#define SERVER	4000
#define BATCH	256u
#define HEADERS 42 /* Ethernet, IPv4, UDP */
#define SLOTS	64 /* ms that an answer can wait */
#define CONV	0x10000u

/* An acknowledgement on its way. */
struct answer {
	uint32_t peer, sn, ts;
};

struct answers {
	struct answer *v;
	unsigned n, cap;
};

struct peers {
	struct bed *b;
	struct bed_gate *g;
	struct crypt_mb *mb;
	struct peer *v;
	unsigned n, every;
	struct answers due[SLOTS];
	uint64_t ms; /* up to which answers and keepalives were sent */
	uint64_t in0, out0;
	struct pkt pkt[BATCH]; /* made, to be sealed and sent */
	uint32_t of[BATCH];
	unsigned made;
	struct { /* keepalives: peers by the ms in which the next is due, modulo `every` */
		uint32_t *v;
		unsigned n, cap;
	} * nops;
};

static void *need(void *p)
{
	if (p)
		return p;
	fprintf(stderr, "peers: no memory\n");
	exit(1);
}

static struct flow_key peer_key(unsigned i)
{
	return (struct flow_key){
		.local = addr_v4(0xc6120000u + i / PORTS), /* 198.18.0.0/15, behind a router */
		.peer = addr_v4(0x0a000002u),
		.local_port = (uint16_t)(PORT_LO + i % PORTS),
		.peer_port = SERVER,
	};
}

/* The gate's tables with a default route: all peers behind one neighbour. */
static void route_all(struct bed_gate *g)
{
	struct net_tbl *t = need(net_tbl_alloc(2, 1, 1)), *old = g->tbl;

	t->gen = old->gen + 1;
	t->n_dev = old->n_dev;
	memcpy(t->dev, old->dev, sizeof(t->dev));
	t->n_route = 2;
	t->n_neigh = t->n_local = 1;
	t->route[0] = old->route[0];
	t->neigh[0] = old->neigh[0];
	t->local[0] = old->local[0];
	t->route[1] = (struct net_route){.prefix = addr_v4(0), .plen = 96, .via = old->neigh[0].addr};
	net_tbl_sort(t);
	g->tbl = t;
	atomic_store(&g->border->tbl, t);
}

struct peers *peers_new(struct bed *b, unsigned n)
{
	struct peers *p = need(calloc(1, sizeof(*p)));
	uint8_t seed[32] = {9};

	p->b = b;
	p->g = &b->g[BED_SERVER];
	p->n = n;
	p->v = need(calloc(n, sizeof(*p->v)));
	p->ms = b->us / 1000;
	if (crypt_mb_create(&p->mb, seed, 0, 9, 0) || crypt_mb_attach(p->mb, p->g->crypt))
		need(NULL);
	route_all(p->g);
	return p;
}

void peers_free(struct peers *p)
{
	struct rte_mbuf *m;

	while (rte_ring_sc_dequeue(p->g->tx, (void **)&m) == 0)
		rte_pktmbuf_free(m);
	crypt_mb_destroy(p->mb);
	for (unsigned i = 0; i < SLOTS; i++)
		free(p->due[i].v);
	for (unsigned i = 0; p->nops && i < p->every; i++)
		free(p->nops[i].v);
	free(p->nops);
	free(p->v);
	free(p);
}

uint64_t peers_now(const struct peers *p)
{
	return p->b->us / 1000;
}

/* ---- to the gate ---- */

static void frame_out(struct peers *p, unsigned i)
{
	struct flow_key key = peer_key(p->of[i]);
	struct net_ends ends = {.dst_mac = {2, 0, 0, 0, 0, 2}, .src_mac = {2, 0, 0, 0, 0, 1}, .key = &key};
	struct pkt *k = &p->pkt[i];
	struct rte_mbuf *m = k->own;
	struct net_path path;

	net_path_init(&path, &ends);
	net_push(&path, k);
	m->data_off = (uint16_t)(k->p - (uint8_t *)m->buf_addr);
	m->data_len = k->n;
	m->pkt_len = k->n;
	m->port = p->g->port;
	m->ol_flags = 0;
	if (rte_ring_sp_enqueue(p->g->rx, m)) {
		rte_pktmbuf_free(m);
		bench_wrong("the gate's ring is full");
	}
}

static void flush(struct peers *p)
{
	crypt_seal_burst(p->mb, p->pkt, p->made);
	for (unsigned i = 0; i < p->made; i++)
		frame_out(p, i);
	p->made = 0;
}

/* A datagram of one segment. */
static void datagram(struct peers *p, unsigned i, const struct kcp_head *h, const uint8_t *body)
{
	struct peer *e = &p->v[i];
	const struct bed_conf *c = &p->b->conf;
	struct rte_mbuf *m = need(rte_pktmbuf_alloc(p->b->pool));
	struct pkt *k = &p->pkt[p->made];
	uint8_t *to;

	*k = (struct pkt){.p = rte_pktmbuf_mtod(m, uint8_t *), .own = m, .crypt = p->g->crypt};
	to = k->p;
	if (c->ds) {
		le32_put(to, e->dgrams / c->ds * (c->ds + c->ps) + e->dgrams % c->ds);
		le16_put(to + FEC_TYPE_OFF, FEC_TYPE_DATA);
		le16_put(to + FEC_BODY_OFF, (uint16_t)(FEC_SIZE_LEN + KCP_HEAD + h->len));
		to += FEC_HEAD;
	}
	kcp_head_put(to, h);
	if (h->len)
		memcpy(to + KCP_HEAD, body, h->len);
	k->n = (uint16_t)(to + KCP_HEAD + h->len - k->p);
	e->dgrams++;
	p->of[p->made++] = i;
	if (p->made == BATCH)
		flush(p);
}

static void push(struct peers *p, unsigned i, const uint8_t *body, uint32_t n)
{
	struct peer *e = &p->v[i];

	datagram(p, i,
		 &(struct kcp_head){.conv = CONV + i,
				    .cmd = KCP_PUSH,
				    .wnd = 1024,
				    .ts = (uint32_t)peers_now(p),
				    .sn = e->sn++,
				    .una = e->una,
				    .len = n},
		 body);
}

static void smux(uint8_t *to, enum smux_cmd cmd, uint32_t sid)
{
	to[SMUX_VER] = 2;
	to[SMUX_CMD] = (uint8_t)cmd;
	le16_put(to + SMUX_LEN, 0);
	le32_put(to + SMUX_SID, sid);
}

void peers_open(struct peers *p, unsigned i, unsigned streams)
{
	uint8_t body[64 * MUX_HEAD];

	for (unsigned s = 0; s < streams; s++)
		smux(body + s * MUX_HEAD, SMUX_SYN, 3 + 2 * s);
	p->v[i] = (struct peer){0};
	push(p, i, body, streams * MUX_HEAD);
}

void peers_keepalive(struct peers *p, unsigned i, uint64_t at, unsigned every)
{
	unsigned s = (unsigned)(at % every);

	if (!p->nops) {
		p->every = every;
		p->nops = need(calloc(every, sizeof(*p->nops)));
	}
	if (p->nops[s].n == p->nops[s].cap) {
		p->nops[s].cap = p->nops[s].cap ? 2 * p->nops[s].cap : 16;
		p->nops[s].v = need(realloc(p->nops[s].v, p->nops[s].cap * sizeof(*p->nops[s].v)));
	}
	p->nops[s].v[p->nops[s].n++] = i;
	p->v[i].nop_at = at;
}

/* What is due in this ms: answers, then keepalives. */
static void due(struct peers *p, uint64_t ms)
{
	struct answers *a = &p->due[ms % SLOTS];
	uint8_t nop[MUX_HEAD];

	for (unsigned k = 0; k < a->n; k++)
		datagram(p, a->v[k].peer,
			 &(struct kcp_head){.conv = CONV + a->v[k].peer,
					    .cmd = KCP_ACK,
					    .wnd = 1024,
					    .ts = a->v[k].ts,
					    .sn = a->v[k].sn,
					    .una = p->v[a->v[k].peer].una},
			 NULL);
	a->n = 0;
	smux(nop, SMUX_NOP, 0);
	for (unsigned k = 0; p->nops && k < p->nops[ms % p->every].n; k++) {
		unsigned i = p->nops[ms % p->every].v[k];

		if (ms >= p->v[i].nop_at)
			push(p, i, nop, MUX_HEAD);
	}
}

/* ---- from the gate ---- */

static void answer(struct peers *p, unsigned i, uint32_t sn, uint32_t ts)
{
	struct answers *a = &p->due[(p->ms + PEERS_RTT_MS) % SLOTS];

	if (a->n == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 64;
		a->v = need(realloc(a->v, a->cap * sizeof(*a->v)));
	}
	a->v[a->n++] = (struct answer){i, sn, ts};
	if (sn == p->v[i].una)
		p->v[i].una++;
}

static void segments(struct peers *p, unsigned i, const uint8_t *at, unsigned n)
{
	struct kcp_head h;

	if (fec_is_fec(at, (uint16_t)n)) {
		if (at[FEC_TYPE_OFF] != FEC_TYPE_DATA)
			return;
		at += FEC_HEAD;
		n -= FEC_HEAD;
	}
	for (; n >= KCP_HEAD; at += KCP_HEAD + h.len, n -= KCP_HEAD + h.len) {
		kcp_head_get(&h, at);
		if (h.conv != CONV + i || h.len > n - KCP_HEAD) {
			bench_wrong("a datagram for peer %u is not its own", i);
			return;
		}
		if (h.cmd == KCP_PUSH)
			answer(p, i, h.sn, h.ts);
	}
}

static void take(struct peers *p, struct rte_mbuf **m, unsigned n)
{
	struct pkt v[64];
	unsigned of[64];

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *f = rte_pktmbuf_mtod(m[i], uint8_t *);
		unsigned net = (unsigned)(f[32] << 8 | f[33]), port = (unsigned)(f[36] << 8 | f[37]);

		of[i] = net * PORTS + port - PORT_LO;
		v[i] = (struct pkt){.p = rte_pktmbuf_mtod(m[i], uint8_t *) + HEADERS,
				    .n = (uint16_t)(m[i]->data_len - HEADERS),
				    .crypt = p->g->crypt,
				    .verdict = VERDICT_OK};
	}
	crypt_open_burst(p->mb, v, n);
	for (unsigned i = 0; i < n; i++) {
		if (v[i].verdict != VERDICT_OK || of[i] >= p->n)
			bench_wrong("a datagram of the gate does not open");
		else
			segments(p, of[i], v[i].p, v[i].n);
	}
	rte_pktmbuf_free_bulk(m, n);
}

/* Control: targets that answer and say nothing. */
static void control(struct peers *p)
{
	struct border *bd = p->g->border;
	struct mbox_ent *ents[64];
	struct note notes[64];
	uint32_t ev[64];
	unsigned n;

	while ((n = mbox_get(bd->to_ctl, ents, ev, 64)))
		for (unsigned i = 0; i < n; i++) {
			struct chan *ch = container_of(ents[i], struct chan, to_ctl);

			if (ev[i] & CHAN_EV_CLOSE)
				mbox_post(bd->to_worker, &ch->to_worker, CHAN_EV_GONE);
			else if (ev[i] & CHAN_EV_OPEN)
				mbox_post(bd->to_worker, &ch->to_worker, CHAN_EV_UP);
		}
	while (border_notes(bd, notes, 64))
		;
}

static void turn(struct peers *p)
{
	struct bed *b = p->b;
	uint64_t tsc = b->clock.base + (uint64_t)((unsigned __int128)b->us * b->clock.hz / 1000000) + 1, t;
	struct rte_mbuf *m[64];
	unsigned n;

	t = bench_tsc();
	worker_turn(p->g->w, tsc);
	p->g->cycles += bench_tsc() - t;
	p->g->turns++;
	control(p);
	while ((n = rte_ring_sc_dequeue_burst(p->g->tx, (void **)m, 64, NULL)))
		take(p, m, n);
}

void peers_step(struct peers *p)
{
	p->b->us += p->b->conf.step_us;
	while (p->ms < peers_now(p))
		due(p, ++p->ms);
	flush(p);
	do
		turn(p);
	while (!rte_ring_empty(p->g->rx));
}

void peers_wait(struct peers *p, uint64_t ms)
{
	for (uint64_t until = p->b->us + ms * 1000; p->b->us < until;)
		peers_step(p);
}

uint64_t peers_in(const struct peers *p)
{
	return worker_stats(p->g->w)->rx_packets;
}

uint64_t peers_out(const struct peers *p)
{
	return worker_stats(p->g->w)->tx_packets;
}
