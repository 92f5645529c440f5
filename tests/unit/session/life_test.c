/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include <stdio.h>

#include "eal.h"
#include "rig.h"

/* How streams and sessions begin and end: half-close, FIN, reset, timeout, dialling. */

TestSuite(session_life, .init = eal_start);

#define RTT 40

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static void no_drops(const struct rig *r)
{
	cr_assert_eq(rig_other_drops(&r->side[CLIENT], 0, 0) + rig_other_drops(&r->side[SERVER], 0, 0), 0);
}

/* ---- half-close ---- */

/* The client ends its direction first; the server goes on for longer than any closewait. */
Test(session_life, half_close_by_client)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 5000, 10);
	run_for(r, 200);
	cr_assert(c->peer->eof_in, "the half-close did not arrive");
	cr_assert_eq(c->peer->got, 5000);
	for (unsigned i = 0; i < 3; i++) {
		run_for(r, 100000);
		conn_more(c->peer, 3000);
		run_for(r, 200);
		cr_assert_eq(c->got, 10 + 3000 * (i + 1));
		cr_assert(!c->closed && !c->peer->closed && !c->eof_in);
	}
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 200));
	conn_complete(c);
	no_drops(r);
	rig_end(r);
}

Test(session_life, half_close_by_server)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[CLIENT].hold_new = true;
	c = rig_connect(r, 0, 5000, 10);
	run_for(r, 200);
	cr_assert(c->eof_in, "the half-close did not arrive");
	cr_assert_eq(c->got, 10);
	run_for(r, 100000);
	conn_more(c, 70000);
	run_for(r, 400);
	cr_assert_eq(c->peer->got, 75000);
	cr_assert(!c->closed && !c->peer->closed && !c->peer->eof_in);
	conn_eof(c);
	cr_assert(rig_finish(r, 200));
	conn_complete(c);
	no_drops(r);
	rig_end(r);
}

/* EOF before the server said HELLO: FIN is held back, and the half-close follows once HELLO is here. */
Test(session_life, hello_after_eof)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	conf.closewait_ms[CLIENT] = 1000;
	r->side[CLIENT].tun.closewait_ms = 1000;
	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 0, 0);
	run_for(r, RTT);
	cr_assert(c->eof_sent && !c->peer->eof_in);
	run_for(r, 100);
	cr_assert(c->peer->eof_in);
	run_for(r, 5000);
	cr_assert(!c->closed, "closewait must not run on");
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 200));
	conn_complete(c);
	rig_end(r);
}

/* A stock server: FIN waits until it has been silent for closewait. */
Test(session_life, stock_server)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	struct conn *c;

	conf.hello[SERVER] = false;
	conf.closewait_ms[CLIENT] = 3000;
	r = rig_new(&conf);
	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 5000, 100);
	for (int i = 0; i < 10; i++) {
		run_for(r, 2000);
		cr_assert(!c->peer->eof_in && !c->peer->closed);
		conn_more(c->peer, 1000);
	}
	cr_assert(!rig_finish(r, 2990));
	cr_assert(rig_finish(r, 200));
	conn_complete(c);
	cr_assert_eq(c->got, 10100);
	cr_assert_geq(c->peer->closed_at, c->last_at + 3000 + RTT / 2);
	cr_assert_leq(c->peer->closed_at, c->last_at + 3000 + RTT / 2 + 20);
	no_drops(r);
	rig_end(r);
}

/* closewait 0 with a stock server: FIN at once behind the last byte, as stock's client. */
Test(session_life, stock_server_without_closewait)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	struct conn *c;

	conf.hello[SERVER] = false;
	conf.closewait_ms[CLIENT] = 0;
	r = rig_new(&conf);
	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 50000, 0);
	run_for(r, 200);
	cr_assert(c->closed && c->peer->closed);
	cr_assert_eq(c->peer->got, 50000);
	cr_assert(!c->aborted && !c->peer->aborted);
	rig_end(r);
}

/* A stock client: the server's FIN follows the target's last byte at once. */
Test(session_life, stock_client)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	struct conn *c;

	conf.hello[CLIENT] = false;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = true;
	c = rig_connect(r, 0, 100, 90000);
	cr_assert(rig_finish(r, 300));
	conn_complete(c);
	cr_assert(!c->eof_in, "no half-close towards a stock client");
	no_drops(r);
	rig_end(r);
}

/* ---- abrupt ends ---- */

Test(session_life, reset_by_client)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c, *other;

	c = rig_connect(r, 0, 30000000, 30000000);
	other = rig_connect(r, 0, 300000, 300000);
	run_for(r, 100);
	cr_assert_gt(c->peer->got, 0);
	conn_reset(c);
	cr_assert(rig_finish(r, 3000));
	cr_assert(c->closed && c->aborted);
	cr_assert(c->peer->closed && c->peer->aborted, "an abort is no clean end");
	cr_assert_eq(c->peer->got, c->sent, "what was sent before it");
	cr_assert_lt(c->sent, 30000000);
	conn_complete(other);
	no_drops(r);
	rig_end(r);
}

