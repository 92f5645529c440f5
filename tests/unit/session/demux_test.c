/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/* Which datagram is for which session (wire.md 5.2), how many sessions there may be, and how clients dial. */

TestSuite(session_demux, .init = eal_start);

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

/* One KCP segment of n bytes of zeros: which are no smux frame that means anything but SYN for stream 0. */
static uint16_t segment(uint8_t *p, uint32_t conv, uint8_t cmd, uint32_t sn, uint32_t n)
{
	memset(p, 0, KCP_HEAD + n);
	le32_put(p, conv);
	p[KCP_OFF_CMD] = cmd;
	le16_put(p + KCP_OFF_WND, 128);
	le32_put(p + KCP_OFF_SN, sn);
	le32_put(p + KCP_OFF_LEN, n);
	return (uint16_t)(KCP_HEAD + n);
}

static unsigned feed(struct rig *r, uint16_t port, uint32_t conv, uint8_t cmd, uint32_t sn)
{
	uint8_t p[64];

	return rig_feed(r, SERVER, port, p, segment(p, conv, cmd, sn, 0));
}

static unsigned feed_fec(struct rig *r, uint16_t port, uint16_t type, uint32_t conv, uint32_t sn, uint16_t cut)
{
	uint8_t p[96];
	uint16_t n = segment(p + FEC_HEAD, conv, KCP_WINS, sn, 0);

	le32_put(p, 0);
	le16_put(p + 4, type);
	le16_put(p + 6, (uint16_t)(n + 2));
	return rig_feed(r, SERVER, port, p, (uint16_t)(n + FEC_HEAD - cut));
}

static uint64_t sessions(const struct rig *r, enum rig_end end)
{
	return shard_stats(r->side[end].shard)->sessions;
}

static uint32_t conv_of(const struct rig *r)
{
	return r->side[SERVER].shard->all[0]->conv;
}

Test(session_demux, server_rules)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);

	/* Any command and any sn begins a session. */
	cr_assert_eq(feed(r, 1, 77, KCP_ACK, 5), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(conv_of(r), 77);
	cr_assert_eq(feed(r, 1, 77, KCP_WINS, 0), VERDICT_OK);
	/* Another conversation's: unless it begins one, it is dropped. */
	cr_assert_eq(feed(r, 1, 78, KCP_WINS, 3), DROP_CONV);
	cr_assert_eq(conv_of(r), 77);
	cr_assert_eq(feed(r, 1, 78, KCP_ACK, 0), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(conv_of(r), 78);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_REPLACED), 1);
	/* The same conversation from another port is another session. */
	cr_assert_eq(feed(r, 2, 78, KCP_WINS, 9), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 2);
	/* Nonsense inside a session ends nothing. */
	cr_assert_eq(feed(r, 2, 78, 1, 9), DROP_KCP_INPUT);
	cr_assert_eq(sessions(r, SERVER), 2);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SESS_OPEN, NULL), 3);
	shard_reap(r->side[SERVER].shard);
	rig_end(r);
}

Test(session_demux, server_fec_rules)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);

	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_PAR, 77, 0, 0), DROP_PARITY_ALONE);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_DATA, 77, 0, 1), DROP_SHORT);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 77, 0, 21), DROP_SHORT);
	cr_assert_eq(sessions(r, SERVER), 0);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_DATA, 77, 4, 0), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(conv_of(r), 77);
	/* Parity is the session's, whatever it holds. */
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_PAR, 99, 0, 0), VERDICT_OK);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_DATA, 99, 4, 0), DROP_CONV);
	cr_assert_eq(conv_of(r), 77);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_DATA, 99, 0, 0), VERDICT_OK);
	cr_assert_eq(conv_of(r), 99);
	/* Out-of-band: its sn counts as 0. */
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 99, 7, 0), DROP_OOB);
	cr_assert_eq(conv_of(r), 99);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 5, 7, 0), DROP_OOB);
	cr_assert_eq(conv_of(r), 5);
	cr_assert_eq(shard_snmp(r->side[SERVER].shard, 0)->OOBPackets, 2);
	shard_reap(r->side[SERVER].shard);
	rig_end(r);
}

