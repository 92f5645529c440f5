/* SPDX-License-Identifier: MIT */

/* The kernel's large segments of TCP, cut up: against a plain reference, and on their way through a worker. */

#include <stdlib.h>
#include <string.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include "bed.h"
#include "eal.h"
#include "frame.h"
#include "gso.h"
#include "worker_int.h"

TestSuite(pipeline_gso, .init = eal_start, .timeout = 300);

#define BUFS  511
#define BIG   65536
#define ROOM  RTE_MBUF_DEFAULT_DATAROOM
#define SEQ   0xfffffc00u /* which wraps soon */
#define ID    0xfffe
#define FLAGS (0x80 | 0x10 | 0x08 | 0x01) /* CWR, ACK, PSH, FIN */

static uint8_t payload_at(unsigned i)
{
	return (uint8_t)(i * 2654435761u >> 11);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* What the headers of a frame are made of. */
struct shape {
	bool v6, vlan;
	unsigned options; /* bytes: of IPv4, or IPv6's extension headers, of 8 each */
	unsigned tcp;	  /* bytes of options */
};

static unsigned ip_at(const struct shape *s)
{
	return s->vlan ? 18 : 14;
}

static unsigned tcp_at(const struct shape *s)
{
	return ip_at(s) + (s->v6 ? 40 : 20) + s->options;
}

static unsigned data_at(const struct shape *s)
{
	return tcp_at(s) + 20 + s->tcp;
}

static uint16_t tcp_sum(const uint8_t *ip, bool v6, const uint8_t *tcp, unsigned n)
{
	static uint8_t whole[40 + BIG];
	unsigned head = v6 ? 32 : 8;

	memcpy(whole, ip + (v6 ? 8 : 12), head);
	put32(whole + head, n);
	put32(whole + head + 4, 6);
	memcpy(whole + head + 8, tcp, n);
	put16(whole + head + 8 + 16, 0);
	return ref_csum(whole, head + 8 + n);
}

/* The headers, for n bytes of the stream from `from` on; the checksums, too, where the bytes follow. */
static void heads(uint8_t *p, const struct shape *s, unsigned from, unsigned n, unsigned k, uint8_t flags, bool sums)
{
	uint8_t *ip = p + ip_at(s), *tcp = p + tcp_at(s);
	unsigned l4 = 20 + s->tcp + n;

	memset(p, 0, data_at(s));
	memcpy(p, "\x02\0\0\0\0\x09\x02\0\0\0\0\x02", 12);
	if (s->vlan)
		put32(p + 12, 0x81000000 | 0x6005);
	put16(ip - 2, s->v6 ? 0x86dd : 0x0800);
	if (s->v6) {
		put32(ip, 0x60012345);
		put16(ip + 4, s->options + l4);
		ip[6] = s->options ? 60 : 6;
		ip[7] = 64;
		memcpy(ip + 8, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09",
		       32);
		for (unsigned i = 0; i < s->options; i += 8)
			memcpy(ip + 40 + i, i + 8 < s->options ? "\x3c\0\1\4\0\0\0\0" : "\x06\0\1\4\0\0\0\0", 8);
	} else {
		ip[0] = (uint8_t)(0x45 + s->options / 4);
		ip[1] = 2;
		put16(ip + 2, 20 + s->options + l4);
		put16(ip + 4, ID + k);
		put16(ip + 6, 0x4000);
		ip[8] = 64;
		ip[9] = 6;
		memcpy(ip + 12, "\x0a\0\0\x02\xc0\0\x02\x09", 8);
		memset(ip + 20, 1, s->options);
		put16(ip + 10, ref_csum(ip, 20 + s->options));
	}
	put16(tcp, 22);
	put16(tcp + 2, 40000);
	put32(tcp + 4, SEQ + from);
	put32(tcp + 8, 0x01020304);
	tcp[12] = (uint8_t)((20 + s->tcp) << 2);
	tcp[13] = flags;
	put16(tcp + 14, 500);
	memset(tcp + 20, 1, s->tcp);
	put16(tcp + 16, sums ? tcp_sum(ip, s->v6, tcp, l4) : 0x1234);
}

/* What the kernel hands over: n bytes of the stream. */
static unsigned large(uint8_t *p, const struct shape *s, unsigned n, uint8_t flags)
{
	for (unsigned i = 0; i < n; i++)
		p[data_at(s) + i] = payload_at(i);
	heads(p, s, 0, n, 0, flags, false);
	return data_at(s) + n;
}

/* A chain of it: the first buffer ends at `at`, the second at `next`, others where they are full. */
static struct rte_mbuf *chain(struct rte_mempool *pool, const uint8_t *p, unsigned n, unsigned at, unsigned next,
			      uint16_t mss)
{
	struct rte_mbuf *head = NULL, *m, **link = &head;

	for (unsigned from = 0, to; from < n; from = to) {
		to = !from ? at : from == at ? next : n;
		to = to - from > ROOM ? from + ROOM : to;
		to = to > n ? n : to;
		m = rte_pktmbuf_alloc(pool);
		cr_assert_not_null(m);
		m->data_len = (uint16_t)(to - from);
		memcpy(rte_pktmbuf_mtod(m, uint8_t *), p + from, to - from);
		*link = m;
		link = &m->next;
		head->nb_segs = (uint16_t)(head->nb_segs + (m != head));
	}
	head->pkt_len = n;
	head->tso_segsz = mss;
	head->ol_flags = RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
	return head;
}

/* Segment k of a large one of n bytes, as it must be; its length. */
static unsigned expected(uint8_t *p, const struct shape *s, unsigned n, unsigned mss, unsigned k, uint8_t flags)
{
	unsigned from = k * mss, part = n - from < mss ? n - from : mss;
	uint8_t of_it = flags;

	if (from + part < n)
		of_it &= (uint8_t)~0x09;
	if (k)
		of_it &= (uint8_t)~0x80;
	for (unsigned i = 0; i < part; i++)
		p[data_at(s) + i] = payload_at(from + i);
	heads(p, s, from, part, k, of_it, true);
	return data_at(s) + part;
}

static void cut(struct rte_mempool *pool, const struct shape *s, unsigned n, unsigned mss, unsigned at, unsigned next)
{
	static uint8_t whole[BIG + 256], want[4096];
	unsigned len = large(whole, s, n, FLAGS), k = 0;
	struct rte_mbuf *m = chain(pool, whole, len, at, next, (uint16_t)mss), *part;
	struct gso g;

	cr_assert_eq(gso_begin(&g, m, pool), 0, "%u bytes by %u", n, mss);
	for (; g.left; k++) {
		unsigned w = expected(want, s, n, mss, k, FLAGS);

		cr_assert_eq(gso_rest(&g), (n + mss - 1) / mss - k);
		part = gso_next(&g, pool);
		cr_assert_not_null(part);
		cr_assert_eq(part->nb_segs, 1);
		cr_assert_eq(part->pkt_len, w);
		cr_assert_eq(part->data_len, w);
		cr_assert_eq(part->ol_flags, 0);
		cr_assert_arr_eq(rte_pktmbuf_mtod(part, uint8_t *), want, w,
				 "segment %u of %u bytes by %u, buffers end at %u and %u; v6 %u, vlan %u, options %u",
				 k, n, mss, at, next, s->v6, s->vlan, s->options);
		rte_pktmbuf_free(part);
	}
	cr_assert_eq(k, (n + mss - 1) / mss);
	rte_pktmbuf_free(m);
}

static struct rte_mempool *pool_new(void)
{
	struct rte_mempool *pool = rte_pktmbuf_pool_create("gso", BUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);

	cr_assert_not_null(pool);
	return pool;
}

static void pool_end(struct rte_mempool *pool)
{
	cr_assert_eq(rte_mempool_avail_count(pool), BUFS);
	rte_mempool_free(pool);
}

static const struct shape shapes[] = {
	{.tcp = 12},
	{.options = 8, .vlan = true},
	{.options = 40, .tcp = 40},
	{.v6 = true, .tcp = 12},
	{.v6 = true, .vlan = true},
	{.v6 = true, .options = 16},
};
#define N_SHAPES (sizeof(shapes) / sizeof(*shapes))

/* Small segments, every length, and the buffers' ends at every byte. */
Test(pipeline_gso, every_length_and_split)
{
	struct rte_mempool *pool = pool_new();
	static const unsigned sizes[] = {1, 2, 3, 8, 13};

	for (unsigned i = 0; i < N_SHAPES; i++)
		for (unsigned k = 0; k < sizeof(sizes) / sizeof(*sizes); k++)
			for (unsigned n = 1; n <= 4 * sizes[k] + 1; n++)
				for (unsigned at = 0; at <= n; at++)
					cut(pool, &shapes[i], n, sizes[k], data_at(&shapes[i]) + at,
					    data_at(&shapes[i]) + at + 1 + (n - at) / 2);
	pool_end(pool);
}

/* Segments as they are on a network, at the lengths where one more begins. */
Test(pipeline_gso, real_sizes)
{
	struct rte_mempool *pool = pool_new();
	static const unsigned sizes[] = {536, 1220, 1388, 1448, 1900};

	for (unsigned i = 0; i < N_SHAPES; i++)
		for (unsigned k = 0; k < sizeof(sizes) / sizeof(*sizes); k++)
			for (unsigned times = 1; times <= 4; times++)
				for (unsigned n = times * sizes[k] - 2; n <= times * sizes[k] + 2; n++)
					cut(pool, &shapes[i], n, sizes[k], ROOM, 2 * ROOM);
	/* All that an IP header can say. */
	cut(pool, &shapes[0], 65535 - 52, 1448, ROOM, 2 * ROOM);
	cut(pool, &shapes[3], 65535 - 32, 1428, ROOM, 2 * ROOM);
	pool_end(pool);
}

/* ---- what cannot be cut ---- */

static unsigned refused(struct rte_mempool *pool, const uint8_t *p, unsigned n, unsigned at, uint16_t mss)
{
	struct rte_mbuf *m = chain(pool, p, n, at, n, mss);
	struct gso g;
	unsigned why = gso_begin(&g, m, pool);

	cr_assert(why == 0 || !g.left || why == DROP_TX_LONG);
	rte_pktmbuf_free(m);
	return why;
}

Test(pipeline_gso, refusals)
{
	struct rte_mempool *pool = pool_new();
	static uint8_t good[BIG], p[BIG];

	for (unsigned i = 0; i < N_SHAPES; i++) {
		const struct shape *s = &shapes[i];
		unsigned n = large(good, s, 3000, FLAGS), ip = ip_at(s), tcp = tcp_at(s), data = data_at(s);

		cr_assert_eq(refused(pool, good, n, data, 1000), 0);
		cr_assert_eq(refused(pool, good, n, data, 0), DROP_SEGMENT, "no size");
		cr_assert_eq(refused(pool, good, n, ROOM, 2049), DROP_TX_LONG);
		for (unsigned at = 1; at < data; at++)
			cr_assert_eq(refused(pool, good, n, at, 1000), DROP_SEGMENT, "a header split at %u", at);
		for (unsigned at = 1; at < n; at += at < data ? 1 : 97)
			cr_assert_eq(refused(pool, good, at, at, 1000), DROP_SEGMENT, "ends at %u", at);

#define BENT(where, what)           \
	memcpy(p, good, n);         \
	p[where] = (uint8_t)(what); \
	cr_assert_eq(refused(pool, p, n, data, 1000), DROP_SEGMENT, #where " " #what)
		BENT(ip - 2, 0x09);
		BENT(ip, 0x55);
		BENT(tcp + 12, 0x40);
		if (!s->v6) {
			BENT(ip, 0x44);
			BENT(ip + 6, 0x20);
			BENT(ip + 7, 1);
			BENT(ip + 9, 17);
			BENT(ip + 2, 0x7f);
		} else {
			BENT(s->options ? ip + 40 : ip + 6, 17);
			BENT(ip + 6, 44);
			BENT(ip + 4, 0xff);
		}
#undef BENT
		/* No byte of the stream. */
		n = large(p, s, 0, FLAGS);
		cr_assert_eq(refused(pool, p, n, n, 1000), DROP_SEGMENT);
	}
	pool_end(pool);
}

/* What lies behind the packet's end by its own header is none of it. */
Test(pipeline_gso, padding)
{
	struct rte_mempool *pool = pool_new();
	static uint8_t p[BIG];
	unsigned n = large(p, &shapes[0], 100, FLAGS);
	struct rte_mbuf *m = chain(pool, p, n + 8, n + 8, n + 8, 60), *part;
	struct gso g;

	cr_assert_eq(gso_begin(&g, m, pool), 0);
	for (unsigned k = 0; k < 2; k++) {
		part = gso_next(&g, pool);
		cr_assert_eq(part->pkt_len, data_at(&shapes[0]) + (k ? 40 : 60));
		rte_pktmbuf_free(part);
	}
	cr_assert_eq(g.left, 0);
	rte_pktmbuf_free(m);
	pool_end(pool);
}

/* ---- through a worker ---- */

struct exc {
	struct rte_ring *to_kernel, *to_us;
	struct bed *b;
	uint16_t id;
};

static struct gate *exc_begin(struct exc *x)
{
	struct rte_eth_conf eth = {0};
	struct gate *s;
	int id;

	x->b = bed_new(&(struct bed_conf){.cipher = "aes"});
	s = &x->b->g[SERVER];
	x->to_kernel = rte_ring_create("exc_tx", 64, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	x->to_us = rte_ring_create("exc_rx", 64, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
	id = rte_eth_from_rings("exc", &x->to_us, 1, &x->to_kernel, 1, 0);
	cr_assert_geq(id, 0);
	x->id = (uint16_t)id;
	cr_assert_eq(rte_eth_dev_configure(x->id, 1, 1, &eth), 0);
	cr_assert_eq(rte_eth_rx_queue_setup(x->id, 0, 64, 0, NULL, x->b->pool), 0);
	cr_assert_eq(rte_eth_tx_queue_setup(x->id, 0, 64, 0, NULL), 0);
	cr_assert_eq(rte_eth_dev_start(x->id), 0);
	s->wp[0][0].has_exc = true; /* the first worker's only */
	s->wp[0][0].exc = x->id;
	s->no_carry = 1;
	return s;
}

static void exc_end(struct exc *x)
{
	x->b->g[SERVER].no_carry = 0;
	bed_end(x->b);
	rte_eth_dev_stop(x->id);
	rte_eth_dev_close(x->id);
}

static void from_kernel(struct exc *x, struct rte_mbuf *m)
{
	m->port = x->id;
	cr_assert_eq(rte_ring_sp_enqueue(x->to_us, m), 0);
}

static void sent_is(struct gate *s, const uint8_t *want, unsigned n)
{
	struct rte_mbuf *m;

	cr_assert_eq(rte_ring_sc_dequeue(s->tx[0], (void **)&m), 0);
	cr_assert_eq(m->port, s->port);
	cr_assert_eq(m->nb_segs, 1);
	cr_assert_eq(m->ol_flags, 0);
	cr_assert_eq(m->tx_offload, 0);
	cr_assert_eq(m->pkt_len, n < 60 ? 60 : n);
	cr_assert_arr_eq(rte_pktmbuf_mtod(m, uint8_t *), want, n);
	rte_pktmbuf_free(m);
}

/* Cut, or with only its checksum undone, or whole: so it leaves by the port. */
Test(pipeline_gso, worker)
{
	struct exc x;
	struct gate *s = exc_begin(&x);
	static uint8_t p[BIG], want[4096];
	const struct shape *shape = &shapes[0];
	unsigned n = large(p, shape, 5000, FLAGS);
	struct rte_mbuf *m;

	from_kernel(&x, chain(x.b->pool, p, n, ROOM, 2 * ROOM, 1448));
	n = large(p, shape, 700, FLAGS);
	m = chain(x.b->pool, p, n, n, n, 0);
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
	from_kernel(&x, m);
	n = expected(p, shape, 1, 1, 0, FLAGS);
	m = chain(x.b->pool, p, n, n, n, 7);
	m->ol_flags = 0;
	from_kernel(&x, m);
	bed_step(x.b);
	for (unsigned k = 0; k < 4; k++)
		sent_is(s, want, expected(want, shape, 5000, 1448, k, FLAGS));
	sent_is(s, want, expected(want, shape, 700, 700, 0, FLAGS));
	sent_is(s, want, expected(want, shape, 1, 1, 0, FLAGS));
	cr_assert_eq(rte_ring_count(s->tx[0]), 0);
	cr_assert_eq(worker_stats(s->w[0])->injected, 3);
	cr_assert_eq(worker_stats(s->w[0])->segmented, 1);
	exc_end(&x);
}

/* In the port's VLAN. */
Test(pipeline_gso, worker_vlan)
{
	struct exc x;
	struct gate *s = exc_begin(&x);
	struct net_tbl *t = bed_copy(s);
	static uint8_t p[BIG], want[4096];
	unsigned n = large(p, &shapes[3], 2500, FLAGS), w;

	t->dev[0].vlan = 7;
	bed_publish(s, t);
	from_kernel(&x, chain(x.b->pool, p, n, ROOM, 2 * ROOM, 1000));
	bed_step(x.b);
	for (unsigned k = 0; k < 3; k++) {
		w = expected(want + 4, &shapes[3], 2500, 1000, k, FLAGS);
		memmove(want, want + 4, 12);
		put32(want + 12, 0x81000007);
		{
			struct rte_mbuf *m;

			cr_assert_eq(rte_ring_sc_dequeue(s->tx[0], (void **)&m), 0);
			cr_assert_eq(m->pkt_len, w + 4);
			cr_assert_arr_eq(rte_pktmbuf_mtod(m, uint8_t *), want, w + 4);
			rte_pktmbuf_free(m);
		}
	}
	exc_end(&x);
}

/* What cannot be sent is counted, every frame of it, and no buffer is lost. */
Test(pipeline_gso, worker_drops)
{
	struct exc x;
	struct gate *s = exc_begin(&x);
	static uint8_t p[BIG];
	unsigned n = large(p, &shapes[0], 2 * ROOM, FLAGS), took = 0;
	struct rte_mbuf *m, *hold[BED_MBUFS];

	from_kernel(&x, chain(x.b->pool, p, n, ROOM, 2 * ROOM, 0));
	m = chain(x.b->pool, p, n, ROOM, 2 * ROOM, 0);
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
	from_kernel(&x, m);
	from_kernel(&x, chain(x.b->pool, p, n, ROOM, 2 * ROOM, 1900)); /* beyond the port's MTU */
	bed_step(x.b);
	cr_assert_eq(bed_drops(s, DROP_SEGMENT), 1);
	cr_assert_eq(bed_drops(s, DROP_MULTI_SEGMENT), 1);
	cr_assert_eq(bed_drops(s, DROP_TX_LONG), 2);
	cr_assert_eq(rte_ring_count(s->tx[0]), 1, "the last one is short enough");
	cr_assert_eq(rte_ring_sc_dequeue(s->tx[0], (void **)&m), 0);
	rte_pktmbuf_free(m);

	/* Two buffers are left in the pool. */
	m = chain(x.b->pool, p, n, ROOM, 2 * ROOM, 1000);
	for (hold[0] = NULL; (hold[took] = rte_pktmbuf_alloc(x.b->pool)); took++)
		;
	rte_pktmbuf_free(hold[--took]);
	rte_pktmbuf_free(hold[--took]);
	from_kernel(&x, m);
	bed_step(x.b);
	cr_assert_eq(rte_ring_count(s->tx[0]), 2);
	cr_assert_eq(bed_drops(s, DROP_NO_MBUF), 3);
	rte_pktmbuf_free_bulk(hold, took);
	while (rte_ring_sc_dequeue(s->tx[0], (void **)&m) == 0)
		rte_pktmbuf_free(m);
	exc_end(&x);
}

/* A port that is down: one thing is dropped, which nobody cuts up first, and takes no buffers for. */
Test(pipeline_gso, worker_down)
{
	struct exc x;
	struct gate *s = exc_begin(&x);
	struct net_tbl *t = bed_copy(s);
	static uint8_t p[BIG];
	unsigned n = large(p, &shapes[0], 5000, FLAGS);

	t->dev[0].up = false;
	bed_publish(s, t);
	from_kernel(&x, chain(x.b->pool, p, n, ROOM, 2 * ROOM, 1000));
	bed_step(x.b);
	cr_expect_eq(bed_drops(s, DROP_PORT_DOWN), 1, "%lu", bed_drops(s, DROP_PORT_DOWN));
	cr_expect_eq(worker_stats(s->w[0])->segmented, 0);
	cr_assert_eq(rte_ring_count(x.to_us), 0);
	cr_assert_eq(bed_mbufs_out(x.b), 0);
	exc_end(&x);
}

/* A port that takes nothing: the kernel keeps what would have to wait, and what was cut waits. */
Test(pipeline_gso, worker_full)
{
	struct exc x;
	struct gate *s = exc_begin(&x);
	static uint8_t p[BIG];
	unsigned n = large(p, &shapes[0], 60000, FLAGS), got = 0, made = 0, fill = 0;
	struct rte_mbuf *m;

	while ((m = rte_pktmbuf_alloc(x.b->pool)) && rte_ring_sp_enqueue(s->tx[0], m) == 0)
		fill++;
	rte_pktmbuf_free(m);
	for (unsigned i = 0; i < 60; i++, made += 120)
		from_kernel(&x, chain(x.b->pool, p, n, ROOM, 2 * ROOM, 500));
	for (unsigned i = 0; i < 20; i++)
		bed_step(x.b);
	cr_assert_gt(rte_ring_count(x.to_us), 40, "they are in the kernel");
	cr_assert_eq(bed_drops(s, DROP_TX_FULL), 0);
	for (; fill && rte_ring_sc_dequeue(s->tx[0], (void **)&m) == 0; fill--)
		rte_pktmbuf_free(m);
	for (unsigned i = 0; i < 200; i++) {
		bed_step(x.b);
		for (; rte_ring_sc_dequeue(s->tx[0], (void **)&m) == 0; got++) {
			uint8_t *q = rte_pktmbuf_mtod(m, uint8_t *);

			cr_assert_eq(get32(q + tcp_at(&shapes[0]) + 4), SEQ + got % 120 * 500, "in their order");
			rte_pktmbuf_free(m);
		}
	}
	cr_assert_eq(got, made);
	cr_assert_eq(bed_drops(s, DROP_TX_FULL) + bed_drops(s, DROP_NO_MBUF), 0);
	exc_end(&x);
}
