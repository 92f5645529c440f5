/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "ask_wire.h"
#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"
#include "smux_wire.h"

/* A server that has lost its sessions says so to clients of ours that ask (lib/README.md), and to nobody else. */

TestSuite(session_ask, .init = eal_start);

#define RTT    40
#define ASKING 1000 /* ms of silence before the first question, */
#define AGAIN  500  /* and from one to the next */

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static const struct shard_stats *stats(struct rig *r, enum rig_end end)
{
	return shard_stats(r->side[end].shard);
}

static struct sess *only(struct rig *r, enum rig_end end)
{
	cr_assert_eq(stats(r, end)->sessions, 1);
	return r->side[end].shard->all[0];
}

/* What a restart does: the server knows none of its sessions any more, and its clients are not told. */
static void forget(struct rig *r)
{
	struct shard *s = r->side[SERVER].shard;

	while (s->n_all)
		sess_close(s->all[s->n_all - 1], 0, r->now);
	rig_settle(r);
}

/* A connection that stays, over a session on which each end has heard the other. */
static struct conn *standing(struct rig *r)
{
	struct conn *c;

	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 5000, 5000);
	run_for(r, 3000);
	cr_assert_eq(c->got, 5000);
	cr_assert_eq(stats(r, CLIENT)->asked, 0, "nobody was silent");
	return c;
}

static bool is_closed(void *arg)
{
	const struct conn *c = arg;

	return c->closed;
}

/* Service as before: a connection that does all its work. */
static void works(struct rig *r)
{
	struct conn *c;

	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = false;
	c = rig_connect(r, 0, 70000, 70000);
	cr_assert(rig_run(r, r->now + 5000, is_closed, c));
	run_for(r, 100);
	conn_complete(c);
}

/* ---- a server that has forgotten ---- */

static void forgotten(const struct rig_conf *conf)
{
	struct rig *r = rig_new(conf);
	struct conn *c = standing(r);
	uint64_t at;
	struct note n;

	forget(r);
	conn_more(c, 1000);
	at = r->now;
	cr_assert(rig_run(r, r->now + 10000, is_closed, c), "it still waits");
	printf("%lu ms after it was owed an acknowledgement\n", r->now - at);
	cr_assert_leq(r->now - at, ASKING + RTT + 20);
	cr_assert(c->aborted, "the application must not take it for an orderly end");
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 1);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_SESS_CLOSE, &n), 1);
	cr_assert_eq(n.arg, DROP_FORGOTTEN);
	cr_assert_eq(r->side[CLIENT].drops, 1, "its port goes back");
	cr_assert_eq(stats(r, SERVER)->sessions, 0, "nothing of this made a session");
	cr_assert_eq(stats(r, SERVER)->answered, 1);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], DROP_STRAY, DROP_PARITY_ALONE), 0);
	works(r);
	rig_end(r);
}

Test(session_ask, forgotten)
{
	for (unsigned i = 0; i < 8; i++) {
		struct rig_conf conf = rig_defaults();

		conf.smux = i & 1 ? 1 : 2;
		conf.nocomp = i & 2;
		if (i & 4) {
			conf.ds = 10;
			conf.ps = 3;
		}
		forgotten(&conf);
	}
}

static void weather(struct rig *r, uint32_t loss)
{
	struct sim_conf conf = r->conf.link;

	conf.loss = loss;
	sim_link_set(r->side[CLIENT].out, &conf);
	sim_link_set(r->side[SERVER].out, &conf);
}

/* Half of what the two say is lost. */
Test(session_ask, questions_get_lost)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rig_conf conf = rig_defaults();
		struct conn *c;
		struct rig *r;

		conf.seed = seed;
		r = rig_new(&conf);
		c = standing(r);
		weather(r, 500);
		forget(r);
		conn_more(c, 1000);
		cr_assert(rig_run(r, r->now + 20000, is_closed, c), "seed %lu", seed);
		cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 1);
		weather(r, 0);
		works(r);
		rig_end(r);
	}
}

