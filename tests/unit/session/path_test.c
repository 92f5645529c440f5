/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <rte_mbuf.h>

#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"
#include "sess.h"

/* Where a session's packets go: by the kernel's routes and neighbours as they come and go, or back where they came
 * from.
 */

TestSuite(session_path, .init = eal_start);

static const uint8_t mac_hop[6] = {2, 0, 0, 0, 9, 1}, mac_other[6] = {2, 0, 0, 0, 9, 2};

static struct net_tbl *table(uint64_t gen, unsigned routes, unsigned neighs)
{
	struct net_tbl *t = net_tbl_alloc(routes, neighs, 3);

	t->gen = gen;
	t->n_dev = 2;
	t->n_local = 3;
	t->local[2] =
		(struct net_local){.addr = addr_v4(0x0a000001), .plen = 120}; /* where the client is that is rigged */
	for (unsigned i = 0; i < 2; i++) {
		t->dev[i] = (struct net_dev){.mac = {2, 0, 0, 0, 0, (uint8_t)(1 + i)}, .mtu = 1500, .up = true};
		t->local[i] =
			(struct net_local){.addr = addr_v4(0x0a000002 + (i << 16)), .plen = 120, .dev = (uint16_t)i};
	}
	return t;
}

/* A default route by a gateway of port `dev`, whose link address is mac (NULL: not known). */
static struct net_tbl *routed(uint64_t gen, uint16_t dev, const uint8_t *mac)
{
	struct net_tbl *t = table(gen, 1, mac ? 1 : 0);
	struct addr via = addr_v4(0x0a0000fe + ((uint32_t)dev << 16));

	t->n_route = 1;
	t->route[0] = (struct net_route){.prefix = addr_v4(0), .plen = 96, .dev = dev, .via = via};
	if (mac) {
		t->n_neigh = 1;
		t->neigh[0] = (struct net_neigh){.addr = via, .dev = dev};
		memcpy(t->neigh[0].mac, mac, 6);
	}
	net_tbl_sort(t);
	return t;
}

struct bench {
	struct rig *r;
	struct sess *ss;
	struct shard *s;
	uint16_t n;
	uint8_t seg[KCP_HEAD];
};

static uint16_t beginning(uint8_t *p)
{
	memset(p, 0, KCP_HEAD);
	le32_put(p, 77);
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 128);
	return KCP_HEAD;
}

/* A server with one session; own: the buffer that its first packet came in, or NULL. */
static struct bench bench(struct rte_mbuf *own, uint16_t dev)
{
	struct rig_conf conf = rig_defaults();
	struct flow_key key = rig_key(SERVER, 5000);
	struct bench b = {.r = rig_new(&conf)};
	struct pkt k = {
		.p = b.seg, .n = beginning(b.seg), .key = &key, .hash = flow_hash(&key), .own = own, .dev = dev};

	b.s = b.r->side[SERVER].shard;
	shard_input(b.s, &k, 1, b.r->now);
	cr_assert_eq(k.verdict, VERDICT_OK);
	b.ss = b.s->all[0];
	rig_notes(&b.r->side[SERVER], NOTE_NEIGH, NULL);
	return b;
}

static const struct net_path *ask(struct bench *b, unsigned *why)
{
	return shard_path(b->s, b->ss, b->r->now, why);
}

static void goes(struct bench *b, uint16_t dev, const uint8_t *mac)
{
	unsigned why;
	const struct net_path *p = ask(b, &why);

	cr_assert_not_null(p, "%s", drop_name(why));
	cr_assert_eq(p->dev, dev);
	cr_assert_eq(memcmp(p->head, mac, 6), 0);
	cr_assert_eq(p->head[11], dev + 1, "the source is the port's");
}