Test(session_demux, short_datagrams)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	uint8_t p[64];

	for (uint16_t n = 0; n < KCP_HEAD; n++) {
		segment(p, 77, KCP_WINS, 0, 0);
		cr_assert_eq(rig_feed(r, SERVER, 1, p, n), DROP_SHORT, "%u bytes", n);
	}
	cr_assert_eq(sessions(r, SERVER), 0);
	cr_assert_eq(shard_snmp(r->side[SERVER].shard, 0)->InPkts, 0);
	/* With a session they are its own, and malformed, from 12 bytes on. */
	cr_assert_eq(feed(r, 1, 77, KCP_WINS, 0), VERDICT_OK);
	cr_assert_eq(rig_feed(r, SERVER, 1, p, 11), DROP_SHORT);
	cr_assert_eq(rig_feed(r, SERVER, 1, p, 12), DROP_KCP_INPUT);
	cr_assert_eq(rig_feed(r, SERVER, 1, p, KCP_HEAD - 1), DROP_KCP_INPUT);
	cr_assert_eq(sessions(r, SERVER), 1);
	rig_end(r);
}

Test(session_demux, client_rules)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	const struct snmp *cnt = shard_snmp(r->side[CLIENT].shard, 0);
	struct conn *c = rig_connect(r, 0, 1000, 1000);
	uint16_t port = RIG_PORT + 1;
	uint8_t p[64];
	uint16_t n;

	cr_assert(rig_finish(r, 300));
	conn_complete(c);
	n = segment(p, r->side[CLIENT].shard->all[0]->conv, KCP_WINS, 0, 0);
	cr_assert_eq(rig_feed(r, CLIENT, port, p, n), VERDICT_OK);
	cr_assert_eq(cnt->InErrs, 0);
	cr_assert_eq(rig_feed(r, CLIENT, (uint16_t)(port + 1), p, n), DROP_FOREIGN);
	cr_assert_eq(cnt->InErrs, 1);
	cr_assert_eq(rig_feed(r, CLIENT, port, p, 11), DROP_SHORT);
	cr_assert_eq(cnt->KCPInErrors, 1);
	p[0] ^= 1; /* another conversation: never a new session at a client */
	cr_assert_eq(rig_feed(r, CLIENT, port, p, n), DROP_KCP_INPUT);
	cr_assert_eq(sessions(r, CLIENT), 1);
	rig_end(r);
}

/* ---- limits ---- */

Test(session_demux, server_session_limit)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.sessions = 2;
	r = rig_new(&conf);
	cr_assert_eq(feed(r, 1, 1, KCP_WINS, 0), VERDICT_OK);
	cr_assert_eq(feed(r, 2, 2, KCP_WINS, 0), VERDICT_OK);
	cr_assert_eq(feed(r, 3, 3, KCP_WINS, 0), DROP_SESSION_LIMIT);
	/* Those that are there may still be replaced. */
	cr_assert_eq(feed(r, 2, 4, KCP_WINS, 0), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 2);
	run_for(r, 61000);
	cr_assert_eq(sessions(r, SERVER), 0);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_TIMEOUT), 2);
	cr_assert_eq(feed(r, 3, 3, KCP_WINS, 0), VERDICT_OK);
	rig_end(r);
}

Test(session_demux, client_session_limit)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[3];
	struct rig *r;

	conf.conn = 3;
	conf.sessions = 2;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = true;
	for (unsigned i = 0; i < 3; i++)
		c[i] = rig_connect(r, i, 1000, 1000);
	run_for(r, 29000);
	cr_assert(c[0]->up && c[1]->up && !c[2]->up && !c[2]->closed);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_SESSION_LIMIT), r->side[CLIENT].drops, "each port goes back");
	cr_assert_geq(r->side[CLIENT].drops, 28);
	run_for(r, 2000);
	cr_assert(c[2]->closed && c[2]->aborted);
	rig_end(r);
}

Test(session_demux, stream_limit)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[10];
	struct rig *r;

	conf.max_streams = 6;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = true;
	for (unsigned i = 0; i < 10; i++)
		c[i] = rig_connect(r, 0, 1000, 1000);
	run_for(r, 500);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(c[i]->closed, i >= 6, "stream %u", i);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_STREAM_LIMIT), 4);
	rig_end(r);
}