/* Questions follow each other sooner than their answers come: those are to the point all the same. */
Test(session_ask, long_way)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.link.delay_us = 1500000;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 5000, 5000);
	run_for(r, 60000);
	cr_assert_eq(c->got, 5000);
	/* A server three seconds away is silent for longer than a second; that it lives is enough. */
	for (unsigned i = 0; i < 20; i++) {
		conn_more(c, 1000);
		run_for(r, 5000);
	}
	cr_assert_eq(c->peer->got, 25000);
	cr_assert_gt(stats(r, CLIENT)->asked, 0);
	cr_assert_eq(rig_other_drops(&r->side[CLIENT], DROP_OOB, 0), 0);
	forget(r);
	conn_more(c, 1000);
	/* What was under way is heard for another half of that time. */
	cr_assert(rig_run(r, r->now + 1500 + ASKING + 3000 + AGAIN, is_closed, c));
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 1);
	rig_end(r);
}

/* A session that carries nothing finds out with its next keepalive. */
Test(session_ask, idle)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r = rig_new(&conf);

	c = standing(r);
	forget(r);
	cr_assert(rig_run(r, r->now + conf.keepalive_ms + ASKING + RTT + 20, is_closed, c));
	cr_assert(c->aborted);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 1);
	rig_end(r);
}

/* While the server is away the question is repeated; when it is back, the next one is answered. */
Test(session_ask, server_comes_back_later)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c = standing(r);
	uint64_t back;

	r->cut[CLIENT] = r->cut[SERVER] = true;
	forget(r);
	conn_more(c, 1000);
	run_for(r, 15000);
	cr_assert(!c->closed);
	cr_assert_geq(stats(r, CLIENT)->asked, 14000 / AGAIN);
	cr_assert_leq(stats(r, CLIENT)->asked, 14000 / AGAIN + 1);
	r->cut[CLIENT] = r->cut[SERVER] = false;
	back = r->now;
	cr_assert(rig_run(r, back + 10000, is_closed, c));
	cr_assert_leq(r->now - back, AGAIN + RTT + 20);
	works(r);
	rig_end(r);
}

/* ---- those who are not asked, and those who do not answer ---- */

/* A peer that is stock, or has to look like it, is not asked, and its client's datagrams find silence. */
static void not_asked(enum rig_end stock)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.hello[stock] = false;
	r = rig_new(&conf);
	c = standing(r);
	forget(r);
	r->side[SERVER].dgrams = 0;
	conn_more(c, 1000);
	run_for(r, 25000);
	cr_assert(!c->closed);
	cr_assert(rig_run(r, r->now + 40000, is_closed, c));
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_TIMEOUT), 1);
	cr_assert_eq(stats(r, CLIENT)->asked, 0);
	cr_assert_eq(stats(r, SERVER)->answered, 0);
	cr_assert_eq(r->side[SERVER].dgrams, 0, "strays made it speak");
	cr_assert_eq(stats(r, SERVER)->sessions_opened, 1, "strays made a session");
	rig_end(r);
}

Test(session_ask, stock_server)
{
	not_asked(SERVER);
}

Test(session_ask, stock_client)
{
	not_asked(CLIENT);
}

/* Traffic that is acknowledged, be there more of it at every moment, and rest, raise no questions. */
Test(session_ask, no_questions_while_all_is_well)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.ratelimit[CLIENT] = 100000;
	r = rig_new(&conf);
	c = standing(r);
	run_for(r, 100000);
	conn_more(c, 3000000);
	conn_more(c->peer, 3000000);
	run_for(r, 100000);
	cr_assert_eq(c->got, 3005000);
	cr_assert_eq(c->peer->got, 3005000);
	cr_assert_eq(stats(r, CLIENT)->asked, 0);
	rig_end(r);
}

