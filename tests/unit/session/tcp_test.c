/* SPDX-License-Identifier: MIT */

/* A client's fake TCP flow before it stands, and the numbers of those that do. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mempool.h>

#include "eal.h"
#include "le.h"
#include "sess.h"

#define HEAP  (8u << 20)
#define START 1000u /* ms */
#define CONV  77

static struct shard_tunnel tunnels[2];
static struct dial dial;
static struct chan_pool pool;
static struct border *border;
static struct shard *shard;
static void *heap;
static struct mem *mem;
static uint8_t bytes[SHARD_OUT_MIN * 2][2048];

static struct flow_key key_make(uint16_t peer_port)
{
	return (struct flow_key){.peer = addr_v4(0x0a000001),
				 .local = addr_v4(0x0a000002),
				 .peer_port = peer_port,
				 .local_port = 33333,
				 .proto = FLOW_TCP};
}

static void setup(void)
{
	static const uint8_t no_csum[NET_DEV_MAX];
	struct shard_conf sc = {.tunnels = tunnels,
				.n_tunnels = 2,
				.max_sessions = 8,
				.dev_csum = no_csum,
				.mbufs_to_hold = 8,
				.seed = 5};

	eal_start();
	for (unsigned i = 0; i < 2; i++)
		tunnels[i] = (struct shard_tunnel){
			.client = i == 0,
			.kcp = {.mtu = 1300,
				.snd_wnd = 32,
				.rcv_wnd = 32,
				.nodelay = 1,
				.interval = 10,
				.resend = 2,
				.nc = 1},
			.mux = {.version = 1,
				.client = i == 0,
				.framesize = 4096,
				.smuxbuf = 1 << 20,
				.streambuf = 1 << 20,
				.max_streams = 16},
			.keepalive_ms = 5000,
			.dev = UINT16_MAX,
			.tcp = true,
			.conn = i == 0,
			.dials = i == 0 ? &dial : NULL,
		};
	dial = (struct dial){.key = key_make(4000)};
	dial.to_ctl.kind = dial.to_worker.kind = MBOX_DIAL;
	heap = aligned_alloc(65536, HEAP);
	mem = mem_init(heap, HEAP);
	cr_assert_eq(chan_pool_create(&pool, 16, 16, 1, 0), 0);
	cr_assert_eq(border_create(&border, 0, 64, 64, 0), 0);
	sc.mem = mem;
	sc.chans = &pool;
	sc.border = border;
	cr_assert_eq(shard_create(&shard, &sc, START), 0);
}

static void teardown(void)
{
	shard_destroy(shard);
	border_destroy(border);
	chan_pool_destroy(&pool);
	mem_fini(mem);
	free(heap);
}

TestSuite(handshake, .init = setup, .fini = teardown, .timeout = 300);

static unsigned output(uint64_t now)
{
	struct pkt v[SHARD_OUT_MIN * 2] = {0};

	for (unsigned i = 0; i < SHARD_OUT_MIN * 2; i++)
		v[i].p = bytes[i] + 256;
	return shard_output(shard, v, SHARD_OUT_MIN * 2, now);
}

/* Control has dialled: the session that begins. */
static struct sess *begin(void)
{
	struct sess *ss;

	mbox_post(border->to_worker, &dial.to_worker, DIAL_EV_READY);
	cr_assert_eq(shard_pull(shard, START), 1);
	ss = shard_knock(shard, START);
	cr_assert_not_null(ss);
	cr_assert_null(shard_knock(shard, START));
	cr_assert_eq(flow_find(shard_flows(shard), &dial.key, flow_hash(&dial.key)), ss);
	return ss;
}

static bool answer(struct sess *ss, uint32_t ack)
{
	struct pkt k = {.sess = ss, .flags = PKT_F_SYN | PKT_F_ACK, .tcp_seq = 900, .tcp_ack = ack, .tcp_end = 901};

	return shard_syn_answered(&k);
}

