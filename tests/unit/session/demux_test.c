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

/* One KCP segment of n bytes: of smux 2, without compression, NOPs that mean nothing. */
static uint16_t segment(uint8_t *p, uint32_t conv, uint8_t cmd, uint32_t sn, uint32_t n)
{
	memset(p, 0, KCP_HEAD + n);
	for (uint32_t at = 0; at + MUX_HEAD <= n; at += MUX_HEAD)
		memcpy(p + KCP_HEAD + at, (uint8_t[]){2, 3}, 2);
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

/* A segment of a client that has heard `una` segments of its server. */
static unsigned feed_una(struct rig *r, uint16_t port, uint32_t conv, uint8_t cmd, uint32_t sn, uint32_t una)
{
	uint8_t p[64];
	uint16_t n = segment(p, conv, cmd, sn, MUX_HEAD);

	le32_put(p + KCP_OFF_UNA, una);
	return rig_feed(r, SERVER, port, p, n);
}

static unsigned feed_fec(struct rig *r, uint16_t port, uint16_t type, uint32_t conv, uint32_t sn, uint16_t cut)
{
	uint8_t p[96];
	uint16_t n = segment(p + FEC_HEAD, conv, KCP_PUSH, sn, 0);

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

	/* Data of the first window begins a session, be it that its predecessors are lost or late. */
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, 5), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(conv_of(r), 77);
	cr_assert_eq(feed(r, 1, 77, KCP_WINS, 0), VERDICT_OK);
	/* Another conversation's: unless it begins one, it is dropped. */
	cr_assert_eq(feed(r, 1, 78, KCP_PUSH, 3), DROP_CONV);
	cr_assert_eq(conv_of(r), 77);
	cr_assert_eq(feed(r, 1, 78, KCP_PUSH, 0), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(conv_of(r), 78);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_REPLACED), 1);
	/* The same conversation from another port may be the same one's, and is none before that is known. */
	cr_assert_eq(feed(r, 2, 78, KCP_PUSH, 9), VERDICT_ANSWER);
	cr_assert_eq(sessions(r, SERVER), 1);
	/* Nonsense inside a session ends nothing. */
	cr_assert_eq(feed(r, 1, 78, 1, 9), DROP_KCP_INPUT);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SESS_OPEN, NULL), 2);
	shard_reap(r->side[SERVER].shard);
	rig_end(r);
}

/* One segment that begins a conversation, come by this gateway port: as a worker hands it on. */
static unsigned come_by(struct rig *r, uint16_t dev, uint32_t conv)
{
	struct shard *s = r->side[SERVER].shard;
	uint8_t p[64];
	struct flow_key key = rig_key(SERVER, 1);
	struct pkt k = {
		.p = p, .n = segment(p, conv, KCP_PUSH, 0, 0), .key = &key, .hash = flow_hash(&key), .dev = dev};

	flow_find_burst(shard_flows(s), &k, 1);
	shard_screen(s, &k, 1);
	shard_input(s, &k, 1, r->now);
	return k.verdict;
}

/* A server's tunnel that is bound to a port hears nothing that comes by another, a session's datagrams neither. */
Test(session_demux, bound_to_a_port)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);

	r->side[SERVER].tun.dev = 1;
	cr_expect_eq(come_by(r, 0, 77), DROP_NO_LISTENER);
	cr_expect_eq(sessions(r, SERVER), 0);
	cr_assert_eq(come_by(r, 1, 77), VERDICT_OK);
	cr_expect_eq(come_by(r, 0, 77), DROP_NO_LISTENER, "reaches the session");
	cr_expect_eq(come_by(r, 0, 78), DROP_NO_LISTENER, "replaces the session");
	cr_assert_eq(conv_of(r), 77);
	cr_assert_eq(come_by(r, 1, 77), VERDICT_OK);
	r->side[SERVER].tun.dev = UINT16_MAX;
	cr_assert_eq(come_by(r, 0, 77), VERDICT_OK, "bound to none, it follows the route");
	cr_assert_eq(sessions(r, SERVER), 1);
	rig_end(r);
}