/* A HELLO with these bits in this end's byte stream, from a peer that does not say any of itself. */
static uint64_t asked_after(enum rig_end end, uint32_t bits)
{
	struct rig_conf conf = rig_defaults();
	uint8_t p[KCP_HEAD + MUX_HEAD] = {0};
	struct conn *c;
	struct sess *ss;
	uint64_t asked;
	struct rig *r;

	conf.nocomp = true;
	conf.hello[!end] = false;
	r = rig_new(&conf);
	c = standing(r);
	ss = only(r, end);
	kcp_head_put(p, &(struct kcp_head){.conv = ss->conv,
					   .cmd = KCP_PUSH,
					   .wnd = 128,
					   .sn = ss->kcp.rcv_nxt,
					   .una = ss->kcp.snd_una,
					   .len = MUX_HEAD});
	p[KCP_HEAD + SMUX_VER] = 2;
	p[KCP_HEAD + SMUX_CMD] = SMUX_NOP;
	le32_put(p + KCP_HEAD + SMUX_SID, SMUX_NOP_HELLO | bits);
	cr_assert_eq(rig_feed(r, end, c->port, p, sizeof(p)), VERDICT_OK);
	cr_assert(mux_can_half(&ss->mux));
	r->cut[!end] = true;
	conn_more(end == CLIENT ? c : c->peer, 1000);
	run_for(r, 10000);
	asked = stats(r, end)->asked;
	rig_end(r);
	return asked;
}

/* A kcpgate that does not say that it answers, of an earlier release perhaps, is not asked; nor is any client. */
Test(session_ask, only_who_says_that_it_answers)
{
	cr_assert_gt(asked_after(CLIENT, SMUX_HELLO_HALF | SMUX_HELLO_ANSWERS), 0);
	cr_assert_eq(asked_after(CLIENT, SMUX_HELLO_HALF), 0);
	cr_assert_eq(asked_after(SERVER, SMUX_HELLO_HALF | SMUX_HELLO_ANSWERS), 0);
}

/* A question is something to send, though its session has nothing else; and goes with its session. */
Test(session_ask, question_under_way)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct shard *s = r->side[CLIENT].shard;
	struct conn *c = standing(r);
	struct sess *ss = only(r, CLIENT);
	bool alone = false;

	forget(r);
	r->cut[CLIENT] = true;
	conn_more(c, 1000);
	run_for(r, ASKING - 1);
	for (unsigned i = 0; i < 20 && !alone; i++) {
		run_for(r, ss->ask_at - r->now - 1);
		rig_at(r, r->now + 1);
		shard_tick(s, r->now);
		cr_assert(!list_empty(&s->asks));
		cr_assert(shard_ready(s));
		alone = list_empty(&s->ready);
		if (!alone)
			rig_settle(r);
	}
	cr_assert(alone, "it always coincides with something else");
	sess_close(ss, 0, r->now);
	cr_assert(list_empty(&s->asks));
	rig_end(r);
}

/* A server that reads no more is silent about what is beyond its window; asked, it says that it is there. */
Test(session_ask, stopped_reader)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.smux = 1;
	conf.smuxbuf = 512 << 10;
	r = rig_new(&conf);
	c = rig_connect(r, 0, 3000000, 100000);
	c->stop_peer = true;
	run_for(r, 200000);
	cr_assert_gt(stats(r, CLIENT)->asked, 50);
	cr_assert_eq(stats(r, SERVER)->answered, stats(r, CLIENT)->asked);
	cr_assert_eq(rig_other_drops(&r->side[CLIENT], 0, 0), 0);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], 0, 0), 0);
	c->peer->stopped = false;
	conn_read(c->peer);
	cr_assert(rig_finish(r, 130000));
	conn_complete(c);
	rig_end(r);
}

/* ---- the words ---- */

/* A packet into a shard; afterwards p holds what became of it. */
static unsigned say(struct rig *r, enum rig_end end, uint16_t port, uint8_t *p, uint16_t n)
{
	struct flow_key key = rig_key(end, port);
	struct pkt k = {.p = p, .n = n, .key = &key, .hash = flow_hash(&key)};

	flow_find_burst(shard_flows(r->side[end].shard), &k, 1);
	shard_input(r->side[end].shard, &k, 1, r->now);
	cr_assert(k.verdict != VERDICT_ANSWER || (k.p == p && k.n == n), "an answer is as long as its question");
	return k.verdict;
}

