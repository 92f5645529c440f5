/* SPDX-License-Identifier: MIT */
#include "bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "bench.h"
#include "pool.h"
#include "worker_int.h"

#define MBUFS	  24575u
#define RING	  8192u
#define CHUNKS	  4096u
#define HEAP	  ((size_t)256 << 20)
#define HEAP_UNIT 65536u
#define PORT	  4000
#define FIRST	  10000	 /* client's ports */
#define WIRE	  65536u /* frames */
#define PAIR	  2u	 /* beds side by side */
#define AHEAD	  (128u << 10)
#define CLIENT_ID 7 /* of its shard: names in EAL must differ */

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

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bed: cannot have %s\n", what);
	exit(1);
}

static struct addr gate_addr(int e)
{
	return addr_v4(0x0a000001u + (uint32_t)e);
}

struct bed_frame {
	uint64_t step; /* when it arrives */
	uint16_t n;
	uint8_t data[1526];
};

static uint64_t bed_random(struct bed *b)
{
	b->rng ^= b->rng << 13;
	b->rng ^= b->rng >> 7;
	b->rng ^= b->rng << 17;
	return b->rng;
}

/* ---- making ---- */

static void gate_tunnel(struct bed_gate *g, int e, const struct bed_conf *c)
{
	static const uint8_t key[CRYPT_KEY_LEN] = "a key of thirty-two bytes, just";
	struct shard_tunnel *t = &g->tun;

	if (g->shares) {
		*t = g->shares->tun;
		t->dials = g->bed->dials;
		g->crypt = g->shares->crypt;
		return;
	}
	need(crypt_create(&g->crypt, c->cipher, key) == 0, c->cipher);
	t->client = e == BED_CLIENT;
	t->nocomp = !c->comp;
	t->crypt = g->crypt;
	t->head = crypt_head(g->crypt);
	t->tail = crypt_tail(g->crypt);
	if (c->ds)
		need(fec_codec_get(&t->fec, c->ds, c->ps) == 0, "FEC");
	t->kcp = (struct kcp_conf){
		.mtu = 1350u - t->head - t->tail - (c->ds ? FEC_HEAD : 0u),
		.snd_wnd = c->wnd,
		.rcv_wnd = c->wnd,
		.nodelay = 1,
		.interval = 20,
		.resend = 2,
		.nc = 1,
	};
	t->mux = (struct mux_conf){
		.version = 2,
		.client = t->client,
		.framesize = 8192,
		.smuxbuf = 256 << 20,
		.streambuf = 128 << 20,
		.max_streams = 4096,
		.hello = true,
	};
	t->dev = UINT16_MAX;
	t->keepalive_ms = 10000;
	t->ratelimit = t->client ? c->ratelimit : 0;
	t->conn = t->client ? c->sessions : 0;
	t->dials = g->bed->dials;
}

static void gate_tbl(struct bed_gate *g, int e)
{
	struct net_tbl *t;

	if (g->shares) {
		g->tbl = g->shares->tbl;
		return;
	}
	t = g->tbl = net_tbl_alloc(1, 1, 1);
	need(t, "a table");
	t->gen = 1;
	t->n_dev = t->n_route = t->n_neigh = t->n_local = 1;
	t->dev[0] =
		(struct net_dev){.mac = {2, 0, 0, 0, 0, (uint8_t)(1 + e)}, .mtu = 1500, .exclusive = true, .up = true};
	t->route[0] = (struct net_route){.prefix = addr_v4(0x0a000000), .plen = 104};
	t->neigh[0] = (struct net_neigh){.addr = gate_addr(!e), .mac = {2, 0, 0, 0, 0, (uint8_t)(1 + !e)}};
	t->local[0] = (struct net_local){.addr = gate_addr(e), .plen = 104};
	net_tbl_sort(t);
}

