/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/* A server that takes each client as it speaks, and two sides that cannot understand each other. */

TestSuite(session_speak, .init = eal_start);

#define PORT 900
#define CONV 77

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static void server_listens(struct rig *r)
{
	r->side[SERVER].tun.mux.version = 0;
	r->side[SERVER].tun.nocomp_auto = true;
}

/* Transfers both ways, whatever the client is set to. */
static void understands(uint8_t smux, bool nocomp, bool fec, struct fresh_book *book)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[4];
	struct note n;
	struct rig *r;

	conf.smux = smux;
	conf.nocomp = nocomp;
	conf.ds = fec ? 3 : 0;
	conf.ps = fec ? 2 : 0;
	conf.link.loss = 20;
	conf.book = book;
	conf.heap[SERVER] = 64 << 20;
	r = rig_new(&conf);
	server_listens(r);
	for (unsigned i = 0; i < 4; i++)
		c[i] = rig_connect(r, 0, 100000 + i, 300000 - i);
	cr_assert(rig_finish(r, 120000));
	for (unsigned i = 0; i < 4; i++)
		conn_complete(c[i]);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SPEAKS, &n), 1, "smux %u", smux);
	cr_assert_eq(n.arg, smux);
	cr_assert_eq(n.arg2, !nocomp);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->doubted, book != NULL);
	rig_end(r);
}

Test(session_speak, each_as_it_speaks)
{
	for (unsigned i = 0; i < 8; i++)
		understands(1 + (i & 1), i & 2, i & 4, NULL);
}

/* Of a conversation that there has been before nothing is read until it is proved, but it is asked in its own words. */
Test(session_speak, also_who_is_in_doubt)
{
	struct fresh_book book = {.seed = 0x0123456789abcdefu};

	for (unsigned i = 0; i < 4; i++) {
		struct rig_conf conf = rig_defaults();
		uint32_t conv;
		struct rig *r;

		conf.nocomp = true;
		r = rig_new(&conf);
		rig_connect(r, 0, 1, 1);
		run_for(r, 100);
		conv = r->side[SERVER].shard->all[0]->conv;
		rig_end(r);
		book.v = aligned_alloc(64, FRESH_BOOK_BYTES);
		memset((void *)book.v, 0, FRESH_BOOK_BYTES);
		fresh_book_add(&book, conv);
		understands(1 + (i & 1), i & 2, false, &book);
		free((void *)book.v);
	}
}

/* A segment of a client's stream. */
static unsigned say(struct rig *r, uint32_t sn, const void *bytes, uint16_t n)
{
	uint8_t p[KCP_HEAD + 64] = {0};

	le32_put(p, CONV);
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 1024);
	le32_put(p + KCP_OFF_SN, sn);
	le32_put(p + KCP_OFF_LEN, n);
	memcpy(p + KCP_HEAD, bytes, n);
	return rig_feed(r, SERVER, PORT, p, (uint16_t)(KCP_HEAD + n));
}

static struct rig *rig_listening(bool snappy_open)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.nocomp = true;
	r = rig_new(&conf);
	server_listens(r);
	r->side[SERVER].tun.nocomp_auto = snappy_open;
	return r;
}

/* Its keepalives come every 10 s; but not in words that nobody may understand. */
Test(session_speak, nothing_is_said_before_the_client)
{
	static const uint8_t first[] = {1, 0, 0}, rest[] = {0, 3, 0, 0, 0};
	struct rig *r = rig_listening(false);
	struct shard *s = r->side[SERVER].shard;
	struct sess *ss;

	cr_assert_eq(say(r, 0, first, sizeof(first)), VERDICT_OK);
	run_for(r, 12000);
	cr_assert_eq(s->n_all, 1);
	ss = s->all[0];
	cr_assert_eq(ss->bytes_in, sizeof(first));
	cr_assert_eq(ss->bytes_out, 0, "%lu", ss->bytes_out);
	cr_assert_eq(mux_version(&ss->mux), 0);
	cr_assert_eq(say(r, 1, rest, sizeof(rest)), VERDICT_OK);
	run_for(r, 10);
	cr_assert_eq(mux_version(&ss->mux), 1);
	cr_assert_geq(ss->bytes_out, 16, "HELLO and the keepalive: %lu", ss->bytes_out);
	rig_end(r);
}

/* What is neither snappy's beginning nor smux's ends the session. */
Test(session_speak, noise)
{
	static const uint8_t firsts[] = {0, 3, 0x7f, 0xfe, 0xff};

	for (unsigned i = 0; i < sizeof(firsts); i++) {
		uint8_t b[16] = {firsts[i]};
		struct rig *r = rig_listening(true);

		say(r, 0, b, sizeof(b));
		run_for(r, 10);
		cr_assert_eq(r->side[SERVER].shard->n_all, 0);
		cr_assert_eq(rig_drops(&r->side[SERVER], firsts[i] == 0xff ? DROP_COMP : DROP_MUX), 1, "%#x",
			     firsts[i]);
		cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_MISFIT, NULL), 0);
		rig_end(r);
	}
}