static unsigned say_code(struct rig *r, enum rig_end end, uint16_t port, uint32_t conv, unsigned code, uint64_t token)
{
	uint8_t p[ASK_LEN];

	ask_put(p, conv, code, token);
	return say(r, end, port, p, ASK_LEN);
}

static void expect_answer(const uint8_t *p, uint32_t conv, enum ask_code code, uint64_t token)
{
	static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xf3, 0, 22, 0};

	cr_assert_eq(memcmp(p, head, sizeof(head)), 0);
	cr_assert_eq(le32_get(p + 8), conv);
	cr_assert_eq(memcmp(p + 12, "kcpg", 4), 0);
	cr_assert_eq(le32_get(p + 16), code, "code %u", p[16]);
	cr_assert_eq(le64_get(p + 20), token);
}

/* What a server says of sessions that it has not, has, and has only in appearance. */
Test(session_ask, server_answers)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c = standing(r);
	uint32_t conv = only(r, CLIENT)->conv;
	const struct snmp *cnt = shard_snmp(r->side[SERVER].shard, 0);
	uint64_t out = cnt->OutPkts;
	uint8_t p[64] = {0};

	ask_put(p, 77, ASK_QUERY, 0x1122334455667788);
	cr_assert_eq(say(r, SERVER, 9, p, ASK_LEN), VERDICT_ANSWER);
	expect_answer(p, 77, ASK_UNKNOWN, 0x1122334455667788);
	ask_put(p, conv, ASK_QUERY, 5);
	cr_assert_eq(say(r, SERVER, c->port, p, ASK_LEN), VERDICT_ANSWER);
	expect_answer(p, conv, ASK_KNOWN, 5);
	ask_put(p, conv + 1, ASK_QUERY, 6);
	cr_assert_eq(say(r, SERVER, c->port, p, ASK_LEN), VERDICT_ANSWER);
	expect_answer(p, conv + 1, ASK_UNKNOWN, 6);
	ask_put(p, conv, ASK_QUERY, 7);
	cr_assert_eq(say(r, SERVER, 9, p, ASK_LEN), VERDICT_ANSWER);
	expect_answer(p, conv, ASK_KNOWN, 7); /* its client's address may be another now */
	cr_assert_eq(only(r, SERVER)->conv, conv);
	cr_assert_eq(cnt->OutPkts, out + 4);
	/* One whose beginning has not come is not what its client asks for. */
	kcp_head_put(p, &(struct kcp_head){.conv = 78, .cmd = KCP_PUSH, .wnd = 128, .sn = 3, .len = 8});
	cr_assert_eq(say(r, SERVER, 10, p, KCP_HEAD + 8), VERDICT_OK);
	ask_put(p, 78, ASK_QUERY, 8);
	cr_assert_eq(say(r, SERVER, 10, p, ASK_LEN), VERDICT_ANSWER);
	expect_answer(p, 78, ASK_UNKNOWN, 8);
	cr_assert_eq(stats(r, SERVER)->sessions_opened, 2);
	rig_end(r);
}

/* Only questions are answered: not answers, not other packets of this kind, not those that are longer or shorter. */
Test(session_ask, server_keeps_silent)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c = standing(r);
	uint32_t conv = only(r, SERVER)->conv;
	uint8_t p[64] = {0};

	for (unsigned i = 0; i < 2; i++) {
		uint16_t port = i ? c->port : 9;

		for (unsigned code = 0; code < 256; code++)
			if (code != ASK_QUERY)
				cr_assert_eq(say_code(r, SERVER, port, conv, code, 1), DROP_OOB, "code %u", code);
		ask_put(p, conv, ASK_QUERY, 1);
		for (uint16_t n = FEC_HEAD + 4; n < 64; n++)
			if (n != ASK_LEN)
				cr_assert_eq(say(r, SERVER, port, p, n), DROP_OOB, "%u bytes", n);
		p[ASK_OFF_MAGIC] ^= 1;
		cr_assert_eq(say(r, SERVER, port, p, ASK_LEN), DROP_OOB);
	}
	r->side[SERVER].tun.mux.hello = false;
	cr_assert_eq(say_code(r, SERVER, 9, conv, ASK_QUERY, 1), DROP_OOB, "who must look like stock");
	cr_assert_eq(say_code(r, SERVER, c->port, conv, ASK_QUERY, 1), DROP_OOB);
	r->side[SERVER].tun.mux.hello = true;
	cr_assert_eq(stats(r, SERVER)->answered, 0);
	cr_assert_eq(stats(r, SERVER)->sessions_opened, 1);
	rig_end(r);
}

