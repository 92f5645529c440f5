/* SPDX-License-Identifier: MIT */
#include <linux/if_packet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bed.h"
#include "eal.h"
#include "worker_int.h"

/* Ports that are down, stand still, or go and come again, beside one that works: two ports on every worker. */

TestSuite(pipeline_port, .init = eal_start, .timeout = 60);

/* The connections of one port are over, and whole. */
static void complete(const struct bed *b, unsigned port)
{
	for (unsigned i = port; i < b->n_app; i += b->n_ports)
		app_complete(&b->app[i]);
}

static bool over(const struct bed *b, unsigned port)
{
	for (unsigned i = port; i < b->n_app; i += b->n_ports)
		if (!b->app[i].closed)
			return false;
	return true;
}

static bool finish(struct bed *b, unsigned port, unsigned ms)
{
	while (!over(b, port) && ms--)
		bed_step(b);
	return over(b, port);
}

static struct bed *begin(const struct bed_conf *conf, uint32_t bytes)
{
	struct bed *b = bed_new(conf);

	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, bytes);
	bed_steps(b, 5);
	return b;
}

static void set(struct bed *b, unsigned port, bool up, bool closed)
{
	for (int e = 0; e < 2; e++) {
		struct net_tbl *t = bed_copy(&b->g[e]);

		t->dev[port].up = up;
		t->dev[port].closed = closed;
		bed_publish(&b->g[e], t);
	}
}

/* One port takes nothing, as AF_PACKET's does while its interface is down: the other one's sessions go on. */
Test(pipeline_port, one_stands_still)
{
	struct bed_conf conf = {.cipher = "aes", .ring = 64, .ports = 2};
	struct bed *b = begin(&conf, 3000000);

	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = 2;
	cr_assert(finish(b, 0, 20000), "the other port's connections stand still too");
	complete(b, 0);
	cr_assert(!over(b, 1));
	cr_assert_eq(bed_drops(&b->g[CLIENT], DROP_TX_FULL) + bed_drops(&b->g[SERVER], DROP_TX_FULL), 0);
	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = 0;
	cr_assert(finish(b, 1, 20000));
	complete(b, 1);
	bed_end(b);
}

/* For long: what waits for it is dropped by name, and what comes then; when it takes again, all arrives. */
Test(pipeline_port, stuck)
{
	struct bed_conf conf = {.cipher = "aes", .ring = 64, .ports = 2};
	struct bed *b = begin(&conf, 3000000);
	unsigned out;

	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = 2;
	bed_steps(b, PL_STUCK_MS + 500);
	complete(b, 0);
	cr_assert_gt(bed_drops(&b->g[CLIENT], DROP_TX_FULL), 0);
	cr_assert_gt(bed_drops(&b->g[SERVER], DROP_TX_FULL), 0);
	out = bed_mbufs_out(b);
	cr_assert_leq(out, 2 * 64, "%u buffers wait beside those in the rings", out);
	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = 0;
	cr_assert(finish(b, 1, 30000));
	complete(b, 1);
	bed_end(b);
}

/* A link that is known to be down: nothing waits for it, and nothing is given to it. */
Test(pipeline_port, down)
{
	struct bed_conf conf = {.cipher = "aes", .ports = 2};
	struct bed *b = begin(&conf, 3000000);
	uint64_t before;

	set(b, 1, false, false);
	bed_steps(b, 5);
	before = rte_ring_count(b->g[CLIENT].more.tx);
	cr_assert(finish(b, 0, 20000));
	complete(b, 0);
	bed_steps(b, 1000); /* for what is sent again */
	cr_assert_eq(rte_ring_count(b->g[CLIENT].more.tx), before);
	cr_assert_gt(bed_drops(&b->g[CLIENT], DROP_PORT_DOWN), 0);
	cr_assert_gt(bed_drops(&b->g[SERVER], DROP_PORT_DOWN), 0);
	cr_assert_eq(bed_mbufs_out(b), 0);
	set(b, 1, true, false);
	cr_assert(finish(b, 1, 20000));
	complete(b, 1);
	bed_end(b);
}

