/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include "bed.h"
#include "eal.h"
#include "net.h"
#include "worker_int.h"

/* What a port gives the kernel: so much of each kind a second, whatever comes of the others. */

TestSuite(pipeline_punt, .init = eal_start, .timeout = 60);

#define RATE  16000 /* frames a second: a part is 1 a ms */
#define LOT   32    /* frames that a worker draws at once, and may have left from before */
#define ROUND 32    /* frames of a kind at a time: the ring takes as many */

static const uint8_t us[6] = {2, 0, 0, 0, 0, 2};
static const unsigned parts[NET_KINDS] = {2, 2, 6, 2, 2, 2};

/* IPv4 from far away to the server, whose protocol and what follows are given. */
static struct rte_mbuf *ip_frame(struct bed *b, uint8_t proto, const void *l4, unsigned n)
{
	uint8_t f[14 + 20 + 64] = {0};

	memcpy(f, us, 6);
	f[12] = 8;
	f[14] = 0x45;
	f[17] = (uint8_t)(20 + n);
	f[22] = 60;
	f[23] = proto;
	memcpy(f + 26, (uint8_t[]){192, 0, 2, 9, 10, 0, 0, 2}, 8);
	memcpy(f + 34, l4, n);
	uint16_t sum = net_sum_fold(net_sum(f + 14, 20, 0));

	memcpy(f + 24, &sum, 2);
	return bed_bytes(b, f, 34 + n);
}

/* One of each kind. */
static struct rte_mbuf *kind_frame(struct bed *b, enum net_kind kind)
{
	uint8_t l4[20] = {0x30, 0, 0, 22};
	struct rte_mbuf *m;

	switch (kind) {
	case NET_KIND_LINK:
		m = bed_frame(b, 0x0806, l4, sizeof(l4));
		memset(rte_pktmbuf_mtod(m, void *), 0xff, 6);
		return m;
	case NET_KIND_ROUTING:
		return ip_frame(b, 89, l4, sizeof(l4));
	case NET_KIND_TCP:
	case NET_KIND_SYN:
		l4[12] = 0x50;
		l4[13] = kind == NET_KIND_TCP ? 0x18 : 0x02;
		return ip_frame(b, 6, l4, sizeof(l4));
	case NET_KIND_ICMP:
		return ip_frame(b, 1, "\x08\0\0\0\0\0\0", 8);
	default:
		l4[5] = 20;
		return ip_frame(b, 17, l4, sizeof(l4));
	}
}

/* Takes the frames that the workers gave the kernel, and counts them by their kind. */
static void take(struct gate *g, unsigned of[NET_KINDS])
{
	struct rte_mbuf *m;

	for (unsigned w = 0; w < g->n; w++) {
		while (border_punts(g->border[w], &m, 1)) {
			of[net_kind(rte_pktmbuf_mtod(m, uint8_t *), m->data_len)]++;
			rte_pktmbuf_free(m);
		}
	}
}

/* The frame that control would take first. */
static struct rte_mbuf *first(struct gate *g)
{
	struct rte_mbuf *m;

	return border_punts(g->border[0], &m, 1) ? m : NULL;
}

/* n frames of a kind within a millisecond, by queue q; what of them went to the kernel is added to *of. */
static void flood(struct bed *b, unsigned q, enum net_kind kind, unsigned n, unsigned of[NET_KINDS])
{
	struct gate *s = &b->g[SERVER];

	while (n) {
		unsigned k = n < ROUND ? n : ROUND;

		for (unsigned i = 0; i < k; i++)
			bed_receive_at(s, q, kind_frame(b, kind));
		b->ms--;
		bed_step(b);
		take(s, of);
		n -= k;
	}
}

static uint64_t dropped(const struct bed *b, enum net_kind kind)
{
	return bed_drops(&b->g[SERVER], (unsigned)DROP_PUNT_LINK + kind);
}

/* A sixteenth of a second's. */
static unsigned at_once(enum net_kind kind)
{
	return RATE / 16 * parts[kind] / 16;
}

