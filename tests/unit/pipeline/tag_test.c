/* SPDX-License-Identifier: MIT */

/* 802.1Q: a port with a VLAN of its own, tags that are none of ours, and drivers that take them off. */

#include <string.h>

#include <rte_ether.h>

#include "cut.h"
#include "eal.h"

TestSuite(pipeline_tag, .init = eal_start, .timeout = 120);

#define VLAN 7
#define PRIO 0xa000 /* a priority, of no VLAN */

static uint64_t all_drops(const struct gate *g)
{
	uint64_t n = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		n += v != DROP_TCP_CONTROL ? bed_drops(g, v) : 0;
	return n;
}

static struct rte_mbuf *tagged(struct rte_mbuf *m, uint16_t tci)
{
	char *p = rte_pktmbuf_prepend(m, 4);

	memmove(p, p + 4, 12);
	*(uint16_t *)(p + 12) = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
	*(uint16_t *)(p + 14) = rte_cpu_to_be_16(tci);
	return m;
}

/* The tag of a frame, which must bear one. */
static uint16_t tag_of(const struct rte_mbuf *m)
{
	cr_assert_eq(rte_be_to_cpu_16(*rte_pktmbuf_mtod_offset(m, uint16_t *, 12)), RTE_ETHER_TYPE_VLAN);
	return rte_be_to_cpu_16(*rte_pktmbuf_mtod_offset(m, uint16_t *, 14));
}

static struct bed *bed_in(uint16_t vlan, const struct bed_conf *conf)
{
	struct bed *b = bed_new(conf);

	for (int e = 0; e < 2; e++) {
		struct net_tbl *t = bed_copy(&b->g[e]);

		t->dev[0].vlan = vlan;
		bed_publish(&b->g[e], t);
	}
	return b;
}

static void transfer(struct bed *b)
{
	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 100000);
	cr_assert(bed_finish(b, 20000));
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	cr_assert_gt(b->seen, 200);
	for (unsigned w = 0; w < 2; w++)
		cr_assert_gt(shard_stats(b->g[SERVER].shard[w])->sessions_opened, 0, "worker %u", w);
	cr_assert_eq(all_drops(&b->g[SERVER]) + all_drops(&b->g[CLIENT]), 0);
	bed_end(b);
}

/* A datagram for a tunnel of the server's that no key has sealed: taken, it is dropped as crypt_bad. */
static struct rte_mbuf *datagram(struct bed *b)
{
	struct whole w;

	whole_udp(&w, SERVER, false, port_of_home(5000, 0), BED_PORT, 100);
	return bed_bytes(b, w.p, w.n);
}

static struct rte_mbuf *punted(struct gate *g)
{
	struct rte_mbuf *m = NULL;

	border_punts(g->border[0], &m, 1);
	return m;
}

/* ---- a port with a VLAN ---- */

static bool in_vlan(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	(void)to;
	cr_assert_eq(tag_of(m), VLAN);
	cr_assert_eq(m->pkt_len, m->data_len);
	b->seen++;
	return false;
}

/* All that two gateways say to each other bears the tag, whichever worker and whatever queue it comes by. */
static void in_a_vlan(bool tcp)
{
	struct bed_conf conf = {.cipher = "aes", .tcp = tcp, .ds = 3, .ps = 1};
	struct bed *b = bed_in(VLAN, &conf);

	b->wire = in_vlan;
	transfer(b);
}

Test(pipeline_tag, transfer)
{
	in_a_vlan(false);
}

Test(pipeline_tag, transfer_tcp)
{
	in_a_vlan(true);
}