/* A client keeps to one version once it has begun. */
Test(session_speak, and_not_otherwise_later)
{
	static const uint8_t one[] = {1, 3, 0, 0, 0, 0, 0, 0}, two[] = {2, 3, 0, 0, 0, 0, 0, 0};
	struct rig *r = rig_listening(false);

	say(r, 0, one, sizeof(one));
	say(r, 1, one, sizeof(one));
	run_for(r, 10);
	cr_assert_eq(r->side[SERVER].shard->n_all, 1);
	say(r, 2, two, sizeof(two));
	run_for(r, 10);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_MUX), 1);
	rig_end(r);
}

/* Who is set to one thing tells what the other is set to. */
static struct note misfit(uint8_t smux, bool nocomp, uint8_t server_smux, bool server_nocomp)
{
	struct rig_conf conf = rig_defaults();
	struct note n = {0};
	struct rig *r;

	conf.smux = smux;
	conf.nocomp = nocomp;
	r = rig_new(&conf);
	r->side[SERVER].tun.mux.version = server_smux;
	r->side[SERVER].tun.nocomp = server_nocomp;
	rig_connect(r, 0, 1000, 0);
	run_for(r, 30);
	cr_assert_geq(rig_notes(&r->side[SERVER], NOTE_MISFIT, &n), 1);
	rig_end(r);
	return n;
}

Test(session_speak, misfits_are_told)
{
	for (uint8_t v = 1; v <= 2; v++) {
		struct note n = misfit(v, v == 1, 3 - v, v == 1);

		cr_assert_eq(n.arg, NOTE_MISFIT_SMUX);
		cr_assert_eq(n.arg2, (uint32_t)v << 16 | (3 - v));
		cr_assert_eq(misfit(v, true, 0, false).arg, NOTE_MISFIT_PLAIN);
		cr_assert_eq(misfit(v, false, 0, true).arg, NOTE_MISFIT_SNAPPY);
		cr_assert_eq(misfit(v, false, v, true).arg, NOTE_MISFIT_SNAPPY);
	}
}

/* ---- a client that finds out what its server speaks ---- */

static struct rig *rig_trying(uint8_t server_smux, struct rig_conf *conf)
{
	struct rig *r = rig_new(conf);

	r->side[CLIENT].tun.mux.version = 0;
	r->side[SERVER].tun.mux.version = server_smux;
	return r;
}

/* Not a byte is lost, or sent twice, whatever the server is. */
static void finds_out(uint8_t server_smux, bool kcpgate, unsigned loss)
{
	struct rig_conf conf = rig_defaults();
	uint8_t is = server_smux ? server_smux : 2;
	struct conn *c[4], *later;
	struct note n;
	struct rig *r;

	conf.link.loss = loss;
	conf.hello[SERVER] = kcpgate;
	conf.closewait_ms[CLIENT] = 1000;
	r = rig_trying(server_smux, &conf);
	r->side[SERVER].hold_new = true; /* stock's FIN would end both ways */
	for (unsigned i = 0; i < 4; i++)
		c[i] = rig_connect(r, 0, 100000 + i, 300000 - i);
	run_for(r, 20000);
	for (unsigned i = 0; i < 4; i++)
		if (!c[i]->peer->closed)
			conn_eof(c[i]->peer);
	cr_assert(rig_finish(r, 120000), "smux %u", server_smux);
	for (unsigned i = 0; i < 4; i++)
		conn_complete(c[i]);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_SPEAKS, &n), 1);
	cr_assert_eq(n.arg, is);
	cr_assert_eq(r->side[CLIENT].wants, is == 2 ? 1 : 2, "sessions");
	/* It remembers: the next session's bytes leave at once. */
	while (r->side[CLIENT].shard->n_all)
		sess_close(r->side[CLIENT].shard->all[0], 0, r->now);
	r->side[SERVER].hold_new = false;
	later = rig_connect(r, 0, 1000, 1000);
	run_for(r, loss ? 10000 : 30);
	cr_assert_eq(later->peer ? later->peer->got : 0, 1000);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_SPEAKS, &n), 0);
	cr_assert(rig_finish(r, 120000));
	conn_complete(later);
	rig_end(r);
}

/* An acknowledgement within the ms in which the session began is one. */
Test(session_speak, at_once)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.link.delay_us = 0;
	conf.hello[SERVER] = false;
	r = rig_trying(2, &conf);
	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 1000, 0);
	run_for(r, 1000);
	cr_assert_eq(c->peer->got, 1000);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_TRIED), 0);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 120000));
	rig_end(r);
}

Test(session_speak, a_client_finds_out)
{
	for (unsigned i = 0; i < 12; i++)
		finds_out((uint8_t)(i % 3), i / 3 & 1, i / 6 ? 50 : 0);
}