Test(session_life, reset_by_target)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c, *other;

	c = rig_connect(r, 0, 30000000, 30000000);
	other = rig_connect(r, 0, 300000, 300000);
	run_for(r, 100);
	conn_reset(c->peer);
	cr_assert(rig_finish(r, 3000));
	cr_assert(c->peer->closed && c->peer->aborted);
	cr_assert(c->closed && c->aborted, "an abort is no clean end");
	cr_assert_eq(c->got, c->peer->sent, "what was sent before it");
	cr_assert_lt(c->got, 30000000);
	conn_complete(other);
	no_drops(r);
	rig_end(r);
}

/* Stock has no word for it: a target's reset is a FIN behind its bytes, as with stock on both ends. */
Test(session_life, reset_by_target_of_a_stock_client)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.hello[CLIENT] = false;
	r = rig_new(&conf);
	c = rig_connect(r, 0, 1000, 30000000);
	run_for(r, 100);
	conn_reset(c->peer);
	cr_assert(rig_finish(r, 40000));
	cr_assert(c->closed && !c->aborted);
	cr_assert_eq(c->got, c->peer->sent);
	cr_assert_gt(c->got, 0);
	rig_end(r);
}

/* A stream whose end is cut off by us (the program ends): what was read goes out, and then never a FIN to stock. */
static void cut_short(bool stock)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.hello[CLIENT] = !stock;
	r = rig_new(&conf);
	c = rig_connect(r, 0, 1000, 30000000);
	run_for(r, 100);
	cr_assert_gt(c->peer->sent, 0);
	c->peer->chan->err = ESHUTDOWN;
	conn_reset(c->peer);
	run_for(r, 3000);
	cr_assert(c->peer->closed && c->peer->aborted);
	cr_assert_eq(c->got, c->peer->sent, "what was read is delivered");
	cr_assert_lt(c->got, 30000000);
	if (stock)
		cr_assert(!c->closed && !c->eof_in, "silence, for a FIN would be a lie");
	else
		cr_assert(c->closed && c->aborted);
	if (stock)
		conn_reset(c);
	run_for(r, 1000);
	rig_end(r);
}

Test(session_life, cut_short)
{
	cut_short(false);
}

Test(session_life, cut_short_towards_stock)
{
	cut_short(true);
}

/* A short first stream resets before the server has said who it is: the client waits for that. */
Test(session_life, reset_before_hello)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[CLIENT].hold_new = true;
	c = rig_connect(r, 0, 5000, 0);
	rig_settle(r);
	conn_reset(c);
	cr_assert(rig_finish(r, 5000));
	cr_assert_eq(c->peer->got, 5000);
	cr_assert(c->peer->closed && c->peer->aborted);
	rig_end(r);
}

Test(session_life, refused_target)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[SERVER].refuse_new = true;
	c = rig_connect(r, 0, 1000, 0);
	run_for(r, 2 * RTT + 50);
	cr_assert(c->closed && c->peer->closed);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_TARGET), 1);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], DROP_TARGET, 0), 0);
	rig_end(r);
}

/* An application that gives up while its connection waits for a session says nothing about any target. */
Test(session_life, reset_while_waiting)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[CLIENT].dial = DIAL_SILENT;
	r->side[CLIENT].hold_new = true;
	c = rig_connect(r, 0, 0, 0);
	run_for(r, 10);
	cr_assert(!c->closed);
	conn_reset(c);
	run_for(r, 10);
	cr_assert(c->closed && c->aborted);
	cr_assert_eq(rig_other_drops(&r->side[CLIENT], 0, 0), 0);
	rig_end(r);
}

/* But what it had sent before waits on, arrives, and then its end is told for what it was. */
Test(session_life, reset_while_bytes_wait)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[CLIENT].dial = DIAL_FAILS;
	r->side[CLIENT].hold_new = true;
	c = rig_connect(r, 0, 1000, 0);
	run_for(r, 10);
	conn_reset(c);
	run_for(r, 10);
	cr_assert(!c->closed);
	r->side[CLIENT].dial = DIAL_OK;
	run_for(r, 3000);
	cr_assert(c->closed && c->peer && c->peer->closed && c->peer->aborted);
	cr_assert_eq(c->peer->got, 1000);
	rig_end(r);
}

/* ---- sessions ---- */