/* The exception path of such a port sees no tags. */
Test(pipeline_tag, the_kernel_sees_none)
{
	struct bed *b = bed_in(VLAN, &(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, (uint8_t[46]){5}, 46);

	bed_receive(s, tagged(m, VLAN | PRIO));
	bed_step(b);
	m = punted(s);
	cr_assert_not_null(m);
	cr_assert_eq(m->data_len, 60);
	cr_assert_eq(rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type, rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP));
	cr_assert_eq(rte_pktmbuf_mtod(m, uint8_t *)[14], 5);
	rte_pktmbuf_free(m);

	m = bed_frame(b, RTE_ETHER_TYPE_ARP, (uint8_t[46]){6}, 46);
	m->port = s->port;
	s->no_carry = 1;
	cr_assert_eq(rte_ring_sp_enqueue(s->border[0]->inject, m), 0);
	bed_step(b);
	cr_assert_eq(rte_ring_sc_dequeue(s->tx[0], (void **)&m), 0);
	cr_assert_eq(tag_of(m), VLAN);
	cr_assert_eq(m->data_len, 64);
	cr_assert_eq(rte_pktmbuf_mtod(m, uint8_t *)[18], 6);
	rte_pktmbuf_free(m);
	cr_assert_eq(all_drops(s), 0);
	bed_end(b);
}

/* Other VLANs and what bears no tag are not the port's, and not the kernel's either. */
Test(pipeline_tag, others_are_dropped)
{
	struct bed *b = bed_in(VLAN, &(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *arp = bed_frame(b, RTE_ETHER_TYPE_ARP, (uint8_t[46]){0}, 46), *cut_off;

	bed_receive(s, datagram(b));
	bed_receive(s, arp);
	bed_receive(s, tagged(datagram(b), VLAN + 1));
	bed_receive(s, tagged(datagram(b), PRIO));
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_VLAN), 4);
	bed_receive(s, tagged(datagram(b), VLAN));
	bed_receive(s, tagged(tagged(datagram(b), VLAN), VLAN)); /* two tags: the kernel may know what that is */
	cut_off = tagged(datagram(b), VLAN);
	rte_pktmbuf_trim(cut_off, (uint16_t)(cut_off->data_len - 17));
	bed_receive(s, cut_off);
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 1);
	cr_assert_eq(bed_drops(s, DROP_FRAME_SHORT), 1);
	cr_assert_eq(all_drops(s), 6);
	arp = punted(s);
	cr_assert_not_null(arp);
	rte_pktmbuf_free(arp);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

static uint64_t taken(const struct gate *g, unsigned worker)
{
	return shard_stats(g->shard[worker])->drops[DROP_CRYPT_BAD - VERDICT_DROP];
}