/* A flood of each kind in turn: that one is cut, by its name, and of all others every frame arrives. */
Test(pipeline_punt, flood_of_one_kind)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);

	worker_mesh_punt_rate(b->g[SERVER].mesh, 0, RATE);
	for (unsigned kind = 0; kind < NET_KINDS; kind++) {
		uint64_t before = dropped(b, kind);
		unsigned got[NET_KINDS] = {0};

		for (unsigned ms = 0; ms < 100; ms++) /* all is as at first again */
			bed_step(b);
		flood(b, 0, kind, 2000, got);
		cr_assert(got[kind] >= at_once(kind) && got[kind] < at_once(kind) + LOT, "%u of kind %u", got[kind],
			  kind);
		cr_assert_eq(dropped(b, kind) - before, 2000 - got[kind]);
		for (unsigned other = 0; other < NET_KINDS; other++) {
			if (other == kind)
				continue;
			before = dropped(b, other);
			flood(b, 0, other, 100, got);
			cr_assert_eq(got[other], 100, "kind %u in a flood of %u: %u", other, kind, got[other]);
			cr_assert_eq(dropped(b, other), before);
		}
	}
	bed_end(b);
}

/* What comes with time, for a second and for all kinds at once: their parts, and together the rate. */
Test(pipeline_punt, rate)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	unsigned got[NET_KINDS] = {0}, total = 0;

	worker_mesh_punt_rate(b->g[SERVER].mesh, 0, RATE);
	for (unsigned kind = 0; kind < NET_KINDS; kind++)
		flood(b, 0, kind, 1000, got);
	memset(got, 0, sizeof(got));
	for (unsigned ms = 0; ms < 1000; ms++) {
		bed_step(b);
		for (unsigned kind = 0; kind < NET_KINDS; kind++)
			flood(b, 0, kind, 10, got);
	}
	for (unsigned kind = 0; kind < NET_KINDS; kind++) {
		cr_assert(got[kind] >= parts[kind] * 1000 - 1 && got[kind] <= parts[kind] * 1000, "kind %u: %u", kind,
			  got[kind]);
		total += got[kind];
	}
	cr_assert(total <= RATE && total >= RATE - NET_KINDS);
	bed_end(b);
}

/* After a long silence there is as much as at first, and no more. */
Test(pipeline_punt, no_more_than_full)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	unsigned got[NET_KINDS] = {0};

	worker_mesh_punt_rate(b->g[SERVER].mesh, 0, RATE);
	flood(b, 0, NET_KIND_OTHER, 1000, got);
	for (unsigned i = 0; i < 5000; i++)
		bed_step(b);
	got[NET_KIND_OTHER] = 0;
	flood(b, 0, NET_KIND_OTHER, 1000, got);
	cr_assert_eq(got[NET_KIND_OTHER], at_once(NET_KIND_OTHER), "%u", got[NET_KIND_OTHER]);
	bed_end(b);
}

/* Two workers that receive by queues of their own have one allowance between them. */
Test(pipeline_punt, workers_share)
{
	struct bed_conf conf = {.cipher = "aes", .rss = true};
	struct bed *b = bed_new(&conf);
	unsigned got[NET_KINDS] = {0};

	worker_mesh_punt_rate(b->g[SERVER].mesh, 0, RATE);
	for (unsigned i = 0; i < 20; i++) {
		flood(b, i & 1, NET_KIND_SYN, 50, got);
	}
	cr_assert_eq(got[NET_KIND_SYN], at_once(NET_KIND_SYN), "%u", got[NET_KIND_SYN]);
	cr_assert_gt(worker_stats(b->g[SERVER].w[0])->punted, 0);
	cr_assert_gt(worker_stats(b->g[SERVER].w[1])->punted, 0);
	bed_end(b);
}

/* However small the rate, its parts gather; 0 is no limit. */
Test(pipeline_punt, small_and_none)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	unsigned got[NET_KINDS] = {0};

	worker_mesh_punt_rate(b->g[SERVER].mesh, 0, 1);
	flood(b, 0, NET_KIND_OTHER, 100, got);
	cr_assert_eq(got[NET_KIND_OTHER], 32);
	for (unsigned i = 0; i < 8010; i++) /* an eighth of a frame a second */
		bed_step(b);
	flood(b, 0, NET_KIND_OTHER, 100, got);
	cr_assert_eq(got[NET_KIND_OTHER], 33);
	worker_mesh_punt_rate(b->g[SERVER].mesh, 0, 0);
	flood(b, 0, NET_KIND_OTHER, 3000, got);
	cr_assert_eq(got[NET_KIND_OTHER], 3033);
	bed_end(b);
}

