/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "eal.h"
#include "kcp_seg.h"
#include "le.h"
#include "rig.h"

/* Peers who have yet to prove that they receive what they are sent, and who takes whose place at an address. */

TestSuite(session_confirm, .init = eal_start);

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

/* A segment of data as a client begins with: smux 2, without compression. */
static unsigned begin(struct rig *r, uint16_t port, uint32_t conv, const void *data, uint16_t n)
{
	uint8_t p[256] = {0};

	le32_put(p, conv);
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 1024);
	le32_put(p + KCP_OFF_LEN, n);
	memcpy(p + KCP_HEAD, data, n);
	return rig_feed(r, SERVER, port, p, (uint16_t)(KCP_HEAD + n));
}

static const uint8_t nop[8] = {2, 3};

static struct sess *only(const struct rig *r)
{
	const struct shard *s = r->side[SERVER].shard;

	cr_assert_eq(s->n_all, 1, "%u", s->n_all);
	return s->all[0];
}

static uint16_t port_of(const struct sess *ss)
{
	return ss->key.peer_port;
}

/* ---- who takes whose place ---- */

static void stays(bool client_hello)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	struct conn *c;
	struct sess *ss;

	conf.hello[CLIENT] = client_hello;
	r = rig_new(&conf);
	c = rig_connect(r, 0, 1000000, 2000000);
	run_for(r, 300);
	ss = only(r);
	for (uint32_t conv = 1; conv < 20 && !c->closed; conv++) {
		cr_assert_eq(begin(r, port_of(ss), conv, nop, 8), DROP_RIVAL, "conversation %u", conv);
		run_for(r, 250);
	}
	cr_assert(rig_finish(r, 20000));
	conn_complete(c);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_REPLACED), 0);
	rig_end(r);
}

Test(session_confirm, a_session_that_lives_keeps_its_place)
{
	stays(true);
}

/* Stock answers the question for its window as it always has. */
Test(session_confirm, so_does_that_of_a_stock_client)
{
	stays(false);
}

/* Idle, it has nothing to say until it is asked. */
Test(session_confirm, an_idle_session_keeps_its_place)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 1000, 1000);
	run_for(r, 4000);
	for (uint32_t conv = 1; conv < 6; conv++) {
		cr_assert_eq(begin(r, port_of(only(r)), conv, nop, 8), DROP_RIVAL, "conversation %u", conv);
		run_for(r, 700);
	}
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 20000));
	conn_complete(c);
	rig_end(r);
}

/* A client that was restarted, at the port that it had: its second attempt is let in. */
Test(session_confirm, one_that_is_silent_goes)
{
	struct rig_conf conf = rig_defaults();
	uint16_t port;
	struct rig *r;

	conf.nocomp = true;
	r = rig_new(&conf);

	r->side[CLIENT].hold_new = true;
	rig_connect(r, 0, 1000, 1000);
	run_for(r, 1000);
	port = port_of(only(r));
	r->cut[SERVER] = r->cut[CLIENT] = true;
	cr_assert_eq(begin(r, port, 7, nop, 8), DROP_RIVAL);
	run_for(r, 100);
	cr_assert_eq(begin(r, port, 7, nop, 8), DROP_RIVAL, "too early");
	run_for(r, 150);
	cr_assert_eq(begin(r, port, 7, nop, 8), VERDICT_OK);
	cr_assert_eq(only(r)->conv, 7);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_REPLACED), 1);
	run_for(r, 100000);
	rig_end(r);
}

/* ---- what is sent to who has acknowledged nothing ---- */

/* SYN and 8 bytes of a request, whose answer is a megabyte. */
static void request(struct rig *r, uint16_t port, uint32_t conv)
{
	const uint8_t p[] = {2, 0, 0, 0, 3, 0, 0, 0, 2, 2, 8, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};

	cr_assert_eq(begin(r, port, conv, p, sizeof(p)), VERDICT_OK);
}

Test(session_confirm, a_peer_that_never_answers_is_sent_little)
{
	struct rig_conf conf = rig_defaults();
	struct rig_side *s;
	struct rig *r;

	conf.nocomp = true;
	r = rig_new(&conf);
	s = &r->side[SERVER];
	s->hold_new = true;
	request(r, 900, 77);
	rig_settle(r);
	cr_assert_eq(s->n_conn, 1, "it works at once");
	conn_more(s->conn[0], 1000000);
	run_for(r, 100000);
	cr_assert_eq(shard_stats(s->shard)->sessions, 0);
	cr_assert_gt(s->wire, 16000, "%lu", s->wire);
	cr_assert_lt(s->wire, 72000, "%lu", s->wire);
	rig_end(r);
}

/* With an acknowledgement that somebody has recorded of another session: it echoes another time. */
Test(session_confirm, an_acknowledgement_of_other_times_proves_nothing)
{
	struct rig_conf conf = rig_defaults();
	struct rig_side *s;
	struct rig *r;
	uint8_t p[KCP_HEAD] = {0};

	conf.nocomp = true;
	r = rig_new(&conf);
	s = &r->side[SERVER];
	s->hold_new = true;
	request(r, 900, 77);
	rig_settle(r);
	conn_more(s->conn[0], 1000000);
	run_for(r, 50);
	le32_put(p, 77);
	p[KCP_OFF_CMD] = KCP_ACK;
	le16_put(p + KCP_OFF_WND, 1024);
	le32_put(p + KCP_OFF_TS, (uint32_t)r->now - 20);
	cr_assert_eq(rig_feed(r, SERVER, 900, p, sizeof(p)), VERDICT_OK);
	cr_assert(only(r)->unproved);
	le32_put(p + KCP_OFF_SN, 1);
	le32_put(p + KCP_OFF_TS, kcp_snd_seg(&only(r)->kcp, 1)->ts);
	cr_assert_eq(rig_feed(r, SERVER, 900, p, sizeof(p)), VERDICT_OK);
	cr_assert_not(only(r)->unproved);
	run_for(r, 100000);
	rig_end(r);
}

/* ---- how many there may be ---- */

Test(session_confirm, the_oldest_that_nobody_confirmed_goes)
{
	struct rig_conf conf = rig_defaults();
	struct rig_side *s;
	struct conn *c;
	struct rig *r;

	conf.sessions = 200;
	conf.nocomp = true;
	r = rig_new(&conf);
	s = &r->side[SERVER];
	r->side[CLIENT].hold_new = s->hold_new = true;
	c = rig_connect(r, 0, 1000, 1000);
	run_for(r, 500);
	cr_assert_not(only(r)->unproved);
	for (uint16_t i = 0; i < 100; i++)
		cr_assert_eq(begin(r, (uint16_t)(1000 + i), 1 + i, nop, 8), VERDICT_OK);
	cr_assert_eq(rig_drops(s, DROP_UNCONFIRMED), 0, "they may all be clients that came at once");
	run_for(r, 3000);
	for (uint16_t i = 0; i < 50; i++)
		cr_assert_eq(begin(r, (uint16_t)(2000 + i), 1001 + i, nop, 8), VERDICT_OK);
	cr_assert_eq(rig_drops(s, DROP_UNCONFIRMED), 50);
	cr_assert_eq(shard_stats(s->shard)->sessions, 1 + 100);
	shard_reap(s->shard);
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 20000));
	conn_complete(c);
	run_for(r, 100000);
	rig_end(r);
}