/* The peer falls silent: 30 to 60 s later the session ends, its streams are reset, and nothing of it is left. */
Test(session_life, timeout)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	struct conn *c;
	struct note n;

	conf.ds = 10;
	conf.ps = 3;
	r = rig_new(&conf);
	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 100000, 100000);
	run_for(r, 5000);
	cr_assert_eq(c->got, 100000);
	conn_more(c->peer, 500000);
	run_for(r, 30);
	r->cut[CLIENT] = r->cut[SERVER] = true;
	run_for(r, 25000);
	cr_assert_eq(shard_stats(r->side[CLIENT].shard)->sessions, 1);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->sessions, 1);
	run_for(r, 36000);
	for (int e = 0; e < 2; e++) {
		cr_assert_eq(shard_stats(r->side[e].shard)->sessions, 0);
		cr_assert_eq(rig_drops(&r->side[e], DROP_TIMEOUT), 1);
		cr_assert_eq(rig_other_drops(&r->side[e], DROP_TIMEOUT, 0), 0);
		cr_assert_eq(rig_notes(&r->side[e], NOTE_SESS_CLOSE, &n), 1);
		cr_assert_eq(n.arg, DROP_TIMEOUT);
		cr_assert_eq(mem_used(r->side[e].mem), r->side[e].mem_idle);
	}
	cr_assert(c->closed && c->aborted && c->peer->closed && c->peer->aborted);
	cr_assert_eq(r->side[CLIENT].drops, 1, "the port was not given back");

	/* The next connection gets a session of its own. */
	r->cut[CLIENT] = r->cut[SERVER] = false;
	r->side[SERVER].hold_new = false;
	c = rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 300));
	conn_complete(c);
	cr_assert_eq(r->side[CLIENT].wants, 2);
	rig_end(r);
}

static uint32_t frames_in(const struct rig *r, enum rig_end end)
{
	return r->side[end].shard->all[0]->mux.frames_in;
}

/* A NOP every `keepalive` from both ends keeps an idle session alive for ever. */
Test(session_life, keepalive)
{
	struct rig_conf conf = rig_defaults();
	uint32_t before[2];
	struct rig *r;

	conf.keepalive_ms = 7000;
	r = rig_new(&conf);
	rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 300));
	run_for(r, 1000);
	for (int e = 0; e < 2; e++)
		before[e] = frames_in(r, e);
	run_for(r, 700000);
	for (int e = 0; e < 2; e++) {
		cr_assert_eq(shard_stats(r->side[e].shard)->sessions, 1);
		cr_assert_eq(frames_in(r, e) - before[e], 100, "%u NOPs", frames_in(r, e) - before[e]);
	}
	no_drops(r);
	rig_end(r);
}

/* An idle session wakes up for its keepalives and checks, not for a tick. */
Test(session_life, idle_is_quiet)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	uint64_t turns;

	conf.ds = 10;
	conf.ps = 3;
	r = rig_new(&conf);
	rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 300));
	run_for(r, 5000);
	cr_assert_eq(shard_stats(r->side[CLIENT].shard)->held_mbufs, 0);
	turns = r->turns;
	run_for(r, 100000);
	printf("%lu turns in 100 s\n", r->turns - turns);
	cr_assert_lt(r->turns - turns, 4000);
	rig_end(r);
}

/* ---- protocol errors ---- */

Test(session_life, wrong_smux_version)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct note n;

	r->side[SERVER].tun.mux.version = 1;
	rig_connect(r, 0, 1000, 0);
	run_for(r, 30);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_MUX), 1);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SESS_CLOSE, &n), 1);
	cr_assert_eq(n.arg, DROP_MUX);
	rig_end(r);
}

Test(session_life, corrupt_snappy)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct note n;

	r->side[CLIENT].tun.nocomp = true;
	rig_connect(r, 0, 1000, 0);
	run_for(r, 30);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_COMP), 1);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SESS_CLOSE, &n), 1);
	cr_assert_eq(n.arg, DROP_COMP);
	rig_end(r);
}

static void bad_packets(struct rig *r, unsigned n)
{
	uint8_t p[60] = {0};
	struct flow_key key = rig_key(SERVER, 9999);

	for (unsigned i = 0; i < n; i++) {
		struct pkt k = {.p = p, .n = sizeof(p), .key = &key, .verdict = DROP_CRYPT_BAD};

		shard_input(r->side[SERVER].shard, &k, 1, r->now);
		cr_assert_eq(k.verdict, DROP_CRYPT_BAD);
		cr_assert_null(k.sess);
	}
}

/* Checksum failures alone mean a wrong key; beside good packets they are noise. */
Test(session_life, bad_key)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct note n;

	bad_packets(r, 1);
	run_for(r, 500);
	bad_packets(r, 6);
	run_for(r, 499);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_BAD_KEY, &n), 0);
	run_for(r, 1);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_BAD_KEY, &n), 1);
	cr_assert_eq(n.arg, 7);
	cr_assert_eq(n.key.peer_port, 9999);
	cr_assert_eq(shard_snmp(r->side[SERVER].shard, 0)->InCsumErrors, 7);

	rig_connect(r, 0, 1000, 1000);
	bad_packets(r, 5);
	run_for(r, 3000);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_BAD_KEY, &n), 0);
	bad_packets(r, 1);
	run_for(r, 3000);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_BAD_KEY, &n), 1);
	rig_end(r);
}