/* ---- dialling ---- */

/* While dialling fails, connections wait: asked again every second, refused after 30 s, 1,024 at most. */
Test(session_demux, dial_fails)
{
	struct rig_conf conf = rig_defaults();
	struct rig_side *s;
	struct rig *r;

	conf.chans = SLOT_WAITING_MAX + 100;
	r = rig_new(&conf);
	s = &r->side[CLIENT];
	s->dial = DIAL_FAILS;
	for (unsigned i = 0; i < SLOT_WAITING_MAX + 6; i++)
		rig_connect(r, 0, 10, 0);
	run_for(r, 10);
	cr_assert_eq(s->live, SLOT_WAITING_MAX);
	cr_assert_eq(rig_drops(s, DROP_STREAM_LIMIT), 6);
	cr_assert_eq(s->wants, 1);
	run_for(r, 10000);
	cr_assert_geq(s->wants, 10);
	cr_assert_leq(s->wants, 11);
	cr_assert_eq(s->live, SLOT_WAITING_MAX);
	run_for(r, 19000);
	cr_assert_eq(s->live, SLOT_WAITING_MAX);
	run_for(r, 2000);
	cr_assert_eq(s->live, 0);
	cr_assert_eq(rig_drops(s, DROP_STREAM_LIMIT), 6 + SLOT_WAITING_MAX);
	for (unsigned i = 0; i < s->n_conn; i++)
		cr_assert(s->conn[i]->closed && s->conn[i]->aborted);
	/* Nobody waits any more: nobody asks. */
	s->wants = 0;
	run_for(r, 10000);
	cr_assert_eq(s->wants, 0);
	rig_end(r);
}

/* Those that waited get the session when it comes, with what they had sent and ended before. */
Test(session_demux, dial_succeeds_late)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[20];
	struct rig *r = rig_new(&conf);

	r->side[CLIENT].dial = DIAL_FAILS;
	for (unsigned i = 0; i < 20; i++)
		c[i] = rig_connect(r, 0, 1000 * i, 100);
	run_for(r, 15000);
	conn_reset(c[7]);
	run_for(r, 5000);
	r->side[CLIENT].dial = DIAL_OK;
	cr_assert(rig_finish(r, 2000));
	for (unsigned i = 0; i < 20; i++)
		if (i != 7)
			conn_complete(c[i]);
	cr_assert(c[7]->aborted);
	cr_assert_eq(sessions(r, CLIENT), 1);
	rig_end(r);
}

/* The end of everything does not wait for a dialling that goes on. */
Test(session_demux, close_while_dialling)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct rig_side *s = &r->side[CLIENT];

	s->dial = DIAL_SILENT;
	for (unsigned i = 0; i < 20; i++)
		rig_connect(r, 0, 1000, 0);
	run_for(r, 100);
	cr_assert_eq(s->live, 20);
	shard_close_all(s->shard, r->now);
	run_for(r, 10);
	cr_assert_eq(s->live, 0);
	cr_assert(shard_drained(s->shard));
	/* An answer that comes now, and connections too, find nobody. */
	r->dials[0].key = rig_key(CLIENT, 5000);
	mbox_post(s->border->to_worker, &r->dials[0].to_worker, DIAL_EV_READY);
	rig_connect(r, 0, 1000, 0);
	run_for(r, 10);
	cr_assert_eq(s->live, 0);
	cr_assert_eq(s->drops, 1, "the port goes back");
	rig_end(r);
}

/* Stream ids used up: the session gives way to a new one. */
Test(session_demux, ids_used_up)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *a, *b;

	a = rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 300));
	conn_complete(a);
	r->side[CLIENT].shard->all[0]->mux.next_id = UINT32_MAX;
	b = rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 300));
	conn_complete(b);
	cr_assert_eq(shard_stats(r->side[CLIENT].shard)->sessions_opened, 2);
	cr_assert_eq(r->side[CLIENT].drops, 1);
	rig_end(r);
}