/* A client's session goes where the route does, and is answered from there: its port is the one that it dials by. */
Test(session_demux, client_follows_the_route)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct flow_key key = rig_key(CLIENT, 1);
	struct sess none = {0};
	struct pkt k = {.key = &key, .sess = &none, .dev = 0};

	r->side[CLIENT].tun.dev = 1;
	shard_screen(r->side[CLIENT].shard, &k, 1);
	cr_assert_eq(k.verdict, VERDICT_OK);
	rig_end(r);
}

/* What a client sends whose session the server no longer knows makes none. */
Test(session_demux, strays_begin_nothing)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);

	for (uint8_t cmd = KCP_ACK; cmd <= KCP_WINS; cmd++) {
		cr_assert_eq(feed(r, 1, 77, cmd, 0), DROP_STRAY, "command %u", cmd);
		cr_assert_eq(feed(r, 1, 77, cmd, 5), DROP_STRAY, "command %u", cmd);
	}
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, conf.wnd), DROP_STRAY, "beyond the first window");
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, 0x80000000), DROP_STRAY);
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, 0xffffffff), DROP_STRAY);
	cr_assert_eq(feed_una(r, 1, 77, KCP_PUSH, 0, 1), DROP_STRAY, "its client has heard us");
	cr_assert_eq(feed_una(r, 1, 77, KCP_PUSH, 40, 3), DROP_STRAY);
	cr_assert_eq(feed_una(r, 1, 77, KCP_PUSH, 40, 0xfffffff0), DROP_STRAY);
	cr_assert_eq(feed(r, 1, 77, 1, 0), DROP_STRAY, "no command at all");
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_DATA, 77, conf.wnd, 0), DROP_STRAY);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 77, 0, 0), DROP_OOB);
	cr_assert_eq(sessions(r, SERVER), 0);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SESS_OPEN, NULL), 0);
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, conf.wnd - 1), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 1);
	rig_end(r);
}

/* A window that may grow to 65,535 does not begin with them: what lies far beyond where clients begin is a stray. */
Test(session_demux, strays_of_automatic_windows)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.wnd = KCP_WND_MAX;
	r = rig_new(&conf);
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, KCP_WND_MAX - 1), DROP_STRAY);
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, 1024), DROP_STRAY);
	cr_assert_eq(sessions(r, SERVER), 0);
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, 1023), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 1);
	rig_end(r);
}

/* sn and ts of an ACK, a window tell or question are left over, often 0: they replace no session. */
Test(session_demux, strays_replace_nothing)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);

	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, 0), VERDICT_OK);
	for (uint8_t cmd = KCP_ACK; cmd <= KCP_WINS; cmd++)
		cr_assert_eq(feed(r, 1, 78, cmd, 0), DROP_CONV, "command %u", cmd);
	cr_assert_eq(feed_una(r, 1, 78, KCP_PUSH, 0, 1), DROP_CONV);
	cr_assert_eq(feed(r, 1, 78, KCP_PUSH, 1), DROP_CONV);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 78, 0, 0), DROP_OOB);
	cr_assert_eq(conv_of(r), 77);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_REPLACED), 0);
	rig_end(r);
}

/* Data that begins a session may have other segments before it; what comes behind a fault is not looked at. */
Test(session_demux, data_behind_other_segments)
{
	struct rig_conf conf = rig_defaults();
	uint8_t p[256];
	struct rig *r;
	uint16_t n;

	conf.nocomp = true;
	r = rig_new(&conf);
	n = segment(p, 77, KCP_ACK, 0, 0);
	n = (uint16_t)(n + segment(p + n, 77, KCP_WASK, 9, 0));
	cr_assert_eq(rig_feed(r, SERVER, 1, p, n), DROP_STRAY);
	n = (uint16_t)(n + segment(p + n, 77, KCP_PUSH, 0, MUX_HEAD));
	cr_assert_eq(rig_feed(r, SERVER, 1, p, n), VERDICT_OK);
	n = segment(p, 78, KCP_WASK, 0, 0);
	n = (uint16_t)(n + segment(p + n, 79, KCP_PUSH, 0, MUX_HEAD));
	cr_assert_eq(rig_feed(r, SERVER, 2, p, n), DROP_STRAY, "of another conversation");
	n = segment(p, 78, KCP_WASK, 0, 0);
	n = (uint16_t)(n + segment(p + n, 78, KCP_PUSH, 0, MUX_HEAD));
	cr_assert_eq(rig_feed(r, SERVER, 2, p, (uint16_t)(n - 1)), DROP_STRAY, "cut off");
	le32_put(p + KCP_OFF_LEN, 0xfffffff0);
	cr_assert_eq(rig_feed(r, SERVER, 2, p, n), DROP_STRAY, "a length beyond all bounds");
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(conv_of(r), 77);
	rig_end(r);
}

