/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_byteorder.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mempool.h>

#include "bed.h"

#define BED_FRAMES 256 /* room for frames from the kernel, and by halves and eighths for it */
#include "flow.h"
#include "worker_int.h"

#define HEAP  (16u << 20)
#define ALIGN 65536u

static struct addr gate_addr(int e, unsigned port)
{
	return addr_v4(0x0a000001u + (uint32_t)e + (port << 8));
}

static void gate_tunnel(struct gate *g, int e, const struct bed_conf *c)
{
	static const uint8_t key[CRYPT_KEY_LEN] = "a key of thirty-two bytes, just";
	struct shard_tunnel *t = &g->tun;
	unsigned at;

	cr_assert_eq(crypt_create(&g->crypt, c->cipher, key), 0);
	t->client = e == CLIENT;
	t->dev = UINT16_MAX;
	t->crypt = g->crypt;
	t->mark_len = (uint8_t)crypt_mark(g->crypt, &at);
	t->mark_at = (uint8_t)at;
	crypt_set_side(g->crypt, e == CLIENT ? CRYPT_SIDE_CLIENT : CRYPT_SIDE_SERVER);
	t->knows_own = crypt_knows_own(g->crypt);
	t->head = crypt_head(g->crypt);
	t->tail = crypt_tail(g->crypt);
	if (c->ds)
		cr_assert_eq(fec_codec_get(&t->fec, c->ds, c->ps), 0);
	t->kcp = (struct kcp_conf){
		.mtu = 1350u - t->head - t->tail - (c->ds ? FEC_HEAD : 0u),
		.snd_wnd = 256,
		.rcv_wnd = 256,
		.nodelay = 1,
		.interval = 10,
		.resend = 2,
		.nc = 1,
	};
	t->mux = (struct mux_conf){
		.version = 2,
		.client = t->client,
		.framesize = 8192,
		.smuxbuf = 4 << 20,
		.streambuf = 2 << 20,
		.max_streams = 100,
		.hello = true,
	};
	t->keepalive_ms = 10000;
	t->closewait_ms = e == CLIENT ? 30000 : 0;
	t->conn = t->client ? BED_CONN : 0;
	t->dials = g->bed->dials;
	t->tcp = c->tcp;
}

static struct net_tbl *tbl_of(int e, uint64_t gen, unsigned ports)
{
	struct net_tbl *t = net_tbl_alloc(ports, ports, ports + 1);

	t->gen = gen;
	t->n_dev = t->n_route = t->n_neigh = ports;
	t->n_local = ports + 1;
	for (uint16_t p = 0; p < ports; p++) {
		t->dev[p] = (struct net_dev){.mac = {2, 0, 0, 0, (uint8_t)p, (uint8_t)(1 + e)}, .mtu = 1500};
		t->dev[p].exclusive = t->dev[p].up = true;
		t->route[p] = (struct net_route){.prefix = gate_addr(-1, p), .plen = 120, .dev = p};
		t->neigh[p] = (struct net_neigh){.addr = gate_addr(!e, p), .dev = p};
		memcpy(t->neigh[p].mac, (uint8_t[6]){2, 0, 0, 0, (uint8_t)p, (uint8_t)(1 + !e)}, 6);
		t->local[p] = (struct net_local){.addr = gate_addr(e, p), .plen = 120, .dev = p};
	}
	t->local[ports] = (struct net_local){.addr = {{0x20, 1, 0x0d, 0xb8, [15] = (uint8_t)(1 + e)}}, .plen = 64};
	net_tbl_sort(t);
	return t;
}

struct net_tbl *bed_tbl(int e, uint64_t gen)
{
	return tbl_of(e, gen, 1);
}

struct net_tbl *bed_copy(const struct gate *g)
{
	struct net_tbl *t = tbl_of(g == &g->bed->g[SERVER], g->tbl->gen + 1, g->bed->n_ports);

	memcpy(t->dev, g->tbl->dev, sizeof(t->dev));
	return t;
}

void bed_publish(struct gate *g, struct net_tbl *t)
{
	for (unsigned i = 0; i < g->n; i++)
		atomic_store(&g->border[i]->tbl, t);
	bed_step(g->bed);
	for (unsigned i = 0; i < g->n; i++)
		cr_assert_eq(atomic_load(&g->border[i]->adopted), t->gen);
	net_tbl_free(g->tbl);
	g->tbl = t;
}

