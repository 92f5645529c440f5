/* SPDX-License-Identifier: MIT */

/* Rings and queues that are full: what does not fit is dropped by name, and every buffer comes back. */

#include <string.h>

#include <rte_ether.h>

#include "cut.h"
#include "eal.h"
#include "flow.h"
#include "worker_int.h"

TestSuite(pipeline_rings, .init = eal_start);

#define MESH 1023 /* frames that a ring between two workers holds */

static uint64_t all_drops(const struct gate *g)
{
	uint64_t sum = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		sum += bed_drops(g, v);
	return sum;
}

/* ---- steering ---- */

static void datagrams(struct bed *b, unsigned home, unsigned n)
{
	uint16_t port = port_of_home(5000, home);
	struct whole w;

	whole_udp(&w, SERVER, false, port, BED_PORT, 100);
	while (n--)
		bed_receive(&b->g[SERVER], bed_bytes(b, w.p, w.n));
}

/* The home worker does not come to fetch them: its ring fills, the rest goes, counted by the one who steered. */
Test(pipeline_rings, steer_full)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes", .ring = 4096});
	struct gate *s = &b->g[SERVER];

	s->still[1] = true;
	datagrams(b, 1, 3000);
	datagrams(b, 0, 10);
	bed_steps(b, 20);
	cr_assert_eq(worker_stats(s->w[0])->steered_out, MESH);
	cr_assert_eq(bed_drops(s, DROP_STEER_FULL), 3000 - MESH);
	cr_assert_eq(shard_stats(s->shard[0])->drops[DROP_CRYPT_BAD - VERDICT_DROP], 10, "worker 0 goes on");
	cr_assert_eq(all_drops(s), 3000 - MESH + 10);
	cr_assert_eq(bed_mbufs_out(b), MESH, "none but those that wait in the ring");
	s->still[1] = false;
	bed_steps(b, 20);
	cr_assert_eq(worker_stats(s->w[1])->steered_in, MESH);
	cr_assert_eq(shard_stats(s->shard[1])->drops[DROP_CRYPT_BAD - VERDICT_DROP], MESH);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* What a sibling has brought is not steered once more, whatever its hash says: it would go round for ever. */
Test(pipeline_rings, steered_once)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m;
	struct whole w;

	whole_udp(&w, SERVER, false, port_of_home(5000, 0), BED_PORT, 100);
	m = bed_bytes(b, w.p, w.n);
	m->port = s->port;
	cr_assert_eq(rte_ring_sp_enqueue(s->mesh->steer[0 * 2 + 1], m), 0);
	bed_steps(b, 3);
	cr_assert_eq(shard_stats(s->shard[1])->drops[DROP_CRYPT_BAD - VERDICT_DROP], 1);
	cr_assert_eq(worker_stats(s->w[1])->steered_in, 1);
	cr_assert_eq(worker_stats(s->w[1])->steered_out, 0);
	cr_assert_eq(worker_stats(s->w[1])->rx_bytes, 0, "counted where it was received");
	bed_end(b);
}

/* Steering leaves a bell to be rung for the home worker, and for no other. */
Test(pipeline_rings, steering_pokes)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];

	datagrams(b, 0, 1);
	bed_step(b);
	bed_step(b);
	cr_assert_eq(s->w[0]->poked, 0);
	datagrams(b, 1, 1);
	bed_step(b);
	bed_step(b);
	cr_assert_eq(s->w[0]->poked, 2);
	bed_end(b);
}

/* ---- sending ---- */

static unsigned sent;

static bool count(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	cr_assert_eq(to, &b->g[CLIENT]);
	cr_assert_eq(m->data_len, 60);
	rte_pktmbuf_free(m);
	sent++;
	return true;
}

/* `n` frames of control's for the port, by worker w, as fast as the worker takes them. */
static unsigned inject(struct bed *b, unsigned w, unsigned n)
{
	struct gate *s = &b->g[SERVER];
	uint8_t arp[46] = {0};
	unsigned put = 0;

	for (unsigned t = 0; t < 2000 && put < n; t++) {
		for (unsigned i = 0; i < 60 && put < n; i++, put++) {
			struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, arp, sizeof(arp));

			m->port = s->port;
			if (rte_ring_sp_enqueue(s->border[w]->inject, m)) {
				rte_pktmbuf_free(m);
				break;
			}
		}
		bed_step(b);
	}
	return put;
}

/* A port that takes nothing: frames wait, up to a bound; those beyond it go by their name. */
Test(pipeline_rings, tx_full)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes", .ring = 64});
	struct gate *s = &b->g[SERVER];
	unsigned put, wait;

	b->wire = count;
	s->no_carry = true;
	put = inject(b, 0, 1500);
	wait = rte_ring_count(s->tx[0]) + s->w[0]->txq[0].n;
	cr_assert_eq(put, 1500);
	cr_assert_gt(bed_drops(s, DROP_TX_FULL), 0);
	cr_assert_eq(bed_drops(s, DROP_TX_FULL) + wait, put);
	cr_assert_eq(all_drops(s), bed_drops(s, DROP_TX_FULL));
	cr_assert_eq(bed_mbufs_out(b), wait, "%u buffers, and %u wait", bed_mbufs_out(b), wait);
	s->no_carry = false;
	bed_steps(b, 100);
	cr_assert_eq(sent, wait);
	cr_assert_eq(worker_stats(s->w[0])->tx_packets, wait);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* The same where the port's queue is a sibling's, who makes no turns. */