/* One worker has the queue: what is the other's reaches it without its tag, which it does not look for again. */
Test(pipeline_tag, steered)
{
	struct bed *b = bed_in(VLAN, &(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct whole w;

	for (unsigned home = 0; home < 2; home++) {
		whole_udp(&w, SERVER, false, port_of_home(5000, home), BED_PORT, 100);
		bed_receive(s, tagged(bed_bytes(b, w.p, w.n), VLAN | PRIO));
	}
	bed_step(b);
	bed_step(b);
	cr_assert_eq(worker_stats(s->w[0])->rx_packets, 2);
	cr_assert_eq(worker_stats(s->w[0])->rx_bytes, 2 * 146, "with their tags");
	cr_assert_eq(worker_stats(s->w[1])->steered_in, 1);
	cr_assert_eq(taken(s, 0), 1);
	cr_assert_eq(taken(s, 1), 1);
	cr_assert_eq(all_drops(s), 2);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* Each fragment bears the tag. */
Test(pipeline_tag, fragments)
{
	struct bed *b = bed_in(VLAN, &(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct whole w;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		whole_udp(&w, SERVER, v6, port_of_home(5000, 1), BED_PORT, 1000);
		for (unsigned from = 0; from < 1008; from += 504)
			bed_receive(s, tagged(cut(b, &w, 9, from, 504), VLAN));
		bed_step(b);
		bed_step(b);
		cr_assert_eq(taken(s, 0) + taken(s, 1), 1 + v6);
	}
	cr_assert_geq(taken(s, 1), 1, "the whole goes home");
	cr_assert_eq(all_drops(s), 2);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* What a frame of the kernel's is when it leaves, or 0. */
static unsigned leaves(struct bed *b, struct rte_mbuf *m)
{
	struct gate *s = &b->g[SERVER];
	unsigned n = 0;

	m->port = s->port;
	s->no_carry = 1;
	cr_assert_eq(rte_ring_sp_enqueue(s->border[0]->inject, m), 0);
	bed_step(b);
	if (rte_ring_sc_dequeue(s->tx[0], (void **)&m) == 0) {
		cr_assert_eq(tag_of(m), VLAN);
		n = m->pkt_len;
		rte_pktmbuf_free(m);
	}
	return n;
}

/* The port's tag is not counted in an MTU, either way; one of the kernel's inside it is. */
Test(pipeline_tag, full_mtu)
{
	struct bed *b = bed_in(VLAN, &(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	static const uint8_t body[1501];
	struct whole w;

	whole_udp(&w, SERVER, false, port_of_home(5000, 0), BED_PORT, 1500 - 28);
	bed_receive(s, tagged(bed_bytes(b, w.p, w.n), VLAN));
	bed_step(b);
	cr_assert_eq(taken(s, 0), 1);
	cr_assert_eq(all_drops(s), 1);
	cr_assert_eq(leaves(b, bed_frame(b, RTE_ETHER_TYPE_IPV4, body, 1500)), 1518);
	cr_assert_eq(leaves(b, bed_frame(b, RTE_ETHER_TYPE_IPV4, body, 1501)), 0);
	cr_assert_eq(bed_drops(s, DROP_TX_LONG), 1);
	cr_assert_eq(leaves(b, tagged(bed_frame(b, RTE_ETHER_TYPE_IPV4, body, 1496), 9)), 1518);
	cr_assert_eq(leaves(b, tagged(bed_frame(b, RTE_ETHER_TYPE_IPV4, body, 1497), 9)), 0);
	cr_assert_eq(bed_drops(s, DROP_TX_LONG), 2);
	bed_end(b);
}

/* ---- a port without ---- */

static bool with_priority(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	(void)to;
	tagged(m, PRIO);
	b->seen++;
	return false;
}

/* Some networks' switches tag everything with a priority, and with no VLAN: nothing is different. */
Test(pipeline_tag, priority_only)
{
	struct bed *b = bed_in(0, &(struct bed_conf){.cipher = "aes"});

	b->wire = with_priority;
	transfer(b);
}

/* Frames of VLANs go to the kernel as they are, for it may have an interface of that VLAN; none is taken for ours. */
Test(pipeline_tag, the_kernels_own_vlans)
{
	struct bed *b = bed_in(0, &(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m;

	for (unsigned all = 0; all < 2; all++) {
		m = datagram(b);
		if (all)
			memset(rte_pktmbuf_mtod(m, void *), 0xff, 6);
		bed_receive(s, tagged(m, VLAN | PRIO));
		bed_step(b);
		m = punted(s);
		cr_assert_not_null(m);
		cr_assert_eq(tag_of(m), VLAN | PRIO);
		cr_assert_eq(m->data_len, 146);
		rte_pktmbuf_free(m);
	}
	cr_assert_eq(all_drops(s), 0);
	bed_end(b);
}

/* ---- drivers that take tags off ---- */

static struct rte_mbuf *stripped(struct rte_mbuf *m, uint16_t tci)
{
	m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	m->vlan_tci = tci;
	return m;
}

Test(pipeline_tag, stripped_by_the_driver)
{
	struct bed *b = bed_in(0, &(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct net_tbl *t;
	struct rte_mbuf *m;

	bed_receive(s, stripped(datagram(b), PRIO));
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 1, "taken");
	bed_receive(s, stripped(datagram(b), VLAN));
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 1, "a VLAN's frame passes for ours");
	m = punted(s);
	cr_assert_not_null(m);
	cr_assert_eq(tag_of(m), VLAN);
	cr_assert_eq(m->data_len, 146);
	cr_assert_eq(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED, 0);
	rte_pktmbuf_free(m);

	t = bed_copy(s);
	t->dev[0].vlan = VLAN;
	bed_publish(s, t);
	bed_receive(s, stripped(datagram(b), VLAN));
	bed_receive(s, stripped(datagram(b), VLAN + 1));
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 2);
	cr_assert_eq(bed_drops(s, DROP_VLAN), 1);

	/* No room for it to be put back: dropped, rather than taken for what it is not. */
	m = stripped(datagram(b), VLAN + 1);
	rte_pktmbuf_prepend(m, rte_pktmbuf_headroom(m));
	bed_receive(s, m);
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_VLAN), 2);
	cr_assert_eq(all_drops(s), 4);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}