/* The same pictures with one route more: to the second port's network by the first port, at a price. */
static void detour(struct bed *b)
{
	for (int e = 0; e < 2; e++) {
		struct net_tbl *t = bed_copy(&b->g[e]), *n = net_tbl_alloc(3, 2, 3);

		n->gen = t->gen;
		n->n_dev = t->n_dev;
		memcpy(n->dev, t->dev, sizeof(n->dev));
		n->n_neigh = n->n_route = 2;
		n->n_local = 3;
		memcpy(n->route, t->route, 2 * sizeof(*n->route));
		memcpy(n->neigh, t->neigh, 2 * sizeof(*n->neigh));
		memcpy(n->local, t->local, 3 * sizeof(*n->local));
		n->route[n->n_route++] = (struct net_route){
			.prefix = addr_v4(0x0a000100), .plen = 120, .via = addr_v4(0x0a000001u + !e), .metric = 9};
		net_tbl_sort(n);
		n->dev[1].up = false;
		net_tbl_free(t);
		bed_publish(&b->g[e], n);
	}
}

/* A link that is down, and another port leads to the peer: the sessions go on by that one, with the addresses that they
 * have, and know each other's datagrams wherever they come in. */
Test(pipeline_port, goes_by_the_other)
{
	struct bed_conf conf = {.cipher = "aes", .ports = 2};
	struct bed *b = begin(&conf, 3000000);
	uint64_t before;

	cr_assert(!over(b, 1) && !over(b, 0));
	detour(b);
	bed_steps(b, 5);
	before = rte_ring_count(b->g[CLIENT].more.tx);
	cr_assert(finish(b, 1, 20000), "the sessions of the port that is down stand still");
	complete(b, 1);
	cr_assert(finish(b, 0, 20000));
	complete(b, 0);
	cr_assert_eq(rte_ring_count(b->g[CLIENT].more.tx), before);
	cr_assert_eq(bed_drops(&b->g[CLIENT], DROP_FOREIGN), 0);
	cr_assert_eq(shard_stats(b->g[SERVER].shard[0])->sessions + shard_stats(b->g[SERVER].shard[1])->sessions,
		     BED_CONN);
	bed_end(b);
}

/* Its device goes while frames wait everywhere for it, and another one, with another number, takes its place. */
Test(pipeline_port, closed_and_opened)
{
	struct bed_conf conf = {.cipher = "aes", .ring = 64, .ports = 2};
	struct bed *b = begin(&conf, 3000000);
	struct bed_port first = b->g[CLIENT].more;

	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = 2;
	bed_steps(b, 100);
	set(b, 1, false, true);
	/* Nobody looks at it: not at its queues either. */
	for (int e = 0; e < 2; e++)
		for (unsigned w = 0; w < 2; w++)
			b->g[e].wp[w][1] = (struct worker_port){.id = UINT16_MAX, .rxq = 9, .txq = 9};
	cr_assert(finish(b, 0, 20000));
	complete(b, 0);
	bed_steps(b, 1000);
	cr_assert_gt(bed_drops(&b->g[SERVER], DROP_PORT_DOWN), 0);
	cr_assert_leq(bed_mbufs_out(b), 4 * 64);
	for (int e = 0; e < 2; e++) {
		b->g[e].wp[0][1] = (struct worker_port){.id = b->g[e].more.id, .steer = true, .sends_for = 2};
		b->g[e].wp[1][1] = (struct worker_port){.id = b->g[e].more.id, .rxq = -1, .txq = -1, .steer = true};
	}
	cr_assert_eq(b->g[CLIENT].more.id, first.id);
	b->g[SERVER].no_carry = b->g[CLIENT].no_carry = 0;
	set(b, 1, true, false);
	cr_assert(finish(b, 1, 20000));
	complete(b, 1);
	bed_end(b);
}

/* ---- AF_PACKET's ring ---- */

#define FRAMES 16u
#define FRAME  64u

