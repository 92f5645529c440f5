/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "kcp_seg.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/* Conversations that there have been before: of recordings, which get nothing, and of clients, which lose nothing. */

TestSuite(session_doubt, .init = eal_start);

#define CONV 77

static struct fresh_book book = {.seed = 0x0123456789abcdefu};

static struct rig *rig_doubting(struct rig_conf *conf)
{
	book.v = aligned_alloc(64, FRESH_BOOK_BYTES);
	memset((void *)book.v, 0, FRESH_BOOK_BYTES);
	conf->book = &book;
	return rig_new(conf);
}

static void end(struct rig *r)
{
	rig_end(r);
	free((void *)book.v);
}

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static struct sess *only(const struct rig *r)
{
	const struct shard *s = r->side[SERVER].shard;

	cr_assert_eq(s->n_all, 1, "%u", s->n_all);
	return s->all[0];
}

/* A segment of what a client recorded, smux 2 without compression: SYN and 8 bytes, whatever sn.  Its length. */
static unsigned recorded(struct rig *r, uint16_t port, uint32_t conv, uint32_t sn)
{
	static const uint8_t first[] = {2, 0, 0, 0, 3, 0, 0, 0, 2, 2, 8, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
	static const uint8_t more[] = {2, 2, 16, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t p[KCP_HEAD + sizeof(first)] = {0};

	le32_put(p, conv);
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 1024);
	le32_put(p + KCP_OFF_SN, sn);
	le32_put(p + KCP_OFF_LEN, sizeof(first));
	memcpy(p + KCP_HEAD, sn ? more : first, sizeof(first));
	cr_assert_eq(rig_feed(r, SERVER, port, p, sizeof(p)), VERDICT_OK);
	return sizeof(p);
}

/* No target is dialled, no byte handed on, and at no time has more been sent than was received. */
static void recording(unsigned ds, bool nocomp)
{
	struct rig_conf conf = rig_defaults();
	struct shard_stats *st;
	struct rig_side *s;
	uint64_t fed = 0;
	struct rig *r;

	conf.nocomp = nocomp;
	conf.ds = ds;
	conf.ps = ds ? 3 : 0;
	r = rig_doubting(&conf);
	s = &r->side[SERVER];
	st = shard_stats(s->shard);
	fresh_book_add(&book, CONV);
	for (uint32_t i = 0; i < 2000; i++) {
		fed += recorded(r, 900, CONV, i % 500);
		if (i % 3 == 0)
			run_for(r, i % 50);
		cr_assert_leq(s->wire, fed, "after %u: %lu bytes for %lu", i, s->wire, fed);
		if (i == 1900)
			fresh_book_add(&book, 5);
	}
	cr_assert_gt(s->wire, 0, "it is asked");
	cr_assert(st->sessions == 0 || only(r)->doubt);
	run_for(r, 100000);
	cr_assert_leq(s->wire, fed);
	cr_assert_eq(s->n_conn, 0, "a target was dialled");
	cr_assert_eq(shard_snmp(s->shard, 0)->BytesReceived, 0);
	cr_assert_eq(st->sessions, 0);
	cr_assert_gt(st->doubted, 0);
	cr_assert_eq(st->in_doubt, 0);
	cr_assert_eq(st->unproved, 0);
	cr_assert_eq(rig_drops(s, DROP_DOUBTED), st->doubted);
	end(r);
}

Test(session_doubt, a_recording_reaches_nobody)
{
	recording(0, true);
}

Test(session_doubt, nor_with_compression_and_fec)
{
	recording(2, false);
}

Test(session_doubt, one_datagram_is_not_enough_to_be_answered)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.nocomp = true;
	r = rig_doubting(&conf);
	fresh_book_add(&book, CONV);
	recorded(r, 900, CONV, 0);
	run_for(r, 1000);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->in_doubt, 1);
	cr_assert_eq(r->side[SERVER].wire, 0);
	run_for(r, 60000);
	end(r);
}

/* What was never there before is not in doubt, and is once it has begun. */
Test(session_doubt, a_conversation_is_remembered_when_it_begins)
{
	struct rig_conf conf = rig_defaults();
	struct rig_side *s;
	struct rig *r;

	conf.nocomp = true;
	r = rig_doubting(&conf);
	s = &r->side[SERVER];
	recorded(r, 900, CONV, 1);
	cr_assert_not(fresh_book_has(&book, CONV), "nothing was handed on yet");
	recorded(r, 900, CONV, 0);
	rig_settle(r);
	cr_assert(fresh_book_has(&book, CONV));
	cr_assert_eq(s->n_conn, 1);
	cr_assert_not(only(r)->doubt);
	run_for(r, 100000);
	cr_assert_eq(shard_stats(s->shard)->sessions, 0);
	recorded(r, 901, CONV, 0);
	rig_settle(r);
	cr_assert_eq(s->n_conn, 1, "dialled for a recording");
	cr_assert_eq(shard_stats(s->shard)->in_doubt, 1);
	run_for(r, 100000);
	end(r);
}

