/* SPDX-License-Identifier: MIT */

/* Who is let in: which session of a server a datagram is for, and whether it may begin one or take another's place. */

#include "fec_wire.h"
#include "roam.h"

#define BEGIN_WINDOW 1024 /* segments: stock's server's window, far more than a client sends who has not heard us */

/*
 * Datagrams are lost and overtake each other: any of the first window can be the first to arrive.  What it may grow to
 * later says nothing of that.
 */
static bool begin_early(const struct shard *s, const struct pkt *k, const struct begin *b)
{
	uint32_t window = s->conf.tunnels[k->tunnel].kcp.rcv_wnd;

	return begin_sn(k, b) < (window < BEGIN_WINDOW ? window : BEGIN_WINDOW);
}

/* k belongs to no session: does it begin one?  Else its verdict says why not. */
static bool begins(struct shard *s, struct pkt *k, const struct begin *b)
{
	if (!b->known) {
		bool parity = fec_is_fec(k->p, k->n) && k->p[4] == FEC_TYPE_PAR;

		k->verdict = parity ? DROP_PARITY_ALONE : DROP_SHORT;
		return false;
	}
	if (begin_early(s, k, b))
		return true;
	k->verdict = DROP_STRAY;
	return false;
}

struct sess *admit(struct shard *s, struct pkt *k, uint64_t now)
{
	struct begin b = begin_look(k);
	struct sess *ss = k->sess, *of;

	if (ss && (!b.known || b.conv == ss->conv))
		return ss;
	if (!b.oob && replay_elsewhere(s, k)) {
		k->verdict = DROP_REPLAYED;
		return NULL;
	}
	switch (roam_look(s, k, &b, b.known && begin_early(s, k, &b), &of)) {
	case ROAM_HERE:
		return roam(of, k, &b, now);
	case ROAM_ELSEWHERE:
		if (ss)
			break; /* its own datagrams would go there, too */
		roam_send_home(s, k, b.conv, now);
		return NULL;
	case ROAM_NOT:
		break;
	}
	if (b.oob) {
		ask_stranger(s, k, now);
		return NULL;
	}
	if (ss && begin_sn(k, &b) != 0) {
		k->verdict = DROP_CONV;
		return NULL;
	}
	if (!ss && !begins(s, k, &b))
		return NULL;
	if (ss && !confirm_yields(ss, now)) {
		k->verdict = DROP_RIVAL;
		return NULL;
	}
	if (!origin_admits(s, k, now))
		return NULL;
	if (ss)
		sess_close(ss, DROP_REPLACED, now);
	confirm_evict(s, now);
	ss = sess_open(s, k->tunnel, k->key, k->hash, b.conv, now);
	if (!ss)
		k->verdict = mem_low(&s->accounts[k->tunnel]) ? DROP_NO_MEMORY : DROP_SESSION_LIMIT;
	else
		sess_learn_mac(ss, k);
	return ss;
}
