/* SPDX-License-Identifier: MIT */

/*
 * Fake TCP's beginning on a client: a SYN every second until it is answered, and the flow's first numbers from that
 * answer.  A server needs none of this: its flows begin with the first datagram that opens, whatever came before.
 */

#include "sess.h"

static void tcp_knock(struct sess *ss, uint64_t now)
{
	ss->knock_at = now + KNOCK_MS;
	if (list_empty(&ss->knock))
		list_add_tail(&ss->shard->knocks, &ss->knock);
}

void tcp_begin(struct sess *ss, uint64_t now)
{
	ss->tcp.seq = ss->conv ^ ss->hash; /* as random as they are */
	tcp_knock(ss, now);
}

void tcp_timer(struct sess *ss, uint64_t now)
{
	if (now >= ss->knock_at)
		tcp_knock(ss, now);
	sess_rearm(ss);
}

struct sess *shard_knock(struct shard *s, uint64_t now)
{
	struct list *e;

	while ((e = list_pop(&s->knocks))) {
		struct sess *ss = container_of(e, struct sess, knock);

		if (!sess_lacks_hop(ss, now))
			return ss;
		ss->knock_at = now + KNOCK_HOP_MS;
		sess_rearm(ss);
	}
	return NULL;
}

bool shard_syn_answered(const struct pkt *k)
{
	struct sess *ss = k->sess;

	if (!ss || ss->closed || !ss->tun->client)
		return false;
	if (ss->knock_at == UINT64_MAX)
		return true; /* said again: our acknowledgement was lost */
	if (k->tcp_ack != ss->tcp.seq + 1)
		return false; /* to another SYN: of a flow that these ports had before */
	net_tcp_take(&ss->tcp, k);
	ss->knock_at = UINT64_MAX;
	list_del(&ss->knock);
	sess_ready(ss);
	sess_rearm(ss);
	return true;
}

struct net_tcp *shard_tcp(struct sess *ss)
{
	return &ss->tcp;
}
