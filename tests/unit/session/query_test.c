/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "rig.h"

/* What telemetry asks a shard: all sessions, one, and the streams of one. */

TestSuite(session_query, .init = eal_start);

static struct shard_query *ask(struct rig_side *s, enum shard_what what, uint64_t id, uint32_t cursor, uint32_t at)
{
	struct shard_query *q = shard_query(s->shard);

	q->what = what;
	q->id = id;
	q->cursor = cursor;
	q->at = at;
	atomic_store(&q->state, SHARD_Q_ASKED);
	shard_answer(s->shard, s->rig->now);
	cr_assert_eq(atomic_load(&q->state), SHARD_Q_DONE);
	return q;
}

/* A session's streams may be more or fewer: where there are two, each connection goes to the one that has less to do.
 */
static struct rig *sessions(unsigned conn, unsigned streams)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.conn = conn;
	conf.chans = 128;
	conf.ds = 10;
	conf.ps = 3;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	for (unsigned i = 0; i < streams; i++)
		rig_connect(r, i % conn, 1000 + i, 500);
	rig_run(r, r->now + 400, NULL, NULL);
	return r;
}

static void finish(struct rig *r)
{
	for (unsigned i = 0; i < r->side[CLIENT].n_conn; i++)
		conn_eof(r->side[CLIENT].conn[i]);
	for (unsigned i = 0; i < r->side[SERVER].n_conn; i++)
		conn_eof(r->side[SERVER].conn[i]);
	cr_assert(rig_finish(r, 2000));
	rig_end(r);
}

Test(session_query, one_session)
{
	struct rig *r = sessions(2, 4);

	for (enum rig_end e = CLIENT; e <= SERVER; e++) {
		struct shard_query *q = ask(&r->side[e], SHARD_SESSIONS, 0, 0, 0);
		struct shard_row rows[2];

		cr_assert_eq(q->n, 2);
		cr_assert(!q->more);
		memcpy(rows, q->row, sizeof(rows));
		for (unsigned i = 0; i < 2; i++) {
			q = ask(&r->side[e], SHARD_SESSION, rows[i].id, 0, 0);
			cr_assert(q->n == 1 && q->found && !q->more);
			cr_assert_eq(q->row[0].id, rows[i].id);
			cr_assert_eq(q->row[0].streams, rows[i].streams);
			cr_assert_eq(q->row[0].smux, 2);
			cr_assert_eq(q->row[0].snappy, true);
			cr_assert(e == SERVER || (q->row[0].sends_ds == 10 && q->row[0].sends_ps == 3));
			cr_assert_eq(q->row[0].unproved, false);
		}
		q = ask(&r->side[e], SHARD_SESSION, 12345, 0, 0);
		cr_assert(q->n == 0 && !q->found && !q->more);
	}
	finish(r);
}

/* More streams than one portion has rows: each is told once, with its bytes. */
Test(session_query, streams_of_one)
{
	const unsigned n = SHARD_QUERY_ROWS + 5;
	struct rig *r = sessions(1, n);
	struct shard_query *q = ask(&r->side[CLIENT], SHARD_SESSIONS, 0, 0, 0);
	uint64_t id = q->row[0].id, up = 0, down = 0;
	unsigned seen = 0, portions = 0;
	uint32_t cursor = 0, at = 0, last = 0;
	bool more = true;

	cr_assert_eq(q->row[0].streams, n);
	for (; more && portions < 5; portions++) {
		q = ask(&r->side[CLIENT], SHARD_STREAMS, id, cursor, at);
		for (unsigned i = 0; i < q->n; i++) {
			const struct shard_stream *s = &q->stream[i];

			cr_assert(s->id && s->id != last);
			last = s->id;
			up += s->up;
			down += s->down;
			cr_assert(!s->to_send && !s->to_tcp && !s->waits, "%s", s->waits);
			cr_assert_geq(s->window, MUX_INITIAL_WINDOW - (int64_t)s->up);
			cr_assert(!s->closing && !s->local_ends && !s->peer_ends);
		}
		seen += q->n;
		cursor = q->cursor;
		at = q->at;
		more = q->more;
	}
	cr_assert_eq(seen, n, "%u of %u", seen, n);
	cr_assert_eq(portions, 2);
	cr_assert_eq(up, (1000 + 1000 + n - 1) * n / 2);
	cr_assert_eq(down, 500 * n);
	finish(r);
}