Test(pipeline_rings, tx_full_by_a_sibling)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	unsigned put, wait;

	b->wire = count;
	s->still[0] = true;
	put = inject(b, 1, 2500);
	wait = rte_ring_count(s->mesh->tx[1]) + s->w[1]->txq[0].n;
	cr_assert_eq(put, 2500);
	cr_assert_gt(bed_drops(s, DROP_TX_FULL), 0);
	cr_assert_eq(bed_drops(s, DROP_TX_FULL) + wait, put);
	cr_assert_eq(bed_mbufs_out(b), wait);
	cr_assert_eq(s->w[1]->poked, 1, "worker 0 is to be woken");
	s->still[0] = false;
	bed_steps(b, 100);
	cr_assert_eq(sent, wait);
	cr_assert_eq(worker_stats(s->w[0])->tx_packets, wait, "counted where they leave");
	cr_assert_eq(worker_stats(s->w[1])->tx_packets, 0);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* In order, though the port takes them a few at a time. */
static bool in_order(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	cr_assert_eq(*rte_pktmbuf_mtod_offset(m, uint16_t *, 14), (uint16_t)b->seen);
	b->seen++;
	rte_pktmbuf_free(m);
	return true;
}

Test(pipeline_rings, sent_in_order)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes", .ring = 16});
	struct gate *s = &b->g[SERVER];
	uint16_t n = 0;

	b->wire = in_order;
	for (unsigned t = 0; t < 400; t++) {
		for (unsigned i = 0; t < 20 && i < 40; i++, n++) {
			struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, (uint8_t[46]){0}, 46);

			memcpy(rte_pktmbuf_mtod_offset(m, void *, 14), &n, sizeof(n));
			m->port = s->port;
			cr_assert_eq(rte_ring_sp_enqueue(s->border[0]->inject, m), 0);
		}
		bed_step(b);
	}
	cr_assert_eq(b->seen, n, "%lu of %u", b->seen, n);
	cr_assert_eq(all_drops(s), 0);
	bed_end(b);
}

/* Whoever sends a frame for a sibling knows by it which port it leaves by; and its lengths agree. */
static bool well_dressed(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	cr_assert_eq(m->port, b->g[to == &b->g[CLIENT] ? SERVER : CLIENT].port);
	cr_assert_eq(m->pkt_len, m->data_len);
	cr_assert_eq(m->data_len, 14 + rte_be_to_cpu_16(*rte_pktmbuf_mtod_offset(m, uint16_t *, 16)));
	b->seen++;
	return false;
}

Test(pipeline_rings, frames_bear_their_port)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});

	b->wire = well_dressed;
	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 20000);
	cr_assert(bed_finish(b, 20000));
	cr_assert_gt(b->seen, 100);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_gt(shard_stats(b->g[SERVER].shard[i])->sessions_opened, 0);
	cr_assert_eq(all_drops(&b->g[SERVER]), 0);
	bed_end(b);
}

/* ---- the vector ---- */

/* A turn takes no more than its vector holds, and what siblings bring gets at most half of it. */
Test(pipeline_rings, a_turn_is_bounded)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];

	datagrams(b, 0, 1000);
	bed_step(b);
	cr_assert_eq(worker_stats(s->w[0])->rx_packets, 256);
	cr_assert_eq(worker_stats(s->w[0])->max_burst, 256);
	bed_steps(b, 3);
	cr_assert_eq(worker_stats(s->w[0])->rx_packets, 1000);
	s->still[1] = true;
	datagrams(b, 1, 1000);
	bed_steps(b, 4);
	s->still[1] = false;
	bed_step(b);
	cr_assert_eq(worker_stats(s->w[1])->steered_in, 128);
	bed_steps(b, 7);
	cr_assert_eq(worker_stats(s->w[1])->steered_in, 1000);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 2000);
	bed_end(b);
}

/* What the driver found wrong is refused by name; what it did not look at is not. */
Test(pipeline_rings, driver_checksums)
{
	static const struct {
		uint64_t flag;
		bool bad;
	} of[] = {{RTE_MBUF_F_RX_L4_CKSUM_BAD, true},
		  {RTE_MBUF_F_RX_L4_CKSUM_GOOD, false},
		  {RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN, false},
		  {RTE_MBUF_F_RX_L4_CKSUM_NONE, false}};
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	unsigned bad = 0, other = 0;
	struct whole w;

	whole_udp(&w, SERVER, false, 5000, BED_PORT, 100);
	for (unsigned i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct rte_mbuf *m = bed_bytes(b, w.p, w.n);

		m->ol_flags |= of[i].flag;
		bed_receive(s, m);
		bed_steps(b, 2);
		bad += of[i].bad;
		other += !of[i].bad;
		cr_assert_eq(bed_drops(s, DROP_UDP_CHECKSUM), bad, "%u", i);
		cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), other, "%u", i);
	}
	cr_assert_eq(worker_stats(s->w[0])->rx_bytes, 4 * w.n);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}
