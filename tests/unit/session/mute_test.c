/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "eal.h"
#include "kcp_seg.h"
#include "le.h"
#include "rig.h"

/* A peer that is no client: a stock server, which makes a session of what one forged datagram had us send it. */

TestSuite(session_mute, .init = eal_start);

#define PORT 4000
#define CONV 77

static const uint8_t nop[8] = {2, 3};
static const uint8_t syn[8] = {2, 0, 0, 0, 3}, fin[8] = {2, 1, 0, 0, 3};

/*
 * A stock server, as far as it matters: any datagram makes a session; it acknowledges, says NOP every 10 s, and gives
 * up without a word when no frame has come for 30 s.
 */
struct stock {
	struct rig *r;
	bool is;
	uint64_t born, pinged, checked;
	uint32_t sn, una, ts; /* its next segment; ours that it has */
	bool heard, owes;
	unsigned sessions, got;
	bool fin; /* it has been told of a stream that its target does not take */
};

static void stock_hears(void *arg, const struct rig_side *s, const struct pkt *k)
{
	struct stock *o = arg;
	const uint8_t *p = k->p;
	uint32_t n = k->n;
	struct kcp_head h;

	(void)s;
	o->got++;
	if (!o->is) {
		*o = (struct stock){.r = o->r, .is = true, .sessions = o->sessions + 1, .got = o->got};
		o->born = o->pinged = o->checked = o->r->now;
	}
	for (; n >= KCP_HEAD; p += h.len, n -= h.len) {
		kcp_head_get(&h, p);
		p += KCP_HEAD;
		n -= KCP_HEAD;
		if (h.cmd != KCP_PUSH)
			continue;
		o->owes = true;
		o->ts = h.ts;
		if (h.sn == o->una) {
			o->una++;
			o->heard = true;
		}
	}
}

static unsigned stock_sends(const struct stock *o, uint8_t cmd, uint32_t sn, const uint8_t *data, uint16_t n)
{
	uint8_t p[64] = {0};

	le32_put(p, CONV);
	p[KCP_OFF_CMD] = cmd;
	le16_put(p + KCP_OFF_WND, 1024);
	le32_put(p + KCP_OFF_TS, cmd == KCP_ACK ? o->ts : (uint32_t)o->r->now);
	le32_put(p + KCP_OFF_SN, sn);
	le32_put(p + KCP_OFF_UNA, o->una);
	le32_put(p + KCP_OFF_LEN, n);
	if (n)
		memcpy(p + KCP_HEAD, data, n);
	return rig_feed(o->r, SERVER, PORT, p, (uint16_t)(KCP_HEAD + n));
}

static void stock_second(struct stock *o)
{
	rig_run(o->r, o->r->now + 1000, NULL, NULL);
	if (!o->is)
		return;
	if (o->owes)
		stock_sends(o, KCP_ACK, o->una - 1, NULL, 0);
	o->owes = false;
	if (o->fin && o->heard)
		stock_sends(o, KCP_PUSH, o->sn++, fin, 8);
	o->fin = o->fin && !o->heard;
	if (o->r->now >= o->pinged + 10000) {
		o->pinged = o->r->now;
		stock_sends(o, KCP_PUSH, o->sn++, nop, 8);
	}
	if (o->r->now >= o->checked + 30000) {
		o->checked = o->r->now;
		o->is = o->heard;
		o->heard = false;
	}
}

static struct stock begin(void)
{
	struct rig_conf conf = rig_defaults();
	struct stock o = {0};

	conf.nocomp = true;
	o.r = rig_new(&conf);
	return o;
}

static uint64_t sessions(const struct stock *o)
{
	return shard_stats(o->r->side[SERVER].shard)->sessions;
}

/* The forged datagram says nothing, or opens a stream that the target does not take; or it went to the other one, which
 * speaks of its NOPs, and of what it was told to open. */
static void ends(const uint8_t *forged, bool told)
{
	struct stock o = begin();
	unsigned got;

	o.r->side[SERVER].sent = stock_hears;
	o.r->side[SERVER].sent_arg = &o;
	o.r->side[SERVER].refuse_new = true;
	if (forged) {
		cr_assert_eq(stock_sends(&o, KCP_PUSH, 0, forged, 8), VERDICT_OK);
	} else {
		o.is = true;
		o.fin = told;
		o.sessions = 1;
		o.born = o.pinged = o.checked = o.r->now;
	}
	for (unsigned i = 0; i < 25; i++)
		stock_second(&o);
	cr_assert(o.is && sessions(&o) == 1, "both have a session");
	for (unsigned i = 0; i < 180; i++)
		stock_second(&o);
	cr_expect_eq(sessions(&o), 0, "ours lives for ever");
	cr_expect(!o.is, "theirs does");
	cr_expect_eq(o.sessions, 1, "%u", o.sessions);
	got = o.got;
	for (unsigned i = 0; i < 120; i++)
		stock_second(&o);
	cr_expect_eq(o.got, got, "and now it is quiet");
	rig_end(o.r);
}

Test(session_mute, two_servers_fall_silent)
{
	ends(nop, false);
}

Test(session_mute, a_datagram_that_opens_a_stream)
{
	ends(syn, false);
}

Test(session_mute, a_datagram_to_the_other_one)
{
	ends(NULL, false);
}

Test(session_mute, that_opens_a_stream_there)
{
	ends(NULL, true);
}

/* A client that has done nothing for long is answered at once when it does something. */
Test(session_mute, a_late_client_is_answered)
{
	struct stock o = begin();
	unsigned got;

	o.r->side[SERVER].sent = stock_hears;
	o.r->side[SERVER].sent_arg = &o;
	o.r->side[SERVER].hold_new = true;
	cr_assert_eq(stock_sends(&o, KCP_PUSH, o.sn++, nop, 8), VERDICT_OK);
	for (unsigned i = 0; i < 75; i++)
		stock_second(&o);
	cr_assert(o.is && sessions(&o) == 1);
	got = o.got;
	cr_assert_eq(stock_sends(&o, KCP_PUSH, o.sn++, syn, 8), VERDICT_OK);
	stock_second(&o);
	cr_expect_gt(o.got, got);
	cr_expect(o.heard, "a frame, too");
	for (unsigned i = 0; i < 300; i++)
		stock_second(&o);
	cr_expect(o.is && sessions(&o) == 1, "it has a stream: it stays up");
	o.r->cut[SERVER] = true;
	rig_run(o.r, o.r->now + 100000, NULL, NULL);
	rig_end(o.r);
}

/* And one that has done something, and does nothing any more, is kept up as it always was. */
Test(session_mute, an_idle_client_is_kept_up)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.hello[CLIENT] = false;
	r = rig_new(&conf);
	rig_connect(r, 0, 1000, 1000);
	rig_run(r, r->now + 600000, NULL, NULL);
	cr_expect_eq(shard_stats(r->side[SERVER].shard)->sessions, 1);
	cr_expect_eq(shard_stats(r->side[SERVER].shard)->sessions_opened, 1);
	rig_end(r);
}