/*
 * A recording at the address of the client that it is of, which has outlived the server's restart: the question is old
 * to it, and it acknowledges that.  But it has received more than was ever sent here.
 */
static bool vouched(uint32_t una)
{
	struct rig_conf conf = rig_defaults();
	uint8_t p[KCP_HEAD] = {0};
	struct rig *r;
	bool handed;

	conf.nocomp = true;
	r = rig_doubting(&conf);
	fresh_book_add(&book, CONV);
	for (uint32_t sn = 0; sn < 3; sn++)
		recorded(r, 900, CONV, sn);
	run_for(r, 100);
	cr_assert(only(r)->doubt);
	le32_put(p, CONV);
	p[KCP_OFF_CMD] = KCP_ACK;
	le16_put(p + KCP_OFF_WND, 1024);
	le32_put(p + KCP_OFF_TS, kcp_snd_seg(&only(r)->kcp, 0)->ts);
	le32_put(p + KCP_OFF_UNA, una);
	cr_assert_eq(rig_feed(r, SERVER, 900, p, sizeof(p)), VERDICT_OK);
	run_for(r, 100);
	handed = r->side[SERVER].n_conn > 0;
	cr_assert_eq(only(r)->doubt, !handed);
	run_for(r, 100000);
	end(r);
	return handed;
}

Test(session_doubt, a_client_of_before_vouches_for_nothing)
{
	cr_assert(vouched(1), "one of now does");
	cr_assert_not(vouched(40));
}

/* ---- a client whose number there has been before ---- */

static bool over(void *arg)
{
	const struct conn *c = arg;

	return c->closed;
}

/* ms that its connection takes; stock's ends with the direction that ends first: the longer one is the answer. */
static uint64_t whole(struct rig_conf conf, bool known)
{
	struct rig *r = rig_doubting(&conf);
	uint64_t from = r->now, took;
	struct conn *c = rig_connect(r, 0, 300000, 2000000);

	rig_settle(r);
	cr_assert_eq(r->side[CLIENT].shard->n_all, 1);
	if (known)
		fresh_book_add(&book, r->side[CLIENT].shard->all[0]->conv);
	cr_assert(rig_run(r, r->now + 60000, over, c));
	took = r->now - from;
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->doubted, known);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->in_doubt, 0);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_DOUBTED), 0);
	end(r);
	return took;
}

/* The link is of 20 ms each way. */
static void loses_a_round_trip(const struct rig_conf *conf)
{
	uint64_t usual = whole(*conf, false), known = whole(*conf, true);

	cr_assert_leq(known, usual + 60, "%lu ms instead of %lu", known, usual);
}

Test(session_doubt, a_client_loses_a_round_trip)
{
	struct rig_conf conf = rig_defaults();

	loses_a_round_trip(&conf);
}

Test(session_doubt, so_does_a_stock_client_with_smux_1)
{
	struct rig_conf conf = rig_defaults();

	conf.hello[CLIENT] = false;
	conf.smux = 1;
	loses_a_round_trip(&conf);
}

Test(session_doubt, and_one_with_fec)
{
	struct rig_conf conf = rig_defaults();

	conf.ds = 10;
	conf.ps = 3;
	loses_a_round_trip(&conf);
}

Test(session_doubt, and_one_without_compression)
{
	struct rig_conf conf = rig_defaults();

	conf.nocomp = true;
	loses_a_round_trip(&conf);
}

/* It may take longer, but is whole. */
Test(session_doubt, loss_keeps_no_client_out)
{
	struct rig_conf conf = rig_defaults();

	conf.link.loss = 300;
	for (conf.seed = 1; conf.seed < 12; conf.seed++)
		whole(conf, true);
}

/* A target that speaks first: the client sends an empty beginning and waits. */
Test(session_doubt, who_only_listens_is_served)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_doubting(&conf);
	struct conn *c;

	r->side[CLIENT].hold_new = true;
	c = rig_connect(r, 0, 0, 100000);
	rig_settle(r);
	cr_assert_eq(r->side[CLIENT].shard->n_all, 1);
	fresh_book_add(&book, r->side[CLIENT].shard->all[0]->conv);
	run_for(r, 3000);
	cr_assert_eq(c->got, 100000);
	conn_eof(c);
	cr_assert(rig_finish(r, 60000));
	end(r);
}
