/* SPDX-License-Identifier: MIT */
#include "bed_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "bench.h"
#include "pool.h"
#include "worker_int.h"

#define MBUFS	     24575u
#define RING	     8192u
#define CHUNKS	     4096u
#define HEAP	     ((size_t)256 << 20)
#define HEAP_UNIT    65536u
#define PAIR	     2u /* beds side by side */
#define AHEAD	     (128u << 10)
#define FILTER	     (1u << 18) /* lines: 16 MiB, as the program has */
#define FILTER_SMALL (2u << 20) /* bytes of it in ordinary pages, likewise */
#define CLIENT_ID    7		/* of its shard: names in EAL must differ */

void bed_need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bed: cannot have %s\n", what);
	exit(1);
}

uint64_t bed_random(struct bed *b)
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
	unsigned at;

	if (g->shares) {
		*t = g->shares->tun;
		t->dials = g->bed->dials;
		g->crypt = g->shares->crypt;
		return;
	}
	bed_need(crypt_create(&g->crypt, c->cipher, key) == 0, c->cipher);
	t->client = e == BED_CLIENT;
	t->nocomp = !c->comp;
	t->crypt = g->crypt;
	t->mark_len = (uint8_t)crypt_mark(g->crypt, &at);
	t->mark_at = (uint8_t)at;
	crypt_set_side(g->crypt, e == BED_CLIENT ? CRYPT_SIDE_CLIENT : CRYPT_SIDE_SERVER);
	t->knows_own = crypt_knows_own(g->crypt);
	t->head = crypt_head(g->crypt);
	t->tail = crypt_tail(g->crypt);
	if (c->ds)
		bed_need(fec_codec_get(&t->fec, c->ds, c->ps) == 0, "FEC");
	t->kcp = (struct kcp_conf){
		.mtu = 1350u - t->head - t->tail - (c->ds ? FEC_HEAD : 0u),
		.snd_wnd = c->wnd,
		.rcv_wnd = c->wnd,
		.nodelay = 1,
		.interval = 20,
		.resend = 2,
		.nc = 1,
		.congestion = c->model ? KCP_CONGESTION_AUTO : KCP_CONGESTION_STOCK,
		.bandwidth = c->bandwidth,
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
	bed_need(t, "a table");
	t->gen = 1;
	t->n_dev = t->n_route = t->n_neigh = t->n_local = 1;
	t->dev[0] =
		(struct net_dev){.mac = {2, 0, 0, 0, 0, (uint8_t)(1 + e)}, .mtu = 1500, .exclusive = true, .up = true};
	t->route[0] = (struct net_route){.prefix = addr_v4(0x0a000000), .plen = 104};
	t->neigh[0] = (struct net_neigh){.addr = bed_addr(!e), .mac = {2, 0, 0, 0, 0, (uint8_t)(1 + !e)}};
	t->local[0] = (struct net_local){.addr = bed_addr(e), .plen = 104};
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
	bed_need(g->rx && g->tx, "rings");
	snprintf(name, sizeof(name), "gate%u", serial);
	id = rte_eth_from_rings(name, &g->rx, 1, &g->tx, 1, 0);
	bed_need(id >= 0, "a ring port");
	g->port = (uint16_t)id;
	bed_need(rte_eth_dev_configure(g->port, 1, 1, &conf) == 0 &&
			 rte_eth_rx_queue_setup(g->port, 0, 64, 0, NULL, g->bed->pool) == 0 &&
			 rte_eth_tx_queue_setup(g->port, 0, 64, 0, NULL) == 0 && rte_eth_dev_start(g->port) == 0,
		 "a started port");
	g->wp = (struct worker_port){.id = g->port};
	g->wire.slot = malloc(BED_WIRE * sizeof(*g->wire.slot));
	bed_need(g->wire.slot, "a wire");
}