/* While control takes nothing each kind has its room, and what there is none for is lost under its name. */
Test(pipeline_punt, lanes_are_bounded)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	struct gate *s = &b->g[SERVER];
	unsigned got[NET_KINDS] = {0};

	for (unsigned i = 0; i < 100; i++)
		bed_receive(s, kind_frame(b, i & 1 ? NET_KIND_OTHER : NET_KIND_SYN));
	for (unsigned i = 0; i < 10; i++)
		bed_receive(s, kind_frame(b, NET_KIND_TCP));
	bed_step(b);
	take(s, got);
	cr_assert(got[NET_KIND_TCP] == 10 && got[NET_KIND_OTHER] == 50 && got[NET_KIND_SYN] == 32);
	cr_assert(bed_drops(s, DROP_PUNT_FULL) == 18 && bed_drops(s, DROP_PUNT_FIRST_FULL) == 0);
	for (unsigned i = 0; i < 140; i++)
		bed_receive(s, kind_frame(b, i < 35 ? NET_KIND_LINK : NET_KIND_TCP));
	bed_step(b);
	cr_assert(bed_drops(s, DROP_PUNT_FULL) == 18 && bed_drops(s, DROP_PUNT_FIRST_FULL) == 3);
	bed_end(b);
}

/* Whatever one kind fills, each other has room, and what neighbours wait for is taken first. */
static void flood_beside_others(enum net_kind kind)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	struct gate *s = &b->g[SERVER];
	unsigned got[NET_KINDS] = {0};
	struct rte_mbuf *m;

	for (unsigned i = 0; i < 150; i++)
		bed_receive(s, kind_frame(b, kind));
	bed_step(b);
	for (unsigned other = 0; other < NET_KINDS; other++)
		for (unsigned i = 0; other != kind && i < 5; i++)
			bed_receive(s, kind_frame(b, other));
	bed_step(b);
	m = first(s);
	cr_assert_not_null(m);
	cr_expect_eq(net_kind(rte_pktmbuf_mtod(m, uint8_t *), m->data_len), NET_KIND_LINK);
	got[net_kind(rte_pktmbuf_mtod(m, uint8_t *), m->data_len)]++;
	rte_pktmbuf_free(m);
	take(s, got);
	for (unsigned other = 0; other < NET_KINDS; other++)
		cr_expect(got[other] >= 5, "%u of kind %u", got[other], other);
	bed_end(b);
}

