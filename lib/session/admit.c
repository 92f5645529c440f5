/* SPDX-License-Identifier: MIT */

/* Who is let in: which session of a server a datagram is for, and whether it may begin one or take another's place. */

#include "fec_wire.h"
#include "sess.h"

#define BEGIN_WINDOW 1024 /* segments: stock's server's window, far more than a client sends who has not heard us */

/* k belongs to no session: does it begin one?  Else its verdict says why not. */
static bool begins(struct shard *s, struct pkt *k, const struct begin *b)
{
	uint32_t window = s->conf.tunnels[k->tunnel].kcp.rcv_wnd;

	if (!b->known) {
		bool parity = fec_is_fec(k->p, k->n) && k->p[4] == FEC_TYPE_PAR;

		k->verdict = parity ? DROP_PARITY_ALONE : DROP_SHORT;
		return false;
	}
	/*
	 * Datagrams are lost and overtake each other: any of the first window can be the first to arrive.  What it may
	 * grow to later says nothing of that.
	 */
	if (begin_sn(k, b) < (window < BEGIN_WINDOW ? window : BEGIN_WINDOW))
		return true;
	k->verdict = DROP_STRAY;
	return false;
}

struct sess *admit(struct shard *s, struct pkt *k, uint64_t now)
{
	struct begin b = begin_look(k);
	struct sess *ss = k->sess;

	if (ss && (!b.known || b.conv == ss->conv))
		return ss;
	if (b.oob) {
		ask_stranger(s, k, now);
		return NULL;
	}
	if (replay_elsewhere(s, k)) {
		k->verdict = DROP_REPLAYED;
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