static void gate_port(struct bed_gate *g)
{
	static unsigned serial; /* a closed port's name does not come back */
	struct rte_eth_conf conf = {0};
	char name[32];
	int id;

	serial++;
	snprintf(name, sizeof(name), "rx%u", serial);
	g->rx = rte_ring_create(name, RING, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	snprintf(name, sizeof(name), "tx%u", serial);
	g->tx = rte_ring_create(name, RING, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	need(g->rx && g->tx, "rings");
	snprintf(name, sizeof(name), "gate%u", serial);
	id = rte_eth_from_rings(name, &g->rx, 1, &g->tx, 1, 0);
	need(id >= 0, "a ring port");
	g->port = (uint16_t)id;
	need(rte_eth_dev_configure(g->port, 1, 1, &conf) == 0 &&
		     rte_eth_rx_queue_setup(g->port, 0, 64, 0, NULL, g->bed->pool) == 0 &&
		     rte_eth_tx_queue_setup(g->port, 0, 64, 0, NULL) == 0 && rte_eth_dev_start(g->port) == 0,
	     "a started port");
	g->wp = (struct worker_port){.id = g->port};
	g->wire.slot = malloc(WIRE * sizeof(*g->wire.slot));
	need(g->wire.slot, "a wire");
}

/* As app has it: of EAL's heap, so on hugepages where there are any. */
static void gate_heap(struct bed_gate *g, size_t n)
{
	g->heap_n = n ? n : HEAP;
	g->heap = rte_malloc("heap", g->heap_n, HEAP_UNIT);
	need(g->heap, "a heap");
}

static void gate_worker(struct bed_gate *g, int e)
{
	static const uint8_t no_csum[NET_DEV_MAX], nic_csum[NET_DEV_MAX] = {NET_CSUM_IP_HW | NET_CSUM_UDP_HW};
	const struct bed_conf *c = &g->bed->conf;
	struct shard_conf sc = {.id = (e ? 0 : CLIENT_ID) + g->bed->index,
				.tunnels = &g->tun,
				.n_tunnels = 1,
				.seed = 5 + (uint64_t)e,
				.mbufs_to_hold = 4096};
	struct worker_conf wc = {
		.id = e == BED_SERVER ? g->bed->index : 0, .udp = g->udp, .n_tunnels = 1, .n_ports = 1};
	uint8_t seed[32] = {(uint8_t)(1 + e)};

	gate_heap(g, c->heap);
	sc.mem = mem_init(g->heap, g->heap_n);
	g->mem_empty = mem_used(sc.mem);
	sc.max_sessions = c->sessions + 1024;
	need(border_create(&g->border, sc.id, 2 * c->sessions * c->streams + 1024, 64, 0) == 0, "a border");
	sc.chans = g->chans;
	sc.border = g->border;
	sc.dev_csum = c->nic_csum ? nic_csum : no_csum;
	need(shard_create(&g->shard, &sc, g->bed->us / 1000) == 0, "a shard");
	need(crypt_mb_create(&g->mb, seed, 0, (unsigned)e + 2 * g->bed->index, 0) == 0 &&
		     crypt_mb_attach(g->mb, g->crypt) == 0,
	     "ciphers");
	/* The servers are two workers of one gateway; rings' names allow a process one mesh of several only. */
	if (e == BED_SERVER && g->shares)
		g->mesh = g->shares->mesh;
	else
		need(worker_mesh_create(&g->mesh, e == BED_SERVER ? PAIR : 1, 1024, (const int[PAIR]){0}) == 0,
		     "a mesh");
	wc.mesh = g->mesh;
	wc.shard = g->shard;
	wc.border = g->border;
	wc.mb = g->mb;
	wc.crypts = (const struct crypt *const *)&g->crypt;
	wc.ports = &g->wp;
	wc.pool = g->bed->pool;
	need(worker_create(&g->w, &wc, &g->bed->clock) == 0, "a worker");
	atomic_store(&g->border->tbl, g->tbl);
}

/* Bytes that do not compress, for sources that never write: every chunk of the pool is filled once. */
static void chunks_fill(struct bed *b, struct rte_mempool *mp)
{
	static void *chunk[CHUNKS];
	unsigned n = 0;

	while (n < CHUNKS && rte_mempool_get(mp, &chunk[n]) == 0) {
		for (uint64_t *p = chunk[n]; p < (uint64_t *)((uint8_t *)chunk[n] + CHAN_CHUNK); p++)
			*p = bed_random(b);
		n++;
	}
	rte_mempool_put_bulk(mp, chunk, n);
}

static void bed_dials(struct bed *b)
{
	b->dials = calloc(b->conf.sessions, sizeof(*b->dials));
	need(b->dials, "dials");
	for (unsigned i = 0; i < b->conf.sessions; i++) {
		b->dials[i].to_ctl.kind = b->dials[i].to_worker.kind = MBOX_DIAL;
		b->dials[i].slot = (uint16_t)i;
		b->dials[i].worker_id = (uint16_t)(CLIENT_ID + b->index);
	}
}

static void gate_new(struct bed_gate *g, int e, const struct bed_conf *c)
{
	if (g->shares) {
		g->chans = g->shares->chans;
		g->udp = g->shares->udp;
	} else {
		unsigned chans = PAIR * (c->sessions * c->streams + 1024);

		g->chans = &g->own_chans;
		need(chan_pool_create(g->chans, CHUNKS, chans, 0) == 0, "chans");
		chunks_fill(g->bed, g->chans->chunks);
		g->udp = calloc(1, sizeof(*g->udp));
		need(g->udp, "ports");
	}
	gate_tunnel(g, e, c);
	gate_tbl(g, e);
	gate_port(g);
	gate_worker(g, e);
}

static struct bed *bed_make(const struct bed_conf *c, struct bed *first)
{
	struct bed *b = calloc(1, sizeof(*b));

	need(b, "memory");
	b->conf = *c;
	b->index = first ? 1 : 0;
	if (!b->conf.ahead)
		b->conf.ahead = AHEAD;
	b->pool = first ? first->pool : worker_pool_create("bed", MBUFS, 512, 0);
	need(b->pool, "packet buffers");
	worker_clock_init(&b->clock);
	b->us = 1000000;
	b->rng = 88172645463325252ull;
	bed_dials(b);
	b->app = calloc((size_t)c->sessions * c->streams, sizeof(*b->app));
	need(b->app, "streams");
	for (int e = 0; e < 2; e++) {
		b->g[e].bed = b;
		b->g[e].shares = first ? &first->g[e] : NULL;
		gate_new(&b->g[e], e, c);
	}
	atomic_store(&b->g[BED_SERVER].udp->of[PORT], 1);
	return b;
}

struct bed *bed_new(const struct bed_conf *c)
{
	return bed_make(c, NULL);
}

struct bed *bed_new_beside(struct bed *first)
{
	return bed_make(&first->conf, first);
}

/* ---- ending ---- */

static void ring_empty(struct rte_ring *r)
{
	struct rte_mbuf *m;

	while (rte_ring_dequeue(r, (void **)&m) == 0)
		rte_pktmbuf_free(m);
}

/* What the gates of beds side by side have in common. */
static void gate_end_shared(struct bed_gate *g, const char *name)
{
	net_tbl_free(g->tbl);
	free(g->udp);
	if (g->tun.fec)
		fec_codec_put(g->tun.fec);
	crypt_destroy(g->crypt);
	if (rte_mempool_avail_count(g->chans->chunks) != g->chans->chunks->size ||
	    rte_mempool_avail_count(g->chans->chans) != g->chans->chans->size)
		bench_wrong("%s: chans or chunks did not come back", name);
	chan_pool_destroy(g->chans);
}

static void gate_end(struct bed_gate *g, const char *name)
{
	if (!shard_drained(g->shard) || shard_stats(g->shard)->held_mbufs)
		bench_wrong("%s: streams or packets are still held", name);
	if (shard_mem_used(g->shard) != g->mem_empty)
		bench_wrong("%s: %zu bytes of the heap did not come back", name,
			    shard_mem_used(g->shard) - g->mem_empty);
	worker_destroy(g->w);
	crypt_mb_destroy(g->mb);
	shard_destroy(g->shard);
	border_destroy(g->border);
	rte_eth_dev_stop(g->port);
	rte_eth_dev_close(g->port);
	ring_empty(g->rx);
	ring_empty(g->tx);
	rte_ring_free(g->rx);
	rte_ring_free(g->tx);
	free(g->wire.slot);
	rte_free(g->heap);
	if (!g->shares || g->mesh != g->shares->mesh)
		worker_mesh_destroy(g->mesh);
	if (!g->shares)
		gate_end_shared(g, name);
}

void bed_end(struct bed *b)
{
	for (int e = 0; e < 2; e++)
		shard_close_all(b->g[e].shard, b->us / 1000);
	for (unsigned i = 0; i < 400 && !(shard_drained(b->g[0].shard) && shard_drained(b->g[1].shard)); i++)
		bed_step(b);
	gate_end(&b->g[BED_CLIENT], "client");
	gate_end(&b->g[BED_SERVER], "server");
	if (!b->g[0].shares && rte_mempool_avail_count(b->pool) != MBUFS)
		bench_wrong("%u packet buffers lost", MBUFS - rte_mempool_avail_count(b->pool));
	if (!b->g[0].shares)
		rte_mempool_free(b->pool);
	free(b->dials);
	free(b->app);
	free(b);
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
	a->written += sum;
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
	d->key = (struct flow_key){.peer = gate_addr(BED_SERVER),
				   .local = gate_addr(BED_CLIENT),
				   .peer_port = PORT,
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
			struct bed_frame *f = &w->slot[w->tail % WIRE];

			if (w->tail - w->head == WIRE || (from == BED_CLIENT && b->conf.loss_permille &&
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
		struct bed_frame *f = &w->slot[w->head % WIRE];
		struct rte_mbuf *m;

		if (f->step > b->step)
			break;
		m = rte_pktmbuf_alloc(b->pool);
		need(m, "a packet buffer");
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

	for (; w->head != w->tail && w->slot[w->head % WIRE].step <= b->step; w->head++)
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

		a->chan = chan_alloc(g->chans);
		need(a->chan, "a chan");
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