/* One SYN a second with the same number, and nothing else, however much waits to be sent. */
Test(handshake, knocks_until_answered)
{
	struct sess *ss = begin();
	uint32_t isn = shard_tcp(ss)->seq;
	uint64_t now, sent = START;

	for (now = START + 1; now < START + 20000; now++) {
		struct sess *due;

		shard_tick(shard, now);
		due = shard_knock(shard, now);
		cr_assert(due == NULL || (due == ss && now - sent >= 1000 && now - sent < 1100), "%lu", now - sent);
		cr_assert_null(due ? shard_knock(shard, now) : NULL);
		sent = due ? now : sent;
		cr_assert_eq(shard_tcp(ss)->seq, isn);
		cr_assert_not(shard_ready(shard), "keepalives were due at 5000 ms");
		cr_assert_eq(output(now), 0);
		cr_assert_gt(shard_next(shard), now);
	}
	cr_assert_lt(now - sent, 1100);
	cr_assert_not(answer(ss, isn), "of an earlier flow on these ports");
	cr_assert_not(answer(ss, isn + 2));
	cr_assert_not(answer(NULL, isn + 1));
	cr_assert_not(shard_ready(shard));
	cr_assert(answer(ss, isn + 1));
	cr_assert_eq(shard_tcp(ss)->seq, isn + 1);
	cr_assert_eq(shard_tcp(ss)->ack, 901);
	cr_assert(shard_ready(shard));
	cr_assert_gt(output(now), 0, "what has waited goes at once");

	/* Said again, it is acknowledged again, and moves nothing. */
	shard_tcp(ss)->seq += 1000;
	cr_assert(answer(ss, isn + 1));
	cr_assert_eq(shard_tcp(ss)->seq, isn + 1001);
	for (; now < START + 24000; now += 10) {
		shard_tick(shard, now);
		cr_assert_null(shard_knock(shard, now));
		output(now);
	}
}

/* Nobody answers: the session ends as any that hears nothing, and the port goes back. */
Test(handshake, gives_up)
{
	struct sess *ss = begin();
	struct mbox_ent *e;
	uint32_t ev;

	for (uint64_t now = START; now <= START + SESS_TIMEOUT_MS + 100; now += 10) {
		shard_tick(shard, now);
		if (flow_count(shard_flows(shard)) == 0)
			break;
		shard_knock(shard, now);
	}
	cr_assert_eq(flow_count(shard_flows(shard)), 0);
	cr_assert_eq(shard_stats(shard)->drops[DROP_TIMEOUT - VERDICT_DROP], 1);
	cr_assert_null(shard_knock(shard, START), "of a session that ended");
	cr_assert_not(answer(ss, shard_tcp(ss)->seq + 1), "before it is reaped");
	cr_assert_eq(mbox_get(border->to_ctl, &e, &ev, 1), 1);
	cr_assert_eq(ev, DIAL_EV_DROP);
	shard_reap(shard);
}

/* A SYN that would have no way waits for that, and is not lost, to be repeated after a second. */
Test(handshake, waits_for_the_first_hop)
{
	struct net_tbl *none = net_tbl_alloc(1, 1, 1), *known = net_tbl_alloc(1, 1, 1);
	struct net_tbl *both[] = {none, known};
	struct sess *ss;

	for (unsigned i = 0; i < 2; i++) {
		both[i]->gen = i + 1;
		both[i]->n_dev = both[i]->n_route = both[i]->n_local = 1;
		both[i]->dev[0] = (struct net_dev){.mac = {2}, .mtu = 1500, .up = true};
		both[i]->local[0] = (struct net_local){.addr = dial.key.local, .plen = 128};
		both[i]->route[0] = (struct net_route){.prefix = addr_v4(0), .plen = 96, .via = addr_v4(0x0a0000fe)};
		both[i]->n_neigh = i;
		both[i]->neigh[0] = (struct net_neigh){.addr = addr_v4(0x0a0000fe), .mac = {4}};
		net_tbl_sort(both[i]);
	}
	shard_adopt(shard, none);
	mbox_post(border->to_worker, &dial.to_worker, DIAL_EV_READY);
	cr_assert_eq(shard_pull(shard, START), 1);
	cr_assert_null(shard_knock(shard, START));
	ss = shard->all[0];
	for (uint64_t now = START; now < START + 100; now++) {
		shard_tick(shard, now);
		cr_assert_null(shard_knock(shard, now));
	}
	shard_adopt(shard, known);
	for (uint64_t now = START + 100; now < START + 130; now++) {
		shard_tick(shard, now);
		if (shard_knock(shard, now) == ss)
			break;
		cr_assert_lt(now, START + 125);
	}
	shard_close_all(shard, START + 200);
	net_tbl_free(none);
	net_tbl_free(known);
}