/* Nothing of what applications say leaves before the server has understood. */
Test(session_speak, nothing_is_sent_on_trial)
{
	struct rig_conf conf = rig_defaults();
	struct sess *ss;
	struct conn *c;
	struct rig *r;

	conf.hello[SERVER] = false;
	r = rig_trying(2, &conf);
	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 100000, 0);
	run_for(r, 60); /* a round trip, and half */
	ss = r->side[CLIENT].shard->all[0];
	cr_assert(ss->tries);
	cr_assert_lt(ss->bytes_out, 100);
	cr_assert_eq(r->side[SERVER].n_conn, 1, "the stream is open there");
	cr_assert_eq(c->peer->got, 0);
	run_for(r, 1000);
	cr_assert_not(ss->tries);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 120000));
	conn_complete(c);
	rig_end(r);
}

/* A segment of a server's, or its acknowledgement. */
static void server_says(struct rig *r, const struct sess *ss, uint8_t cmd, uint32_t sn, uint32_t una)
{
	uint8_t p[KCP_HEAD] = {0};

	le32_put(p, ss->conv);
	p[KCP_OFF_CMD] = cmd;
	le16_put(p + KCP_OFF_WND, 1024);
	le32_put(p + KCP_OFF_TS, (uint32_t)r->now);
	le32_put(p + KCP_OFF_SN, sn);
	le32_put(p + KCP_OFF_UNA, una);
	rig_feed(r, CLIENT, ss->key.local_port, p, sizeof(p));
}

/*
 * Stock servers that do not understand: they acknowledge the beginning, forget the session, and what comes later is a
 * new one to them, of which they have nothing in order.  Of either version, and once both have failed it is not
 * hurried.
 */
Test(session_speak, stock_forgets)
{
	struct rig_conf conf = rig_defaults();
	unsigned sessions = 0;
	uint64_t begun = 0;
	struct conn *c;
	struct rig *r;

	conf.closewait_ms[CLIENT] = 1000;
	r = rig_trying(2, &conf);
	r->cut[CLIENT] = r->cut[SERVER] = true;
	c = rig_connect(r, 0, 1000, 0);
	for (uint8_t v = 2; sessions < 4; sessions++, v = 3 - v) {
		struct shard *s = r->side[CLIENT].shard;
		struct sess *ss;
		struct kcp_info k;
		uint64_t id;

		run_for(r, sessions < 2 ? 20 : 1020);
		cr_assert_eq(s->n_all, 1);
		ss = s->all[0];
		id = ss->id;
		cr_assert_eq(mux_version(&ss->mux), v);
		kcp_info(&ss->kcp, &k);
		server_says(r, ss, KCP_ACK, 0, k.snd_nxt);
		run_for(r, 250);
		cr_assert(ss->tried);
		server_says(r, ss, KCP_ACK, k.snd_nxt, 0);
		rig_settle(r);
		cr_assert(s->n_all == 0 || s->all[0]->id != id, "it was left");
		cr_assert_not(c->closed);
		if (sessions == 1)
			begun = r->now;
	}
	cr_assert_geq(r->now - begun, 2000, "in no hurry");
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_MISFIT, NULL), 1);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_TRIED), 4);
	r->cut[CLIENT] = r->cut[SERVER] = false;
	cr_assert(rig_finish(r, 120000));
	conn_complete(c);
	rig_end(r);
}

/* A server that is gone is dialled less and less often, and who has waited for half a minute is refused. */
Test(session_speak, nobody_is_there)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	r = rig_trying(2, &conf);
	r->cut[CLIENT] = true;
	c = rig_connect(r, 0, 1000, 0);
	run_for(r, 90000);
	cr_assert(c->closed && c->aborted);
	cr_assert_leq(r->side[CLIENT].wants, 6, "%u", r->side[CLIENT].wants);
	r->cut[CLIENT] = false;
	c = rig_connect(r, 0, 1000, 0);
	cr_assert(rig_finish(r, 120000));
	conn_complete(c);
	rig_end(r);
}

/* What was remembered may be wrong later, when another server is there. */
Test(session_speak, another_server)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	r = rig_trying(2, &conf);
	c = rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 120000));
	conn_complete(c);
	while (r->side[SERVER].shard->n_all)
		sess_close(r->side[SERVER].shard->all[0], 0, r->now);
	while (r->side[CLIENT].shard->n_all)
		sess_close(r->side[CLIENT].shard->all[0], 0, r->now);
	r->side[SERVER].tun.mux.version = 1;
	c = rig_connect(r, 0, 1000, 1000);
	run_for(r, 100000);
	cr_assert(c->closed && c->aborted, "what it had sent is lost, and it is told so");
	c = rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 120000));
	conn_complete(c);
	rig_end(r);
}

/* Whoever ends before it is known loses nothing either. */
Test(session_speak, ends_on_trial)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c, *gone;
	struct rig *r;

	conf.closewait_ms[CLIENT] = 0; /* a FIN at once, where the peer knows no half-close */
	conf.hello[SERVER] = false;
	r = rig_trying(1, &conf);
	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 5, 0);
	gone = rig_connect(r, 0, 5, 0);
	run_for(r, 10);
	conn_reset(gone);
	cr_assert(rig_finish(r, 120000));
	cr_assert_eq(c->peer->got, 5);
	cr_assert(gone->closed);
	rig_end(r);
}
