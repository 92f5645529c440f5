/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>

#include "bed.h"
#include "eal.h"
#include "flow.h"

/* The worker's turn, over ports that are rings: steering, punting, fragments, sending, and every buffer back. */

TestSuite(pipeline_worker, .init = eal_start);

static uint32_t dice(struct bed *b)
{
	uint64_t z = b->seen += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	return (uint32_t)((z ^ z >> 27) >> 32);
}

static uint64_t other_drops(const struct gate *g, unsigned a, unsigned b)
{
	uint64_t sum = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++) {
		if (v == a || v == b || !bed_drops(g, v))
			continue;
		printf("%lu dropped: %s\n", bed_drops(g, v), drop_name(v));
		sum += bed_drops(g, v);
	}
	return sum;
}

static void no_drops(const struct bed *b)
{
	cr_assert_eq(other_drops(&b->g[CLIENT], 0, 0) + other_drops(&b->g[SERVER], 0, 0), 0);
}

/* One queue and two workers: sessions live where their hash says, and worker 1 receives and sends over worker 0. */
static void steer(const char *cipher)
{
	struct bed_conf conf = {.cipher = cipher};
	struct bed *b = bed_new(&conf);
	const struct gate *s = &b->g[SERVER];
	const struct worker_stats *w0 = worker_stats(s->w[0]), *w1 = worker_stats(s->w[1]);

	bed_transfer(b, 200000);
	for (unsigned w = 0; w < 2; w++) {
		cr_assert_gt(shard_stats(s->shard[w])->sessions, 0, "no session at worker %u", w);
		for (unsigned i = 0; i < s->shard[w]->n_all; i++)
			cr_assert_eq(flow_home_sw(flow_hash(&s->shard[w]->all[i]->key), 2), w);
	}
	cr_assert_eq(w0->steered_out, w1->steered_in);
	cr_assert_gt(w1->steered_in, 100);
	cr_assert_eq(w1->steered_out, 0);
	cr_assert_eq(w1->rx_packets, 0);
	cr_assert_eq(w1->tx_packets, 0);
	cr_assert_gt(w0->tx_packets, w0->rx_packets / 4);
	no_drops(b);
	bed_end(b);
}

Test(pipeline_worker, steer)
{
	steer("aes");
}

Test(pipeline_worker, steer_none)
{
	steer("none");
}

/* ---- FEC ---- */

static bool lose_some(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	if (dice(b) % 10)
		return false;
	rte_pktmbuf_free(m);
	return true;
}

static void hold(unsigned most)
{
	struct bed_conf conf = {.cipher = "aes", .ds = 10, .ps = 3, .hold = most};
	struct bed *b = bed_new(&conf);

	b->wire = lose_some;
	bed_transfer(b, 100000);
	cr_assert_gt(b->most_held, most < 10 ? most - 1 : 10);
	cr_assert_leq(b->most_held, most, "%lu held", b->most_held);
	bed_steps(b, 8000); /* SESS_IDLE_MS, and some */
	cr_assert_eq(bed_mbufs_out(b), 0);
	cr_assert_gt(shard_snmp(b->g[SERVER].shard[0], 0)->FECRecovered, 0);
	cr_assert_eq(other_drops(&b->g[CLIENT], 0, 0), 0);
	cr_assert_eq(other_drops(&b->g[SERVER], DROP_PARITY_ALONE, 0), 0);
	bed_end(b);
}

/* Received buffers are kept for open groups, and come back when the session is quiet. */
Test(pipeline_worker, fec_holds_buffers)
{
	hold(256);
}

/* Beyond so many, what the turn's end leaves in open groups is copied, and serves as well. */
Test(pipeline_worker, fec_copies_beyond_its_budget)
{
	hold(3);
}

/* Buffers that FEC keeps when everything ends are freed too. */
Test(pipeline_worker, end_with_held_buffers)
{
	struct bed_conf conf = {.cipher = "aes", .ds = 10, .ps = 3};
	struct bed *b = bed_new(&conf);

	b->wire = lose_some;
	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 1000000);
	bed_steps(b, 50);
	cr_assert_gt(b->most_held, 10);
	b->wire = NULL;
	bed_end(b);
}

/* ---- the exception path ---- */

static unsigned punts(struct gate *g, unsigned w)
{
	struct rte_mbuf *m;
	unsigned n = 0;

	for (; border_punts(g->border[w], &m, 1); n++) {
		cr_assert_eq(m->port, g->port);
		rte_pktmbuf_free(m);
	}
	return n;
}