/* The driver would wait for a frame that is in use: it gets no more than are free, from where it left off. */
Test(pipeline_port, ring_in_use)
{
	struct bed_conf conf = {.cipher = "aes", .ring = 256};
	struct bed *b = bed_new(&conf);
	struct gate *c = &b->g[CLIENT];
	uint8_t *ring = calloc(FRAMES, FRAME), arp[46] = {0};

	set(b, 0, true, true);
	c->wp[0][0].ring = (struct worker_ring){.base = ring, .frames = FRAMES, .frame_size = FRAME, .longest = 1600};
	set(b, 0, true, false);
	c->no_carry = 1;
	((struct tpacket2_hdr *)(ring + 5 * FRAME))->tp_status = TP_STATUS_SENDING;
	for (unsigned i = 0; i < 24; i++) {
		struct rte_mbuf *m = bed_frame(b, 0x806, arp, sizeof(arp));

		m->port = c->port;
		cr_assert_eq(rte_ring_sp_enqueue(c->border[0]->inject, m), 0);
	}
	bed_steps(b, 5);
	cr_assert_eq(rte_ring_count(c->tx[0]), 5);
	/* Only a stamp is on it: free.  Beyond the end it goes on at the beginning. */
	((struct tpacket2_hdr *)(ring + 5 * FRAME))->tp_status = TP_STATUS_TS_SOFTWARE;
	((struct tpacket2_hdr *)(ring + 2 * FRAME))->tp_status = TP_STATUS_SEND_REQUEST;
	bed_steps(b, 5);
	cr_assert_eq(rte_ring_count(c->tx[0]), 16 + 2);
	((struct tpacket2_hdr *)(ring + 2 * FRAME))->tp_status = TP_STATUS_AVAILABLE;
	bed_steps(b, 5);
	cr_assert_eq(rte_ring_count(c->tx[0]), 24);
	cr_assert_eq(bed_drops(c, DROP_TX_FULL), 0);
	bed_end(b);
	free(ring);
}

/* A burst tells the kernel to send what lies in the ring: where it is full, and so no burst goes, somebody else must.
 */
Test(pipeline_port, full_ring_is_sent)
{
	struct bed_conf conf = {.cipher = "aes", .ring = 256};
	struct bed *b = bed_new(&conf);
	struct gate *c = &b->g[CLIENT];
	uint8_t *ring = calloc(FRAMES, FRAME), arp[46] = {0};
	struct rte_mbuf *m = bed_frame(b, 0x806, arp, sizeof(arp));
	int fd[2];
	char buf[8];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fd), 0);
	set(b, 0, true, true);
	c->wp[0][0].ring =
		(struct worker_ring){.base = ring, .frames = FRAMES, .frame_size = FRAME, .longest = 1600, .fd = fd[0]};
	set(b, 0, true, false);
	worker_kick(c->w[0]);
	cr_assert_eq(recv(fd[1], buf, sizeof(buf), 0), -1);
	((struct tpacket2_hdr *)ring)->tp_status = TP_STATUS_SEND_REQUEST;
	m->port = c->port;
	cr_assert_eq(rte_ring_sp_enqueue(c->border[0]->inject, m), 0);
	bed_steps(b, 2);
	worker_kick(c->w[0]);
	cr_assert_eq(recv(fd[1], buf, sizeof(buf), 0), 0);
	((struct tpacket2_hdr *)ring)->tp_status = TP_STATUS_AVAILABLE;
	bed_steps(b, 2);
	worker_kick(c->w[0]);
	cr_assert_eq(recv(fd[1], buf, sizeof(buf), 0), -1);
	bed_end(b);
	close(fd[0]);
	close(fd[1]);
	free(ring);
}

/* The driver would pass over a frame that is too long for its ring, and say nothing. */
Test(pipeline_port, too_long_for_the_ring)
{
	struct bed_conf conf = {.cipher = "aes", .ring = 256};
	struct bed *b = bed_new(&conf);
	struct gate *c = &b->g[CLIENT];
	uint8_t *ring = calloc(FRAMES, FRAME), body[200] = {0};
	struct rte_mbuf *m = bed_frame(b, 0x806, body, sizeof(body));

	set(b, 0, true, true);
	c->wp[0][0].ring = (struct worker_ring){.base = ring, .frames = FRAMES, .frame_size = FRAME, .longest = 213};
	set(b, 0, true, false);
	m->port = c->port;
	cr_assert_eq(rte_ring_sp_enqueue(c->border[0]->inject, m), 0);
	bed_steps(b, 2);
	cr_assert_eq(bed_drops(c, DROP_TX_LONG), 1);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
	free(ring);
}