/* As app has it: of EAL's heap, so on hugepages where there are any. */
static void gate_heap(struct bed_gate *g, size_t n)
{
	g->heap_n = n ? n : HEAP;
	g->heap = rte_malloc("heap", g->heap_n, HEAP_UNIT);
	bed_need(g->heap, "a heap");
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
	bed_need(border_create(&g->border, sc.id, 2 * c->sessions * c->streams + 1024, 64, 0) == 0, "a border");
	sc.origins = e == BED_SERVER ? c->origins : NULL;
	sc.chans = g->chans;
	sc.border = g->border;
	sc.dev_csum = c->nic_csum ? nic_csum : no_csum;
	if (!c->unfiltered) {
		g->filter_mem = mmap(NULL, FILTER * sizeof(struct fresh_line), PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		bed_need(g->filter_mem != MAP_FAILED, "a filter");
		madvise((uint8_t *)g->filter_mem + FILTER_SMALL, FILTER * sizeof(struct fresh_line) - FILTER_SMALL,
			MADV_HUGEPAGE);
		fresh_init(&g->filter, g->filter_mem, FILTER, g->bed->us / 1000);
		g->filters[sc.id] = &g->filter;
		sc.fresh = g->filters;
		sc.mark_seed = 77;
	}
	bed_need(shard_create(&g->shard, &sc, g->bed->us / 1000) == 0, "a shard");
	bed_need(crypt_mb_create(&g->mb, seed, 0, (unsigned)e + 2 * g->bed->index, 0) == 0 &&
			 crypt_mb_attach(g->mb, g->crypt) == 0,
		 "ciphers");
	/* The servers are two workers of one gateway; rings' names allow a process one mesh of several only. */
	if (e == BED_SERVER && g->shares)
		g->mesh = g->shares->mesh;
	else
		bed_need(worker_mesh_create(&g->mesh, e == BED_SERVER ? PAIR : 1, 1, 1024, (const int[PAIR]){0}) == 0,
			 "a mesh");
	wc.mesh = g->mesh;
	wc.shard = g->shard;
	wc.border = g->border;
	wc.mb = g->mb;
	wc.crypts = (const struct crypt *const *)&g->crypt;
	wc.ports = &g->wp;
	wc.pool = g->bed->pool;
	bed_need(worker_create(&g->w, &wc, &g->bed->clock) == 0, "a worker");
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
	bed_need(b->dials, "dials");
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
		bed_need(chan_pool_create(g->chans, CHUNKS, chans, 1, 0) == 0, "chans");
		chunks_fill(g->bed, g->chans->chunks);
		g->udp = calloc(1, sizeof(*g->udp));
		bed_need(g->udp, "ports");
	}
	gate_tunnel(g, e, c);
	gate_tbl(g, e);
	gate_port(g);
	gate_worker(g, e);
}

static struct bed *bed_make(const struct bed_conf *c, struct bed *first)
{
	struct bed *b = calloc(1, sizeof(*b));

	bed_need(b, "memory");
	b->conf = *c;
	b->index = first ? 1 : 0;
	if (!b->conf.ahead)
		b->conf.ahead = AHEAD;
	b->pool = first ? first->pool : worker_pool_create("bed", MBUFS, 512, 0);
	bed_need(b->pool, "packet buffers");
	worker_clock_init(&b->clock);
	b->us = 1000000;
	b->rng = 88172645463325252ull;
	bed_dials(b);
	b->app = calloc((size_t)c->sessions * c->streams, sizeof(*b->app));
	bed_need(b->app, "streams");
	for (int e = 0; e < 2; e++) {
		b->g[e].bed = b;
		b->g[e].shares = first ? &first->g[e] : NULL;
		gate_new(&b->g[e], e, c);
	}
	atomic_store(&b->g[BED_SERVER].udp->of[BED_PORT], 1);
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
	if (g->filter_mem)
		munmap(g->filter_mem, FILTER * sizeof(struct fresh_line));
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