/* A queue each on a port that spreads flows, and else one for all. */
static void gate_rss(struct gate *g, const struct bed_conf *c)
{
	g->n_q = c->rss ? g->n : 1;
	g->rss = (struct flow_rss){.hw = c->rss, .hw_l4 = true, .workers = (uint16_t)g->n, .reta_n = 128};
	for (unsigned i = 0; i < sizeof(g->rss.key); i++)
		g->rss.key[i] = (uint8_t)(i * 73 + 41);
	for (unsigned i = 0; i < g->rss.reta_n; i++)
		g->rss.reta[i] = (uint16_t)(i % g->n);
}

static void gate_port(struct gate *g, int e, unsigned frames)
{
	struct rte_eth_conf conf = {0};
	char name[32];
	int id;

	for (unsigned q = 0; q < g->n_q; q++) {
		snprintf(name, sizeof(name), "%c_rx%u", "cs"[e], q);
		g->rx[q] = rte_ring_create(name, frames, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
		snprintf(name, sizeof(name), "%c_tx%u", "cs"[e], q);
		g->tx[q] = rte_ring_create(name, frames, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	}
	id = rte_eth_from_rings(e ? "server" : "client", g->rx, g->n_q, g->tx, g->n_q, 0);
	cr_assert_geq(id, 0);
	g->port = (uint16_t)id;
	cr_assert_eq(rte_eth_dev_configure(g->port, (uint16_t)g->n_q, (uint16_t)g->n_q, &conf), 0);
	for (uint16_t q = 0; q < g->n_q; q++) {
		cr_assert_eq(rte_eth_rx_queue_setup(g->port, q, 64, 0, NULL, g->bed->pool), 0);
		cr_assert_eq(rte_eth_tx_queue_setup(g->port, q, 64, 0, NULL), 0);
	}
	cr_assert_eq(rte_eth_dev_start(g->port), 0);
	for (int i = 0; i < 2; i++) {
		int q = i < (int)g->n_q ? i : -1;

		g->wp[i][0] = (struct worker_port){
			.id = g->port, .rxq = q, .txq = q, .steer = !g->rss.hw, .rss = g->rss.hw ? &g->rss : NULL};
		g->wp[i][0].tx_owner = q < 0 ? 0 : (uint16_t)i;
		g->wp[i][0].sends_for = i == 0 && g->n_q == 1 ? 2 : 0;
	}
}

static void gate_more(struct gate *g, int e, unsigned frames)
{
	struct rte_eth_conf conf = {0};
	char name[16];
	int id;

	snprintf(name, sizeof(name), "%c_rx_more", "cs"[e]);
	g->more.rx = rte_ring_create(name, frames, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	snprintf(name, sizeof(name), "%c_tx_more", "cs"[e]);
	g->more.tx = rte_ring_create(name, frames, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	id = rte_eth_from_rings(name, &g->more.rx, 1, &g->more.tx, 1, 0);
	cr_assert_geq(id, 0);
	g->more.id = (uint16_t)id;
	cr_assert_eq(rte_eth_dev_configure((uint16_t)id, 1, 1, &conf), 0);
	cr_assert_eq(rte_eth_rx_queue_setup((uint16_t)id, 0, 64, 0, NULL, g->bed->pool), 0);
	cr_assert_eq(rte_eth_tx_queue_setup((uint16_t)id, 0, 64, 0, NULL), 0);
	cr_assert_eq(rte_eth_dev_start((uint16_t)id), 0);
	g->wp[0][1] = (struct worker_port){.id = (uint16_t)id, .steer = true, .sends_for = 2};
	g->wp[1][1] = (struct worker_port){.id = (uint16_t)id, .rxq = -1, .txq = -1, .steer = true};
}

static void gate_worker(struct gate *g, int e, unsigned i, const struct bed_conf *c)
{
	struct shard_conf sc = {.id = e ? i : BED_CLIENT,
				.tunnels = &g->tun,
				.n_tunnels = 1,
				.max_sessions = 32,
				.seed = 5 + i,
				.secret = {7 + i, 9},
				.roam = g->mesh->roam};
	struct worker_conf wc = {.id = i, .mesh = g->mesh, .udp = g->udp, .n_tunnels = 1};
	uint8_t seed[32] = {(uint8_t)(1 + 2 * e + (int)i)};
	void *region;

	g->map[i] = mmap(NULL, HEAP + ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(g->map[i], MAP_FAILED);
	region = (void *)(((uintptr_t)g->map[i] + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
	sc.mem = mem_init(region, HEAP);
	g->mem_idle[i] = mem_used(sc.mem);
	cr_assert_eq(border_create(&g->border[i], sc.id, 64 + BED_CONN, BED_FRAMES, 0), 0);
	sc.chans = &g->chans;
	sc.border = g->border[i];
	sc.dev_csum = g->bed->csum;
	g->lines[i] = aligned_alloc(64, FRESH_LEAST * sizeof(struct fresh_line));
	memset((void *)g->lines[i], 0, FRESH_LEAST * sizeof(struct fresh_line));
	fresh_init(&g->filter[i], g->lines[i], FRESH_LEAST, g->bed->ms);
	g->fresh[sc.id] = &g->filter[i];
	sc.fresh = g->fresh;
	sc.n_fresh = e ? g->n : 0;
	sc.mark_seed = 77;
	sc.mbufs_to_hold = c->hold ? c->hold : 256;
	cr_assert_eq(shard_create(&g->shard[i], &sc, g->bed->ms), 0);
	cr_assert_eq(crypt_mb_create(&g->mb[i], seed, 0, i, 0), 0);
	cr_assert_eq(crypt_mb_attach(g->mb[i], g->crypt), 0);
	wc.shard = g->shard[i];
	wc.border = g->border[i];
	wc.mb = g->mb[i];
	wc.crypts = (const struct crypt *const *)&g->crypt;
	wc.ports = g->wp[i];
	wc.n_ports = g->bed->n_ports;
	wc.pool = g->bed->pool;
	cr_assert_eq(worker_create(&g->w[i], &wc, &g->bed->clock), 0);
	atomic_store(&g->border[i]->tbl, g->tbl);
}

struct bed *bed_new(const struct bed_conf *c)
{
	struct bed *b = calloc(1, sizeof(*b));

	b->pool = rte_pktmbuf_pool_create("bed", BED_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	cr_assert_not_null(b->pool);
	worker_clock_init(&b->clock);
	b->ms = 1000;
	memset(b->csum, c->csum, sizeof(b->csum));
	b->n_ports = c->ports ? c->ports : 1;
	for (unsigned i = 0; i < BED_CONN; i++) {
		b->dials[i].to_ctl.kind = b->dials[i].to_worker.kind = MBOX_DIAL;
		b->dials[i].slot = (uint16_t)i;
		b->dials[i].worker_id = 7;
	}
	for (int e = 0; e < 2; e++) {
		struct gate *g = &b->g[e];

		g->bed = b;
		g->n = 1u + (unsigned)e;
		cr_assert_eq(chan_pool_create(&g->chans, 512, 64, 1, 0), 0);
		gate_tunnel(g, e, c);
		g->tbl = tbl_of(e, 1, b->n_ports);
		gate_rss(g, c);
		gate_port(g, e, c->ring ? c->ring : 2048);
		if (b->n_ports > 1)
			gate_more(g, e, c->ring ? c->ring : 2048);
		g->udp = calloc(1, sizeof(*g->udp));
		cr_assert_eq(worker_mesh_create(&g->mesh, g->n, b->n_ports, 1024, (const int[RTE_MAX_LCORE]){0}), 0);
		if (g->n > 1)
			cr_assert_eq(flow_roam_create(&g->mesh->roam, 64, (const uint64_t[2]){3, 4}), 0);
		for (unsigned i = 0; i < g->n; i++)
			gate_worker(g, e, i, c);
	}
	atomic_store(&b->g[SERVER].udp->of[BED_PORT], 1);
	if (c->tcp)
		atomic_store(&b->g[SERVER].udp->tcp[BED_PORT], 1);
	return b;
}

static void ring_empty(struct rte_ring *r)
{
	struct rte_mbuf *m;

	while (rte_ring_dequeue(r, (void **)&m) == 0)
		rte_pktmbuf_free(m);
}

static uint64_t hist_count(const struct worker_hist *h)
{
	uint64_t n = 0;

	for (unsigned b = 0; b < WORKER_BUCKETS; b++)
		n += h->n[b];
	return n;
}

/* Every frame that came has become one of these. */
static void all_accounted(const struct worker_stats *s)
{
	uint64_t in = s->rx_packets + s->steered_in;
	uint64_t out = s->delivered + s->answered + s->punted + s->steered_out + s->rx_dropped + s->joined;

	cr_assert_eq(in, out, "%lu came; %lu delivered, %lu answered, %lu punted, %lu steered, %lu dropped, %lu joined",
		     in, s->delivered, s->answered, s->punted, s->steered_out, s->rx_dropped, s->joined);
	cr_assert_eq(hist_count(&s->hist[WORKER_RX_TO_CHAN]), s->hist[WORKER_OPEN_WIDTH].sum);
	cr_assert_leq(s->delivered, s->hist[WORKER_OPEN_WIDTH].sum);
	cr_assert_leq(s->hist[WORKER_OPEN_WIDTH].sum, s->hist[WORKER_RX_WIDTH].sum);
	cr_assert_leq(s->hist[WORKER_RX_WIDTH].sum, in);
	cr_assert_eq(hist_count(&s->hist[WORKER_CHAN_TO_TX]), s->hist[WORKER_TX_WIDTH].sum);
}

static void gate_end(struct gate *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		cr_assert(shard_drained(g->shard[i]));
		cr_assert_eq(shard_stats(g->shard[i])->held_mbufs, 0);
		cr_assert_eq(shard_mem_used(g->shard[i]), g->mem_idle[i]);
		all_accounted(worker_stats(g->w[i]));
		worker_destroy(g->w[i]);
		crypt_mb_destroy(g->mb[i]);
		shard_destroy(g->shard[i]);
		border_destroy(g->border[i]);
		free((void *)g->lines[i]);
		munmap(g->map[i], HEAP + ALIGN);
	}
	worker_mesh_destroy(g->mesh);
	rte_eth_dev_stop(g->port);
	rte_eth_dev_close(g->port);
	for (unsigned q = 0; q < g->n_q; q++) {
		ring_empty(g->rx[q]);
		ring_empty(g->tx[q]);
		rte_ring_free(g->rx[q]);
		rte_ring_free(g->tx[q]);
	}
	if (g->bed->n_ports > 1) {
		rte_eth_dev_stop(g->more.id);
		rte_eth_dev_close(g->more.id);
		ring_empty(g->more.rx);
		ring_empty(g->more.tx);
		rte_ring_free(g->more.rx);
		rte_ring_free(g->more.tx);
	}
	net_tbl_free(g->tbl);
	free(g->udp);
	if (g->tun.fec)
		fec_codec_put(g->tun.fec);
	crypt_destroy(g->crypt);
	cr_assert_eq(rte_mempool_avail_count(g->chans.chunks), g->chans.chunks->size);
	cr_assert_eq(rte_mempool_avail_count(g->chans.chans), g->chans.chans->size);
	chan_pool_destroy(&g->chans);
}

void bed_end(struct bed *b)
{
	for (int e = 0; e < 2; e++)
		for (unsigned i = 0; i < b->g[e].n; i++)
			shard_close_all(b->g[e].shard[i], b->ms);
	for (unsigned i = 0; i < 5; i++)
		bed_step(b);
	gate_end(&b->g[CLIENT]);
	gate_end(&b->g[SERVER]);
	cr_assert_eq(rte_mempool_avail_count(b->pool), BED_MBUFS, "%u buffers lost",
		     BED_MBUFS - rte_mempool_avail_count(b->pool));
	rte_mempool_free(b->pool);
	free(b);
}

/* ---- control and applications ---- */

static uint8_t byte_at(const struct app *a, const struct bed *b, uint32_t i)
{
	return (uint8_t)((i * 2654435761u + (uint32_t)(a - b->app) * 977u) >> 13);
}

static void app_write(struct bed *b, struct app *a)
{
	uint8_t buf[4096];
	uint32_t n;

	while (a->sent < a->to_send && chan_used(&a->chan->up) < 65536) {
		for (n = 0; n < sizeof(buf) && a->sent + n < a->to_send; n++)
			buf[n] = byte_at(a, b, a->sent + n);
		cr_assert_eq(chan_write(&b->g[CLIENT].chans, &a->chan->up, &(struct slice){buf, n}, 1), n);
		a->sent += n;
		mbox_post(b->g[CLIENT].border[0]->to_worker, &a->chan->to_worker, CHAN_EV_DATA);
	}
	if (a->sent == a->to_send && !a->eof_sent) {
		a->eof_sent = true;
		mbox_post(b->g[CLIENT].border[0]->to_worker, &a->chan->to_worker, CHAN_EV_EOF);
	}
}

struct app *bed_connect(struct bed *b, unsigned slot, uint32_t bytes)
{
	struct app *a = &b->app[b->n_app++];

	a->chan = chan_alloc(&b->g[CLIENT].chans, 0);
	a->chan->ctl = a;
	a->chan->slot = (uint16_t)slot;
	a->to_send = bytes;
	mbox_post(b->g[CLIENT].border[0]->to_worker, &a->chan->to_worker, CHAN_EV_OPEN);
	app_write(b, a);
	return a;
}

static void app_event(struct bed *b, struct chan *ch, uint32_t ev)
{
	struct gate *g = &b->g[CLIENT];
	struct app *a = ch->ctl;
	struct iovec v[CHAN_IOV];
	unsigned n, took;

	while ((n = chan_peek(&ch->down, v, CHAN_IOV))) {
		took = 0;
		for (unsigned i = 0; i < n; i++)
			for (size_t k = 0; k < v[i].iov_len; k++, took++)
				cr_assert_eq(((uint8_t *)v[i].iov_base)[k], byte_at(a, b, a->got + took));
		a->got += took;
		chan_done(&g->chans, &ch->down, took);
		if (!(ev & CHAN_EV_CLOSE))
			mbox_post(g->border[0]->to_worker, &ch->to_worker, CHAN_EV_ROOM);
	}
	a->eof_in |= (ev & CHAN_EV_EOF) != 0;
	if (ev & CHAN_EV_CLOSE) {
		a->closed = true;
		a->aborted = ch->abort;
		mbox_post(g->border[0]->to_worker, &ch->to_worker, CHAN_EV_GONE);
	} else {
		app_write(b, a);
	}
}

/* The target behind the server: an echo. */
static void echo_event(struct gate *g, unsigned w, struct chan *ch, uint32_t ev)
{
	uint32_t post = ev & CHAN_EV_OPEN ? CHAN_EV_UP : 0, took;
	struct iovec v[CHAN_IOV];

	while (chan_peek(&ch->down, v, 1)) {
		struct slice s = {v[0].iov_base, (uint32_t)v[0].iov_len};

		took = chan_write(&g->chans, &ch->up, &s, 1);
		cr_assert_eq(took, s.n);
		chan_done(&g->chans, &ch->down, took);
		post |= CHAN_EV_ROOM | CHAN_EV_DATA;
	}
	if (ev & CHAN_EV_EOF)
		post |= CHAN_EV_EOF;
	if (ev & CHAN_EV_CLOSE)
		post = CHAN_EV_GONE;
	if (post)
		mbox_post(g->border[w]->to_worker, &ch->to_worker, post);
}

static void dial_event(struct bed *b, struct dial *d, uint32_t ev)
{
	static uint16_t next = 20000;
	uint16_t port = (uint16_t)(d->slot % b->n_ports);

	if (!(ev & DIAL_EV_WANT))
		return;
	d->key = (struct flow_key){.peer = gate_addr(SERVER, port), .local = gate_addr(CLIENT, port)};
	d->key.peer_port = BED_PORT;
	d->key.proto = b->g[CLIENT].tun.tcp ? FLOW_TCP : FLOW_UDP;
	d->key.local_port = next++;
	if (d->key.proto == FLOW_TCP)
		atomic_store(&b->g[CLIENT].udp->tcp[d->key.local_port], 1);
	else
		atomic_store(&b->g[CLIENT].udp->of[d->key.local_port], 1);
	mbox_post(b->g[CLIENT].border[0]->to_worker, &d->to_worker, DIAL_EV_READY);
}

static void gate_control(struct bed *b, int e, unsigned w)
{
	struct gate *g = &b->g[e];
	struct mbox_ent *ents[64];
	uint32_t ev[64];
	unsigned n = mbox_get(g->border[w]->to_ctl, ents, ev, 64);

	for (unsigned i = 0; i < n; i++) {
		if (ents[i]->kind == MBOX_DIAL)
			dial_event(b, container_of(ents[i], struct dial, to_ctl), ev[i]);
		else if (e == CLIENT)
			app_event(b, container_of(ents[i], struct chan, to_ctl), ev[i]);
		else
			echo_event(g, w, container_of(ents[i], struct chan, to_ctl), ev[i]);
	}
}

/* ---- frames ---- */

void bed_receive_at(struct gate *g, unsigned queue, struct rte_mbuf *m)
{
	m->port = g->port;
	if (rte_ring_sp_enqueue(g->rx[queue], m))
		rte_pktmbuf_free(m);
}

/* Where a NIC puts a frame: datagrams by their ports too, whatever has none (fragments) in one place. */
static unsigned nic_queue(const struct gate *g, const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, RTE_ETHER_HDR_LEN);
	struct flow_key key = {0};

	if (g->n_q == 1 || m->data_len < 42 || ip[0] != 0x45 || ip[9] != 17 || (ip[6] & 0x3f) || ip[7])
		return 0;
	key.peer = addr_v4((uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15]);
	key.local = addr_v4((uint32_t)ip[16] << 24 | (uint32_t)ip[17] << 16 | (uint32_t)ip[18] << 8 | ip[19]);
	key.peer_port = (uint16_t)(ip[20] << 8 | ip[21]);
	key.local_port = (uint16_t)(ip[22] << 8 | ip[23]);
	return flow_home(&g->rss, &key);
}

void bed_receive(struct gate *g, struct rte_mbuf *m)
{
	bed_receive_at(g, nic_queue(g, m), m);
}

static void carry(struct bed *b, struct gate *from, struct gate *to)
{
	struct rte_mbuf *m;

	for (unsigned q = 0; q < from->n_q; q++)
		while (!(from->no_carry & 1) && rte_ring_sc_dequeue(from->tx[q], (void **)&m) == 0)
			if (!b->wire || !b->wire(b, to, m))
				bed_receive(to, m);
	while (b->n_ports > 1 && !(from->no_carry & 2) && rte_ring_sc_dequeue(from->more.tx, (void **)&m) == 0) {
		m->port = to->more.id;
		if (rte_ring_sp_enqueue(to->more.rx, m))
			rte_pktmbuf_free(m);
	}
}

struct rte_mbuf *bed_bytes(struct bed *b, const void *frame, unsigned len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool);
	char *to = m ? rte_pktmbuf_append(m, (uint16_t)len) : NULL;

	cr_assert_not_null(to);
	memcpy(to, frame, len);
	return m;
}

struct rte_mbuf *bed_frame(struct bed *b, uint16_t type, const void *body, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool);
	struct rte_ether_hdr *eth;

	cr_assert_not_null(m);
	eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	cr_assert_not_null(rte_pktmbuf_append(m, (uint16_t)(sizeof(*eth) + len)));
	memset(&eth->dst_addr, 0xff, sizeof(eth->dst_addr));
	memset(&eth->src_addr, 2, sizeof(eth->src_addr));
	eth->ether_type = rte_cpu_to_be_16(type);
	memcpy(eth + 1, body, len);
	return m;
}

void bed_step(struct bed *b)
{
	uint64_t tsc;

	b->ms++;
	tsc = b->clock.base + (uint64_t)((unsigned __int128)b->ms * b->clock.hz / 1000) + 1;
	for (int e = 0; e < 2; e++) {
		for (unsigned i = 0; i < b->g[e].n; i++) {
			if (!b->g[e].still[i])
				worker_turn(b->g[e].w[i], tsc);
			gate_control(b, e, i);
			if (shard_stats(b->g[e].shard[i])->held_mbufs > b->most_held)
				b->most_held = shard_stats(b->g[e].shard[i])->held_mbufs;
		}
	}
	carry(b, &b->g[CLIENT], &b->g[SERVER]);
	carry(b, &b->g[SERVER], &b->g[CLIENT]);
}

void bed_steps(struct bed *b, unsigned ms)
{
	while (ms--)
		bed_step(b);
}

bool bed_finish(struct bed *b, unsigned ms)
{
	for (unsigned t = 0; t < ms; t++) {
		bool all = true;

		bed_step(b);
		for (unsigned i = 0; i < b->n_app; i++)
			all &= b->app[i].closed;
		if (all)
			return true;
	}
	return false;
}

void app_complete(const struct app *a)
{
	cr_assert(a->closed && !a->aborted);
	cr_assert_eq(a->got, a->to_send, "%u of %u bytes", a->got, a->to_send);
}

void bed_transfer(struct bed *b, uint32_t bytes)
{
	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, bytes);
	cr_assert(bed_finish(b, 20000));
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	bed_steps(b, 200);
}

uint64_t bed_drops(const struct gate *g, unsigned verdict)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < g->n; i++)
		sum += shard_stats(g->shard[i])->drops[verdict - VERDICT_DROP];
	return sum;
}

unsigned bed_mbufs_out(const struct bed *b)
{
	unsigned out = BED_MBUFS - rte_mempool_avail_count(b->pool);

	for (int e = 0; e < 2; e++)
		for (unsigned i = 0; i < b->g[e].n; i++)
			out -= b->g[e].w[i]->n_lent;
	return out;
}