/* A neighbour that is not known is asked for once a second, and used as soon as a snapshot has it. */
Test(session_path, neighbour)
{
	struct net_tbl *none = routed(1, 0, NULL), *known = routed(2, 0, mac_hop);
	struct bench b = bench(NULL, 0);
	struct rig_side *side = &b.r->side[SERVER];
	struct note n;
	unsigned why;

	shard_adopt(b.s, none);
	cr_assert_null(ask(&b, &why));
	cr_assert_eq(why, DROP_NO_NEIGHBOUR);
	cr_assert_eq(rig_notes(side, NOTE_NEIGH, &n), 1);
	cr_assert(addr_eq(&n.key.peer, &none->route[0].via));
	cr_assert_eq(n.key.dev, 0);
	for (unsigned i = 0; i < 999; i++) {
		rig_at(b.r, b.r->now + 1);
		cr_assert_null(ask(&b, &why));
	}
	cr_assert_eq(rig_notes(side, NOTE_NEIGH, NULL), 0);
	rig_at(b.r, b.r->now + 1);
	cr_assert_null(ask(&b, &why));
	cr_assert_eq(rig_notes(side, NOTE_NEIGH, NULL), 1);
	shard_adopt(b.s, known);
	goes(&b, 0, mac_hop);
	rig_at(b.r, b.r->now + 5000);
	goes(&b, 0, mac_hop);
	cr_assert_eq(rig_notes(side, NOTE_NEIGH, NULL), 0);
	rig_end(b.r);
	net_tbl_free(none);
	net_tbl_free(known);
}

static unsigned output(struct rig_side *s, uint64_t now)
{
	static uint8_t room[64][2048];
	struct pkt v[64] = {0};

	for (unsigned i = 0; i < 64; i++)
		v[i].p = room[i] + 256;
	return shard_output(s->shard, v, 64, now);
}

/* Until the next hop is known what is to be sent waits: nothing of it is lost, and it leaves as soon as it can. */
Test(session_path, waits_for_the_first_hop)
{
	struct net_tbl *none = routed(1, 0, NULL), *other = routed(2, 0, NULL), *known = routed(3, 0, mac_hop);
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct rig_side *side = &r->side[CLIENT];
	const struct net_tbl *rigs = side->shard->tbl;
	struct kcp_info k;

	shard_adopt(side->shard, none);
	rig_connect(r, 0, 3000, 3000);
	rig_run(r, r->now + 30, NULL, NULL);
	cr_assert_eq(rig_notes(side, NOTE_NEIGH, NULL), 1, "the kernel is asked");
	shard_adopt(side->shard, other);
	rig_run(r, r->now + 300, NULL, NULL);
	cr_assert_eq(side->dgrams, 0);
	cr_assert_eq(side->shard->n_all, 1);
	kcp_info(&side->shard->all[0]->kcp, &k);
	cr_assert_eq(k.snd_buf, 0, "nothing is under way");
	cr_assert_not(shard_ready(side->shard), "its lcore may nap");
	cr_assert_str_eq(bound_name(side->shard->all[0], r->now), "next hop");
	shard_adopt(side->shard, known);
	cr_assert_gt(output(side, r->now), 0);
	cr_assert_str_neq(bound_name(side->shard->all[0], r->now), "next hop");
	shard_adopt(side->shard, rigs);
	cr_assert(rig_finish(r, 60000));
	rig_end(r);
	net_tbl_free(none);
	net_tbl_free(other);
	net_tbl_free(known);
}

/* But not for ever, whatever tables come in the meantime. */
Test(session_path, goes_on_without)
{
	struct net_tbl *t[] = {routed(1, 0, NULL), routed(2, 0, NULL)};
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct rig_side *side = &r->side[CLIENT];
	const struct net_tbl *rigs = side->shard->tbl;
	uint64_t at = 0;

	shard_adopt(side->shard, t[0]);
	rig_connect(r, 0, 3000, 3000);
	while (side->dgrams == 0 && r->now < RIG_START + 5000) {
		if (side->shard->n_all == 0)
			at = r->now;
		shard_adopt(side->shard, t[r->now % 2]);
		rig_run(r, r->now + 1, NULL, NULL);
	}
	cr_assert(r->now >= at + 1000 && r->now <= at + 1004, "%lu ms", r->now - at);
	shard_adopt(side->shard, rigs);
	cr_assert(rig_finish(r, 60000));
	rig_end(r);
	net_tbl_free(t[0]);
	net_tbl_free(t[1]);
}