#define X(name, str)                                  \
	Test(pipeline_punt, beside_flood_##name)      \
	{                                             \
		flood_beside_others(NET_KIND_##name); \
	}
NET_KINDS_LIST(X)
#undef X

/* ---- a kernel interface that is a device ---- */

#define EXC_RING 32

/* One made of rings, with a queue for each of the server's workers. */
struct exc {
	struct rte_ring *to_kernel[2], *to_us[2];
	uint16_t id;
};

static struct bed *exc_begin(struct exc *x)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	struct rte_eth_conf eth = {0};
	char name[32];
	int id;

	for (unsigned q = 0; q < 2; q++) {
		snprintf(name, sizeof(name), "exc_to_kernel%u", q);
		x->to_kernel[q] = rte_ring_create(name, EXC_RING, 0, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
		snprintf(name, sizeof(name), "exc_to_us%u", q);
		x->to_us[q] = rte_ring_create(name, EXC_RING, 0, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
	}
	id = rte_eth_from_rings("exc", x->to_us, 2, x->to_kernel, 2, 0);
	cr_assert_geq(id, 0);
	x->id = (uint16_t)id;
	cr_assert_eq(rte_eth_dev_configure(x->id, 2, 2, &eth), 0);
	for (uint16_t q = 0; q < 2; q++) {
		cr_assert_eq(rte_eth_rx_queue_setup(x->id, q, 64, 0, NULL, b->pool), 0);
		cr_assert_eq(rte_eth_tx_queue_setup(x->id, q, 64, 0, NULL), 0);
		b->g[SERVER].wp[q][0].has_exc = true;
		b->g[SERVER].wp[q][0].exc = x->id;
	}
	cr_assert_eq(rte_eth_dev_start(x->id), 0);
	return b;
}

static void exc_end(struct exc *x, struct bed *b)
{
	struct rte_mbuf *m;

	for (unsigned q = 0; q < 2; q++)
		while (rte_ring_sc_dequeue(x->to_kernel[q], (void **)&m) == 0)
			rte_pktmbuf_free(m);
	bed_end(b);
	rte_eth_dev_stop(x->id);
	rte_eth_dev_close(x->id);
}

/* Straight into the worker's own queue, with its checksum completed, and nothing by way of control. */
Test(pipeline_punt, device_to_kernel)
{
	struct exc x;
	struct bed *b = exc_begin(&x);
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m = kind_frame(b, NET_KIND_SYN), *got;
	uint16_t sum;

	sum = (uint16_t)~net_sum_fold(net_sum(rte_pktmbuf_mtod_offset(m, uint8_t *, 26), 8, (6u << 8) + (20u << 8)));
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 34 + 16), &sum, 2);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	bed_receive(s, m);
	bed_step(b);
	cr_assert_eq(border_punts(s->border[0], &got, 1), 0);
	cr_assert_eq(rte_ring_sc_dequeue(x.to_kernel[0], (void **)&got), 0);
	cr_assert_eq(got, m);
	cr_assert_eq(got->ol_flags, 0);
	sum = net_sum_fold(net_sum(rte_pktmbuf_mtod_offset(m, uint8_t *, 34), 20,
				   net_sum(rte_pktmbuf_mtod_offset(m, uint8_t *, 26), 8, (6u << 8) + (20u << 8))));
	cr_assert_eq(sum, 0);
	rte_pktmbuf_free(got);
	/* What it has no room for is lost under its name; more than a burst in one turn. */
	for (unsigned i = 0; i < 200; i++)
		bed_receive(s, kind_frame(b, NET_KIND_OTHER));
	bed_step(b);
	cr_assert_eq(rte_ring_count(x.to_kernel[0]), EXC_RING);
	cr_assert_eq(worker_stats(s->w[0])->punted, 1 + EXC_RING);
	cr_assert_eq(bed_drops(s, DROP_PUNT_FULL), 200 - EXC_RING);
	exc_end(&x, b);
}

/* What a device has room for is first for what the host and its neighbours cannot do without, of a turn's frames. */
Test(pipeline_punt, device_keeps_room)
{
	struct exc x;
	struct bed *b = exc_begin(&x);
	struct gate *s = &b->g[SERVER];
	unsigned got[NET_KINDS] = {0}, at = 0;
	struct rte_mbuf *m;

	for (unsigned i = 0; i < 100; i++)
		bed_receive(s, kind_frame(b, i & 1 ? NET_KIND_OTHER : NET_KIND_SYN));
	for (unsigned i = 0; i < 10; i++) {
		m = kind_frame(b, NET_KIND_TCP);
		rte_pktmbuf_mtod(m, uint8_t *)[41] = (uint8_t)i; /* its sequence number */
		bed_receive(s, m);
	}
	bed_step(b);
	while (rte_ring_sc_dequeue(x.to_kernel[0], (void **)&m) == 0) {
		enum net_kind kind = net_kind(rte_pktmbuf_mtod(m, uint8_t *), m->data_len);

		got[kind]++;
		if (kind == NET_KIND_TCP)
			cr_expect_eq(rte_pktmbuf_mtod(m, uint8_t *)[41], at++, "in their order");
		rte_pktmbuf_free(m);
	}
	cr_expect_eq(got[NET_KIND_TCP], 10, "%u", got[NET_KIND_TCP]);
	cr_assert_eq(got[NET_KIND_OTHER] + got[NET_KIND_SYN] + got[NET_KIND_TCP], EXC_RING);
	cr_assert_eq(bed_drops(s, DROP_PUNT_FULL), 110 - EXC_RING);
	/* More of them than the list holds. */
	for (unsigned i = 0; i < 200; i++)
		bed_receive(s, kind_frame(b, NET_KIND_LINK));
	bed_step(b);
	cr_assert_eq(rte_ring_count(x.to_kernel[0]), EXC_RING);
	cr_assert_eq(bed_drops(s, DROP_PUNT_FIRST_FULL), 200 - EXC_RING);
	exc_end(&x, b);
}

/* The rate is the port's, whichever way its frames go to the kernel. */
Test(pipeline_punt, device_rate)
{
	struct exc x;
	struct bed *b = exc_begin(&x);
	unsigned sent = 0;

	worker_mesh_punt_rate(b->g[SERVER].mesh, 0, RATE);
	for (unsigned i = 0; i < 20; i++) {
		struct rte_mbuf *m;

		for (unsigned k = 0; k < 20; k++)
			bed_receive(&b->g[SERVER], kind_frame(b, NET_KIND_OTHER));
		b->ms--;
		bed_step(b);
		for (; rte_ring_sc_dequeue(x.to_kernel[0], (void **)&m) == 0; sent++)
			rte_pktmbuf_free(m);
	}
	cr_assert_eq(sent, at_once(NET_KIND_OTHER));
	cr_assert_eq(dropped(b, NET_KIND_OTHER), 400 - sent);
	exc_end(&x, b);
}

/* What the kernel sends by any worker's queue leaves by the port; what it sent while that was closed does not. */
Test(pipeline_punt, device_from_kernel)
{
	struct exc x;
	struct bed *b = exc_begin(&x);
	struct gate *s = &b->g[SERVER];
	struct net_tbl *t = bed_copy(s);
	struct rte_mbuf *m;

	s->no_carry = 1;
	for (unsigned q = 0; q < 2; q++) {
		m = kind_frame(b, NET_KIND_ICMP);
		m->port = x.id;
		m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
		cr_assert_eq(rte_ring_sp_enqueue(x.to_us[q], m), 0);
	}
	bed_step(b);
	bed_step(b); /* the second worker's go over the first, who has the port's queue */
	for (unsigned q = 0; q < 2; q++) {
		cr_assert_eq(rte_ring_sc_dequeue(s->tx[0], (void **)&m), 0);
		cr_assert_eq(m->port, s->port);
		cr_assert_eq(m->ol_flags, 0);
		rte_pktmbuf_free(m);
		cr_assert_eq(worker_stats(s->w[q])->injected, 1);
	}
	t->dev[0].closed = true;
	bed_publish(s, t);
	m = kind_frame(b, NET_KIND_ICMP);
	cr_assert_eq(rte_ring_sp_enqueue(x.to_us[0], m), 0);
	bed_step(b);
	cr_assert_eq(rte_ring_count(x.to_us[0]), 1);
	t = bed_copy(s);
	t->dev[0].closed = false;
	bed_publish(s, t);
	bed_step(b);
	cr_assert_eq(rte_ring_count(x.to_us[0]), 0);
	cr_expect_eq(rte_ring_sc_dequeue(s->tx[0], (void **)&m), -ENOENT, "it is stale");
	cr_assert_eq(bed_drops(s, DROP_PORT_DOWN), 1);
	cr_assert_eq(rte_ring_sp_enqueue(x.to_us[0], kind_frame(b, NET_KIND_ICMP)), 0);
	bed_step(b);
	cr_assert_eq(rte_ring_sc_dequeue(s->tx[0], (void **)&m), 0);
	rte_pktmbuf_free(m);
	s->no_carry = 0;
	exc_end(&x, b);
}

static unsigned given_back;

static void give_back(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
	given_back++;
}

/* The same frame in memory that is not the buffer's own, as drivers bring that do not copy. */
static struct rte_mbuf *elsewhere(struct bed *b, struct rte_mbuf *m)
{
	static struct {
		uint8_t p[512];
		struct rte_mbuf_ext_shared_info info;
	} mem[4];
	static unsigned at;
	struct rte_mbuf *e = rte_pktmbuf_alloc(b->pool);

	cr_assert_lt(at, 4);
	mem[at].info.free_cb = give_back;
	rte_mbuf_ext_refcnt_set(&mem[at].info, 1);
	rte_pktmbuf_attach_extbuf(e, mem[at].p, 0, sizeof(mem[at].p), &mem[at].info);
	at++;
	e->data_off = RTE_PKTMBUF_HEADROOM;
	memcpy(rte_pktmbuf_append(e, m->data_len), rte_pktmbuf_mtod(m, void *), m->data_len);
	e->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_RSS_HASH;
	e->l2_len = 7;
	rte_pktmbuf_free(m);
	return e;
}

/* Sent on, a buffer says nothing more of where it came from, but whose memory it is: that goes back to its owner. */
Test(pipeline_punt, memory_of_others)
{
	struct exc x;
	struct bed *b = exc_begin(&x);
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m;

	s->no_carry = 1;
	bed_receive(s, elsewhere(b, kind_frame(b, NET_KIND_ICMP)));
	cr_assert_eq(rte_ring_sp_enqueue(x.to_us[0], elsewhere(b, kind_frame(b, NET_KIND_ICMP))), 0);
	bed_step(b);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(rte_ring_sc_dequeue(i ? s->tx[0] : x.to_kernel[0], (void **)&m), 0);
		cr_expect_eq(m->ol_flags, RTE_MBUF_F_EXTERNAL, "%#lx", m->ol_flags);
		cr_expect_eq(m->tx_offload, 0);
		rte_pktmbuf_free(m);
		cr_expect_eq(given_back, i + 1);
	}
	exc_end(&x, b);
}