Test(handshake, closed_while_it_is_due)
{
	begin();
	shard_tick(shard, START + 2000);
	shard_close_all(shard, START + 2000);
	cr_assert_null(shard_knock(shard, START));
}

Test(handshake, udp_needs_none)
{
	struct sess *ss;

	dial.key.proto = FLOW_UDP;
	mbox_post(border->to_worker, &dial.to_worker, DIAL_EV_READY);
	cr_assert_eq(shard_pull(shard, START), 1);
	cr_assert_null(shard_knock(shard, START));
	ss = flow_find(shard_flows(shard), &dial.key, flow_hash(&dial.key));
	cr_assert_eq(ss->knock_at, UINT64_MAX);
}

/* A datagram of KCP that begins a session. */
static void feed(const struct flow_key *key, uint16_t tunnel, uint32_t conv, uint32_t seq, uint32_t ack)
{
	uint8_t d[24] = {0};
	struct pkt k = {.p = d, .n = 24, .tunnel = tunnel, .key = key, .hash = flow_hash(key), .flags = PKT_F_ACK};

	le32_put(d, conv);
	d[4] = 81;
	k.tcp_seq = seq;
	k.tcp_ack = ack;
	k.tcp_end = seq + 60; /* what was sealed is longer than what it holds */
	shard_input(shard, &k, 1, START);
	cr_assert_eq(k.verdict, VERDICT_OK, "%s", drop_name(k.verdict));
}

/* A server's flow has its numbers from the peer's datagrams, with a handshake that it did not see or without any. */
Test(handshake, server_follows_its_peer)
{
	struct flow_key key = key_make(5000), udp = key;
	struct sess *ss;

	cr_assert(shard_listens(shard, &(struct pkt){.tunnel = 1, .key = &key}));
	cr_assert_not(shard_listens(shard, &(struct pkt){.tunnel = 0, .key = &key}));
	tunnels[1].local = addr_v4(0x0a000003);
	cr_assert_not(shard_listens(shard, &(struct pkt){.tunnel = 1, .key = &key}));
	tunnels[1].local = key.local;
	cr_assert(shard_listens(shard, &(struct pkt){.tunnel = 1, .key = &key}));
	feed(&key, 1, CONV, 1000, 50);
	cr_assert_null(shard_knock(shard, START));
	ss = flow_find(shard_flows(shard), &key, flow_hash(&key));
	cr_assert_not_null(ss);
	cr_assert_eq(shard_tcp(ss)->seq, 50);
	cr_assert_eq(shard_tcp(ss)->ack, 1060);
	feed(&key, 1, CONV, 1060, 80);
	feed(&key, 1, CONV, 5000, 90);
	cr_assert_eq(shard_tcp(ss)->seq, 90);
	cr_assert_eq(shard_tcp(ss)->ack, 1120);
	shard_tick(shard, START + 200);
	cr_assert_gt(output(START + 200), 0, "it answers");

	/* The same addresses and ports by UDP are another flow. */
	udp.proto = FLOW_UDP;
	feed(&udp, 1, CONV + 1, 0, 0);
	cr_assert_eq(flow_count(shard_flows(shard)), 2);
}
