/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * Of FEC's parity as much is sent as the path needs.  The shape of the code stays (wire.md 3.8): packets are left out,
 * which every decoder takes for lost ones.
 *
 * What FEC is for is that nobody waits for a retransmission.  Where nothing waits, because the windows of both ends
 * hold what comes in the meantime, retransmissions are cheaper: they go out for what was lost, parity for everything.
 * So a missing packet counts as missed parity when a hole has filled the window twice running, or when streams with a
 * few bytes at a time, of which somebody waits for each, were behind it.  Then all of it is sent at once; and as long
 * as nothing is missed, one less after a while, which becomes longer each time that it was one too few.
 *
 * Where nothing was ever lost there is none, and none for what a policer has taken, once that is found: it takes what
 * is too much.  A session that sends little is never told of what it missed, and its parity costs nothing: all of it is
 * sent.  So is a client's while its server waits for whole groups to know its shape by (shape.c), but not for ever: who
 * has not found it in SHOWN packets may never.
 */

#define THIN_MS	      1000
#define PATIENCE_MIN  1 /* rounds */
#define PATIENCE_THIN 32
#define PATIENCE_MAX  512
#define GROUPS_LITTLE 2	   /* a round */
#define SHOWN	      2048 /* packets, to who waits for whole groups */

static void send(struct sess *ss, unsigned n)
{
	ss->parity.send = (uint8_t)n;
	ss->parity.calm = 0;
	fec_enc_send(&ss->enc, n);
	pace_burden(ss, n);
}

void parity_init(struct sess *ss)
{
	struct kcp_rounds r;

	kcp_rounds(&ss->kcp, &r);
	ss->parity = (struct parity){.patience = PATIENCE_MIN, .round = r.all, .blocked = r.blocked, .lossy = r.lossy};
	if (shape_out(ss))
		send(ss, fec_codec_ps(ss->enc.codec));
	else
		pace_burden(ss, 0);
}

/* Something was missed: if that was soon after there was one less, that is not tried again for longer. */
static void missed(struct sess *ss, unsigned all)
{
	struct parity *p = &ss->parity;

	if (p->send < all && p->patience < PATIENCE_MAX)
		p->patience *= 2;
	send(ss, all);
}

/* Somebody who waits for a few bytes at a time is not to pay for each thing that could be learnt. */
static unsigned patience(const struct parity *p, bool thin)
{
	return thin && p->patience < PATIENCE_THIN ? PATIENCE_THIN : p->patience;
}

static bool waited_for(const struct sess *ss)
{
	return ss->peer_lone && ss->enc.next < SHOWN;
}

void parity_look(struct sess *ss, uint64_t now)
{
	struct parity *p = &ss->parity;
	struct kcp_rounds r;
	unsigned all;
	bool blocked, thin, lossy, found;

	if (!shape_out(ss))
		return;
	kcp_rounds(&ss->kcp, &r);
	if (r.all == p->round)
		return;
	all = fec_codec_ps(ss->enc.codec);
	blocked = r.blocked != p->blocked;
	lossy = r.lossy != p->lossy;
	found = r.policed && !p->policed;
	if (p->thin)
		p->thin_at = now;
	p->thin = false;
	thin = p->thin_at + THIN_MS > now;
	if (waited_for(ss) || r.segments < GROUPS_LITTLE * fec_codec_ds(ss->enc.codec)) {
		if (p->send < all)
			send(ss, all);
	} else if (!found && ((blocked && p->was_blocked) || (lossy && thin))) {
		missed(ss, all);
	} else if (found || (p->send && !r.lossy)) {
		send(ss, 0);
	} else if (p->send && ++p->calm >= patience(p, thin)) {
		send(ss, p->send - 1u);
	}
	p->was_blocked = blocked;
	p->round = r.all;
	p->blocked = r.blocked;
	p->lossy = r.lossy;
	p->policed = r.policed;
}