/* Routes and link addresses that change, vanish and come back: the path follows at once. */
Test(session_path, changes)
{
	struct net_tbl *t[] = {routed(1, 0, mac_hop), routed(2, 0, mac_other), routed(3, 1, mac_hop), table(4, 0, 0),
			       routed(5, 0, mac_hop)};
	struct bench b = bench(NULL, 0);
	unsigned why;

	net_tbl_sort(t[3]);
	shard_adopt(b.s, t[0]);
	goes(&b, 0, mac_hop);
	shard_adopt(b.s, t[1]);
	goes(&b, 0, mac_other);
	shard_adopt(b.s, t[2]);
	goes(&b, 1, mac_hop);
	shard_adopt(b.s, t[3]);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_null(ask(&b, &why));
		cr_assert_eq(why, DROP_NO_ROUTE);
		rig_at(b.r, b.r->now + 1000);
	}
	cr_assert_eq(rig_notes(&b.r->side[SERVER], NOTE_NEIGH, NULL), 0, "there is no neighbour to ask for");
	cr_assert_str_eq(bound_name(b.ss, b.r->now), "route");
	shard_adopt(b.s, t[4]);
	goes(&b, 0, mac_hop);
	cr_assert_str_neq(bound_name(b.ss, b.r->now), "route");
	rig_end(b.r);
	for (unsigned i = 0; i < 5; i++)
		net_tbl_free(t[i]);
}

/* Of routes that change all the time some are looked at, not all; what changes beside them is followed at once. */
Test(session_path, restless_routes)
{
	struct bench b = bench(NULL, 0);
	struct net_tbl *t[2 * PATH_LOOKS], *here = routed(100, 0, mac_other);

	for (unsigned i = 0; i < 2 * PATH_LOOKS; i++) {
		t[i] = routed(1 + i, i % 2, mac_hop);
		t[i]->gen_here = 1;
		shard_adopt(b.s, t[i]);
		goes(&b, i <= PATH_LOOKS ? i % 2 : PATH_LOOKS % 2, mac_hop);
	}
	rig_at(b.r, b.r->now + PATH_LOOK_MS - 1);
	goes(&b, PATH_LOOKS % 2, mac_hop);
	rig_at(b.r, b.r->now + 1);
	goes(&b, 1, mac_hop);
	here->gen_here = 100;
	shard_adopt(b.s, here);
	goes(&b, 0, mac_other);
	rig_end(b.r);
	for (unsigned i = 0; i < 2 * PATH_LOOKS; i++)
		net_tbl_free(t[i]);
	net_tbl_free(here);
}

/* Where the kernel's tables do not tell, answers go back to the link address of the session's first packet. */
Test(session_path, back_where_it_came_from)
{
	struct rte_mempool *mp = rte_pktmbuf_pool_create("frames", 15, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	struct net_tbl *none = routed(1, 0, NULL), *noroute = table(2, 0, 0), *known = routed(3, 0, mac_hop);
	struct rte_mbuf *m = rte_pktmbuf_alloc(mp);
	struct bench b;

	net_tbl_sort(noroute);
	memset(rte_pktmbuf_append(m, 60), 0, 60);
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 6), mac_other, 6);
	b = bench(m, 1);
	rte_pktmbuf_free(m);
	shard_adopt(b.s, none);
	goes(&b, 1, mac_other);
	cr_assert_eq(rig_notes(&b.r->side[SERVER], NOTE_NEIGH, NULL), 1, "the kernel is asked all the same");
	shard_adopt(b.s, noroute);
	goes(&b, 1, mac_other);
	shard_adopt(b.s, known);
	goes(&b, 0, mac_hop);
	rig_end(b.r);
	rte_mempool_free(mp);
	net_tbl_free(none);
	net_tbl_free(noroute);
	net_tbl_free(known);
}
