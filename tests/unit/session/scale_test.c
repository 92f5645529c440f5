/* SPDX-License-Identifier: MIT */
#include <rte_mempool.h>

#include "eal.h"
#include "kcp_wire.h"
#include "rig.h"
#include "smux_wire.h"

/* Very many sessions: what an idle one may hold, and that nothing stays when they have gone. */

TestSuite(session_scale, .init = eal_start);

#define N	      1000
#define SESSION_BYTES 4096 /* of an idle session with an idle stream, all in all */
#define STREAM_BYTES  1024 /* of every further idle stream */
/* What others hold of it: a place in the flow table and the list of all, a chan and its places in pool and rings, and
 * control's connection. */
#define FLOW_BYTES   104
#define STREAM_OTHER (sizeof(struct chan) + 64 + 3 * 16 + 208)

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static void all_there(const struct rig *r, unsigned streams)
{
	for (int e = 0; e < 2; e++) {
		cr_assert_eq(shard_stats(r->side[e].shard)->sessions, N);
		cr_assert_eq(shard_stats(r->side[e].shard)->streams, N * streams);
	}
}

/* Bytes of heap a session, each with so many streams that have carried something: the most of two keepalives' time. */
static void footprint(unsigned streams, unsigned ds, unsigned ps, double out[2])
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.ds = ds;
	conf.ps = ps;
	conf.nocomp = true;
	conf.conn = conf.sessions = N;
	conf.chans = N * streams;
	conf.chunks[CLIENT] = conf.chunks[SERVER] = 1024;
	r = rig_new(&conf);
	for (int e = 0; e < 2; e++)
		r->side[e].hold_new = true;
	for (unsigned i = 0; i < N * streams; i++) {
		rig_connect(r, i % N, 3000, 2000);
		if (i % 50 == 49)
			run_for(r, 100);
	}
	run_for(r, 3000);
	all_there(r, streams);
	out[CLIENT] = out[SERVER] = 0;
	for (unsigned t = 0; t < 80; t++) {
		run_for(r, 250);
		for (int e = 0; e < 2; e++) {
			double used = (double)(mem_used(r->side[e].mem) - r->side[e].mem_idle) / N;

			out[e] = used > out[e] ? used : out[e];
		}
	}
	all_there(r, streams);
	for (int e = 0; e < 2; e++)
		cr_assert_eq(rte_mempool_avail_count(r->side[e].pool.chunks), conf.chunks[e], "a chunk is kept");
	rig_end(r);
}

static void limits(unsigned ds, unsigned ps)
{
	double one[2], three[2];

	footprint(1, ds, ps, one);
	footprint(3, ds, ps, three);
	for (int e = 0; e < 2; e++) {
		double session = one[e] + FLOW_BYTES + STREAM_OTHER;
		double further = (three[e] - one[e]) / 2 + STREAM_OTHER;

		cr_assert_leq(session, SESSION_BYTES, "end %d: a session holds %.0f bytes", e, session);
		cr_assert_leq(further, STREAM_BYTES, "end %d: a stream holds %.0f bytes", e, further);
	}
}

Test(session_scale, idle_session, .timeout = 300)
{
	limits(0, 0);
}

Test(session_scale, idle_session_with_fec, .timeout = 300)
{
	limits(10, 3);
}

/* A datagram that begins a session and opens a stream. */
static uint16_t newcomer(uint8_t *p, uint32_t conv)
{
	kcp_head_put(p, &(struct kcp_head){.conv = conv, .cmd = KCP_PUSH, .wnd = 128, .len = MUX_HEAD});
	p[KCP_HEAD + SMUX_VER] = 2;
	p[KCP_HEAD + SMUX_CMD] = SMUX_SYN;
	le16_put(p + KCP_HEAD + SMUX_LEN, 0);
	le32_put(p + KCP_HEAD + SMUX_SID, 3);
	return KCP_HEAD + MUX_HEAD;
}

/* Peers that come and are never heard again, three times as many as there is room for at once. */
Test(session_scale, come_and_go, .timeout = 300)
{
	enum { ROOM = 3000 };
	struct rig_conf conf = rig_defaults();
	uint8_t p[KCP_HEAD + MUX_HEAD];
	struct rig_side *s;
	struct rig *r;

	conf.nocomp = true;
	conf.sessions = conf.chans = ROOM;
	r = rig_new(&conf);
	s = &r->side[SERVER];
	for (unsigned round = 0; round < 3; round++) {
		size_t full;

		for (unsigned i = 0; i < ROOM; i++) {
			cr_assert_eq(rig_feed(r, SERVER, (uint16_t)(10000 + i), p, newcomer(p, 7 * i + round)),
				     VERDICT_OK);
			if (i % 100 == 99)
				run_for(r, 10);
		}
		cr_assert_eq(rig_feed(r, SERVER, 9999, p, newcomer(p, UINT32_MAX)), DROP_SESSION_LIMIT);
		cr_assert_eq(shard_stats(s->shard)->streams, ROOM);
		full = mem_used(s->mem) - s->mem_idle;
		cr_assert_geq(full, ROOM * sizeof(struct sess));
		run_for(r, 2 * SESS_TIMEOUT_MS);
		cr_assert_eq(shard_stats(s->shard)->sessions, 0);
		cr_assert_eq(flow_count(shard_flows(s->shard)), 0);
		cr_assert_eq(mem_used(s->mem), s->mem_idle);
		cr_assert_eq(rte_mempool_avail_count(s->pool.chans), ROOM);
	}
	cr_assert_eq(rig_drops(s, DROP_TIMEOUT), 3 * ROOM);
	rig_end(r);
}