/* Why one waits: its reader has stopped, at both ends; a target that has not answered. */
Test(session_query, streams_wait)
{
	struct rig_conf conf = rig_defaults();
	struct shard_query *q;
	struct rig *r;
	struct conn *c;

	conf.streambuf = 65536;
	r = rig_new(&conf);
	r->side[SERVER].stop_new = true;
	c = rig_connect(r, 0, 2000000, 0);
	rig_run(r, r->now + 2000, NULL, NULL);
	q = ask(&r->side[SERVER], SHARD_SESSIONS, 0, 0, 0);
	q = ask(&r->side[SERVER], SHARD_STREAMS, q->row[0].id, 0, 0);
	cr_assert_eq(q->n, 1);
	cr_assert_str_eq(q->stream[0].waits, "TCP, which takes too little");
	cr_assert_gt(q->stream[0].to_tcp, 65536);
	cr_assert_eq(q->stream[0].down, 0);
	q = ask(&r->side[CLIENT], SHARD_SESSIONS, 0, 0, 0);
	q = ask(&r->side[CLIENT], SHARD_STREAMS, q->row[0].id, 0, 0);
	cr_assert_eq(q->n, 1);
	cr_assert_str_eq(q->stream[0].waits, "the peer's stream window");
	cr_assert_gt(q->stream[0].to_send, 0);
	cr_assert_eq(q->stream[0].window, 0);
	c->peer->stopped = false;
	conn_read(c->peer);
	cr_assert(rig_finish(r, 5000));
	rig_end(r);
}

/* ---- ping ---- */

static uint32_t pong(struct rig_side *s, uint64_t id)
{
	struct shard_query *q = ask(s, SHARD_PONG, id, 0, 0);

	cr_assert(q->found);
	return q->us;
}

/*
 * Of what lies below rcv_nxt a peer acknowledges the last alone, of those that wait together (wire.md 4.4): in the
 * middle of a transfer the answer may not come.
 *
 * The round trip of a link of 20 ms each way and the peer's tick, from either end, with and without FEC, idle and in
 * the middle of a transfer, whose bytes stay as they are; and no sample of KCP's comes of it. */
static void pinged(unsigned ds, bool busy)
{
	struct rig_conf conf = rig_defaults();
	struct shard_query *q;
	struct rig *r;
	struct conn *c;

	conf.ds = ds;
	conf.ps = ds ? 3 : 0;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 3000, 3000);
	rig_run(r, r->now + 500, NULL, NULL);
	if (busy)
		conn_more(c, 3000000);
	for (enum rig_end e = CLIENT; e <= SERVER; e++) {
		uint64_t id = ask(&r->side[e], SHARD_SESSIONS, 0, 0, 0)->row[0].id;
		uint32_t us, srtt;

		srtt = ask(&r->side[e], SHARD_SESSION, id, 0, 0)->row[0].kcp.srtt;
		q = ask(&r->side[e], SHARD_PING, id, 0, 0);
		cr_assert(q->found && q->taken);
		cr_assert_eq(pong(&r->side[e], id), 0);
		rig_run(r, r->now + 200, NULL, NULL);
		us = pong(&r->side[e], id);
		cr_assert((busy && us == 0) || (us >= 40000 && us <= 95000), "end %d: %u us", e, us);
		if (!busy)
			cr_assert_eq(ask(&r->side[e], SHARD_SESSION, id, 0, 0)->row[0].kcp.srtt, srtt);
		cr_assert(!ask(&r->side[e], SHARD_PONG, id + 1, 0, 0)->found);
		cr_assert(!ask(&r->side[e], SHARD_PING, id + 1, 0, 0)->taken);
	}
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	cr_assert_eq(rig_other_drops(&r->side[CLIENT], 0, 0) + rig_other_drops(&r->side[SERVER], 0, 0), 0);
	rig_end(r);
}

Test(session_query, ping_idle)
{
	pinged(0, false);
	pinged(10, false);
}

Test(session_query, ping_busy)
{
	pinged(0, true);
	pinged(10, true);
}

/* An answer that never comes stays 0, and a session that has ended before its ping left is no trouble. */
Test(session_query, ping_unanswered)
{
	struct rig *r = sessions(1, 1);
	uint64_t id = ask(&r->side[CLIENT], SHARD_SESSIONS, 0, 0, 0)->row[0].id;

	r->cut[SERVER] = true;
	cr_assert(ask(&r->side[CLIENT], SHARD_PING, id, 0, 0)->taken);
	rig_run(r, r->now + 500, NULL, NULL);
	cr_assert_eq(pong(&r->side[CLIENT], id), 0);
	cr_assert(ask(&r->side[CLIENT], SHARD_PING, id, 0, 0)->taken);
	shard_close_all(r->side[CLIENT].shard, r->now);
	rig_run(r, r->now + 100000, NULL, NULL);
	cr_assert(!shard_ready(r->side[CLIENT].shard));
	rig_end(r);
}