Test(session_ask, answers_are_limited)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	unsigned n = 0;

	while (say_code(r, SERVER, 9, 77, ASK_QUERY, n) == VERDICT_ANSWER)
		cr_assert_lt(n++, 100000, "without end");
	printf("%u a second\n", n);
	cr_assert_geq(n, 1000);
	cr_assert_eq(say_code(r, SERVER, 9, 77, ASK_QUERY, n), DROP_ASK_LIMIT);
	run_for(r, 999);
	cr_assert_eq(say_code(r, SERVER, 9, 77, ASK_QUERY, n), DROP_ASK_LIMIT);
	run_for(r, 1);
	cr_assert_eq(say_code(r, SERVER, 9, 77, ASK_QUERY, n), VERDICT_ANSWER);
	cr_assert_eq(stats(r, SERVER)->answered, n + 1);
	rig_end(r);
}

/* A client believes the answer to what it asks now: no other conversation's, no other question's, no old one's. */
Test(session_ask, client_believes_answers_only)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c = standing(r);
	struct sess *ss = only(r, CLIENT);
	uint64_t old, token;

	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, ASK_UNKNOWN, 0), DROP_OOB, "before it asked anything");
	/* A first silence: asked, and then the server is heard again. */
	r->cut[SERVER] = true;
	conn_more(c, 1000);
	run_for(r, 3000);
	cr_assert_gt(stats(r, CLIENT)->asked, 1);
	old = ss->ask_token;
	r->cut[SERVER] = false;
	run_for(r, 5000);
	cr_assert_eq(c->peer->got, 6000);
	/* A second one. */
	r->cut[SERVER] = true;
	conn_more(c, 1000);
	run_for(r, 1500);
	token = ss->ask_token;
	cr_assert_neq(token, old);
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, ASK_UNKNOWN, old), DROP_OOB, "said in the first silence");
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, ASK_UNKNOWN, token ^ 1ull << 63), DROP_OOB);
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, ASK_UNKNOWN, 0), DROP_OOB);
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv ^ 1, ASK_UNKNOWN, token), DROP_OOB);
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, ASK_QUERY, token), DROP_OOB, "a question thrown back");
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, 0, token), DROP_OOB);
	cr_assert_eq(say_code(r, CLIENT, (uint16_t)(c->port + 1), ss->conv, ASK_UNKNOWN, token), DROP_FOREIGN);
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, ASK_KNOWN, token), VERDICT_OK);
	cr_assert_eq(stats(r, CLIENT)->sessions, 1);
	cr_assert_eq(say_code(r, CLIENT, c->port, ss->conv, ASK_UNKNOWN, token), VERDICT_OK);
	cr_assert_eq(stats(r, CLIENT)->sessions, 0);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 1);
	r->cut[SERVER] = false;
	run_for(r, 100);
	cr_assert(c->closed && c->aborted);
	rig_end(r);
}

/* With a rate limit a question costs what any datagram does. */
Test(session_ask, paced)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.ratelimit[CLIENT] = 20000;
	r = rig_new(&conf);
	c = standing(r);
	forget(r);
	conn_more(c, 1000000);
	cr_assert(rig_run(r, r->now + 10000, is_closed, c));
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 1);
	rig_end(r);
}