/* The first datagrams overtake each other, or are lost for a while: it is one session, and nothing is missing. */
Test(session_demux, first_datagrams_out_of_order)
{
	struct rig_conf conf = rig_defaults();
	const struct rig_side *s;
	struct rig *r;

	conf.nocomp = true;
	r = rig_new(&conf);
	s = &r->side[SERVER];
	for (uint32_t sn = 31; sn > 0; sn--)
		cr_assert_eq(feed_una(r, 1, 77, KCP_PUSH, sn, 0), VERDICT_OK);
	run_for(r, SESS_BEGIN_MS - 1);
	cr_assert_eq(feed_una(r, 1, 77, KCP_PUSH, 0, 0), VERDICT_OK);
	cr_assert_eq(s->shard->all[0]->bytes_in, 32 * MUX_HEAD);
	run_for(r, 5000);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert_eq(shard_stats(s->shard)->sessions_opened, 1);
	cr_assert_eq(rig_drops(s, DROP_NEVER_BEGAN), 0);
	rig_end(r);
}

/*
 * A session that lacks its beginning ends soon, however often the peer's stray datagrams come, and says nothing
 * meanwhile that they could take for their own stream's bytes.
 */
Test(session_demux, zombie_ends)
{
	struct rig_conf conf = rig_defaults();
	const struct snmp *cnt;
	struct rig_side *s;
	struct note n;
	struct rig *r;

	conf.keepalive_ms = 1000;
	r = rig_new(&conf);
	s = &r->side[SERVER];
	cnt = shard_snmp(s->shard, 0);
	for (unsigned i = 0; i < SESS_BEGIN_MS / 500; i++) {
		cr_assert_eq(feed_una(r, 1, 77, KCP_PUSH, 5 + i, 0), VERDICT_OK);
		run_for(r, 500);
	}
	cr_assert_eq(sessions(r, SERVER), 0, "it lives on");
	cr_assert_eq(rig_drops(s, DROP_NEVER_BEGAN), 1);
	cr_assert_eq(rig_notes(s, NOTE_SESS_CLOSE, &n), 1);
	cr_assert_eq(n.arg, DROP_NEVER_BEGAN);
	cr_assert_eq(cnt->BytesSent, 0, "it has spoken");
	cr_assert_gt(cnt->OutSegs, 0, "it has acknowledged");
	/* Once its client has heard anything at all, what it sends makes no other. */
	cr_assert_eq(feed_una(r, 1, 77, KCP_PUSH, 60, 1), DROP_STRAY);
	cr_assert_eq(feed(r, 1, 77, KCP_ACK, 0), DROP_STRAY);
	cr_assert_eq(sessions(r, SERVER), 0);
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
	/* Out-of-band: whosever it is, it begins nothing. */
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 99, 7, 0), DROP_OOB);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 5, 7, 0), DROP_OOB);
	cr_assert_eq(feed_fec(r, 1, FEC_TYPE_OOB, 5, 0, 0), DROP_OOB);
	cr_assert_eq(conv_of(r), 99);
	cr_assert_eq(shard_snmp(r->side[SERVER].shard, 0)->OOBPackets, 3);
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
	cr_assert_eq(feed(r, 1, 77, KCP_PUSH, 0), VERDICT_OK);
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
	cr_assert_eq(feed(r, 1, 1, KCP_PUSH, 0), VERDICT_OK);
	cr_assert_eq(feed(r, 2, 2, KCP_PUSH, 0), VERDICT_OK);
	cr_assert_eq(feed(r, 3, 3, KCP_PUSH, 0), DROP_SESSION_LIMIT);
	/* Those that are there may still be replaced. */
	cr_assert_eq(feed(r, 2, 4, KCP_PUSH, 0), VERDICT_OK);
	cr_assert_eq(sessions(r, SERVER), 2);
	run_for(r, 61000);
	cr_assert_eq(sessions(r, SERVER), 0);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_TIMEOUT), 2);
	cr_assert_eq(feed(r, 3, 3, KCP_PUSH, 0), VERDICT_OK);
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