/* To all of the link. */
static struct rte_mbuf *arp_frame(struct bed *b)
{
	uint8_t arp[46] = {0, 1, 8, 0, 6, 4, 0, 1};
	struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, arp, sizeof(arp));

	memset(rte_pktmbuf_mtod(m, void *), 0xff, 6);
	return m;
}

Test(pipeline_worker, punt)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	struct gate *s = &b->g[SERVER];

	bed_receive(s, arp_frame(b));
	bed_step(b);
	cr_assert_eq(punts(s, 0), 1);
	/* Nobody takes them: their lane holds 32, the rest is dropped by name. */
	for (unsigned i = 0; i < 100; i++)
		bed_receive(s, arp_frame(b));
	bed_step(b);
	cr_assert_eq(punts(s, 0), 32);
	cr_assert_eq(bed_drops(s, DROP_PUNT_FIRST_FULL), 68);
	cr_assert_eq(worker_stats(s->w[0])->punted, 33);
	cr_assert_eq(other_drops(s, DROP_PUNT_FIRST_FULL, 0), 0);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* Control's frames go out by any worker, also by one that has no queue. */
Test(pipeline_worker, inject)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	struct gate *s = &b->g[SERVER];
	uint8_t arp[46] = {0};

	s->no_carry = true;
	for (unsigned w = 0; w < 2; w++) {
		struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, arp, sizeof(arp));

		m->port = s->port;
		cr_assert_eq(rte_ring_sp_enqueue(s->border[w]->inject, m), 0);
	}
	bed_step(b);
	bed_step(b);
	cr_assert_eq(rte_ring_count(s->tx[0]), 2);
	no_drops(b);
	bed_end(b);
}

/* ---- fragments ---- */

/* Bytes [from, from + n) of an IPv4 frame's payload as a fragment of its own. */
static struct rte_mbuf *fragment(struct bed *b, const struct rte_mbuf *m, uint16_t from, uint16_t n, bool more)
{
	const uint8_t *f = rte_pktmbuf_mtod(m, const uint8_t *);
	uint8_t body[1600];
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)body;
	struct rte_mbuf *out;

	memcpy(ip, f + 14, sizeof(*ip));
	memcpy(ip + 1, f + 34 + from, n);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + n));
	ip->packet_id = (uint16_t)b->seen;
	ip->fragment_offset = rte_cpu_to_be_16((uint16_t)(from / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0)));
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	out = bed_frame(b, RTE_ETHER_TYPE_IPV4, body, (uint16_t)(sizeof(*ip) + n));
	memcpy(rte_pktmbuf_mtod(out, uint8_t *), f, 12);
	return out;
}

/* Every long datagram in three fragments, in any order. */
static bool in_three(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	uint16_t n = (uint16_t)(m->data_len - 34);
	struct rte_mbuf *f[3];
	unsigned first;

	if (n < 600)
		return false;
	first = dice(b) % 3;
	f[0] = fragment(b, m, 0, 400, true);
	f[1] = fragment(b, m, 400, 160, true);
	f[2] = fragment(b, m, 560, (uint16_t)(n - 560), false);
	for (unsigned i = 0; i < 3; i++)
		bed_receive(to, f[(first + i) % 3]);
	rte_pktmbuf_free(m);
	return true;
}

Test(pipeline_worker, fragments)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);

	b->wire = in_three;
	bed_transfer(b, 50000);
	cr_assert_gt(worker_stats(b->g[SERVER].w[1])->steered_in, 50);
	no_drops(b);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* Each long datagram once whole, and before it fragments of others that will never be whole. */
static bool beside_rubbish(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	if (m->data_len < 800)
		return false;
	for (unsigned i = 0; i < 7; i++) {
		dice(b);
		bed_receive(to, fragment(b, m, (uint16_t)(8 * i), 400, true));
	}
	return false;
}

/* Fragments that nothing completes: a bounded number waits, the oldest go, and none is lost for good. */
Test(pipeline_worker, fragments_without_end)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);

	b->wire = beside_rubbish;
	bed_transfer(b, 50000);
	printf("%u buffers wait\n", bed_mbufs_out(b));
	cr_assert_leq(bed_mbufs_out(b), 1024);
	b->wire = NULL;
	bed_steps(b, 3000);
	cr_assert_eq(bed_mbufs_out(b), 0, "%u buffers still wait", bed_mbufs_out(b));
	cr_assert_gt(bed_drops(&b->g[SERVER], DROP_IP_FRAGMENT), 100);
	bed_end(b);
}

/* ---- drops ---- */

static bool spoil(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	if (dice(b) % 20 == 0)
		rte_pktmbuf_mtod(m, uint8_t *)[m->data_len - 1] ^= 1;
	return false;
}

Test(pipeline_worker, spoiled_datagrams)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);

	b->wire = spoil;
	bed_transfer(b, 100000);
	cr_assert_gt(bed_drops(&b->g[SERVER], DROP_CRYPT_BAD), 5);
	cr_assert_gt(shard_snmp(b->g[SERVER].shard[1], 0)->InCsumErrors, 0);
	cr_assert_eq(other_drops(&b->g[SERVER], DROP_CRYPT_BAD, 0), 0);
	cr_assert_eq(other_drops(&b->g[CLIENT], DROP_CRYPT_BAD, 0), 0);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

Test(pipeline_worker, chained_buffers)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_IPV4, "0123456789", 10);

	rte_pktmbuf_chain(m, bed_frame(b, RTE_ETHER_TYPE_IPV4, "0123456789", 10));
	bed_receive(&b->g[SERVER], m);
	bed_step(b);
	cr_assert_eq(bed_drops(&b->g[SERVER], DROP_MULTI_SEGMENT), 1);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* A port that takes nothing for a while: sessions keep their packets, nothing is dropped, and all arrives. */
Test(pipeline_worker, port_stands_still)
{
	struct bed_conf conf = {.cipher = "aes", .ring = 64};
	struct bed *b = bed_new(&conf);

	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 300000);
	bed_steps(b, 10);
	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = true;
	bed_steps(b, 2000);
	cr_assert_leq(bed_mbufs_out(b), 2 * 1024 + 2 * 1024 + 4 * 64);
	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = false;
	cr_assert(bed_finish(b, 20000));
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	cr_assert_eq(bed_drops(&b->g[CLIENT], DROP_TX_FULL) + bed_drops(&b->g[SERVER], DROP_TX_FULL), 0);
	bed_end(b);
}

/*
 * Both workers of a server lose their sessions.  The questions of its client come home by their hash, the answers go
 * out by the port's owner, and the next connections find service: whatever the cipher, with and without FEC.
 */
static void forgotten(const char *cipher, unsigned ds, unsigned ps)
{
	struct bed_conf conf = {.cipher = cipher, .ds = ds, .ps = ps};
	struct bed *b = bed_new(&conf);
	struct gate *s = &b->g[SERVER];

	bed_transfer(b, 20000);
	for (unsigned w = 0; w < 2; w++) {
		cr_assert_gt(s->shard[w]->n_all, 0);
		while (s->shard[w]->n_all)
			sess_close(s->shard[w]->all[0], 0, b->ms);
	}
	bed_steps(b, 12000); /* a keepalive, and the silence after it */
	cr_assert_eq(bed_drops(&b->g[CLIENT], DROP_FORGOTTEN), BED_CONN);
	cr_assert_eq(other_drops(&b->g[CLIENT], DROP_FORGOTTEN, 0), 0);
	cr_assert_eq(other_drops(s, DROP_STRAY, DROP_PARITY_ALONE), 0);
	cr_assert_eq(shard_stats(s->shard[0])->answered + shard_stats(s->shard[1])->answered, BED_CONN);
	cr_assert_gt(shard_stats(s->shard[1])->answered, 0);
	cr_assert_eq(shard_stats(s->shard[0])->sessions + shard_stats(s->shard[1])->sessions, 0);
	bed_transfer(b, 20000);
	bed_end(b);
}

Test(pipeline_worker, forgotten)
{
	forgotten("aes", 10, 3);
}

Test(pipeline_worker, forgotten_gcm)
{
	forgotten("aes-128-gcm", 0, 0);
}

Test(pipeline_worker, forgotten_none)
{
	forgotten("none", 0, 0);
}

Test(pipeline_worker, forgotten_null)
{
	forgotten("null", 10, 3);
}

/* No packet buffer left: counted by name, and it goes on when they are back. */
Test(pipeline_worker, no_buffers)
{
	static struct rte_mbuf *all[BED_MBUFS];
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	unsigned n = 0;

	while (rte_pktmbuf_alloc_bulk(b->pool, &all[n], 1) == 0)
		n++;
	bed_connect(b, 0, 10000);
	bed_steps(b, 100);
	cr_assert_gt(bed_drops(&b->g[CLIENT], DROP_NO_MBUF), 0);
	rte_pktmbuf_free_bulk(all, n);
	cr_assert(bed_finish(b, 5000));
	app_complete(&b->app[0]);
	cr_assert_eq(other_drops(&b->g[CLIENT], DROP_NO_MBUF, 0), 0);
	bed_end(b);
}
