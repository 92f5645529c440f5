/* SPDX-License-Identifier: MIT */

/*
 * A client whose own address is another now.  What it sends from the old one is not answered any more.  A server that
 * lets sessions move hears of the new one by the session's next datagram; for any other the session is over, and the
 * next connection dials.  A port of sockets has the kernel choose, and no address here.
 */

#include "roam.h"

/* The replies come home by the ports' hash: which is not to be asked for here. */
static bool steer(struct sess *ss, uint64_t now)
{
	const struct shard *s = ss->shard;

	return s->conf.roam && flow_move(s->conf.roam, &ss->key, ss->hash, (uint16_t)s->conf.id, true, now);
}

static void go_on(struct sess *ss, const struct addr *local, uint64_t now)
{
	struct shard *s = ss->shard;
	struct flow_key key = ss->key;
	uint32_t hash;

	key.local = *local;
	hash = flow_hash(&key);
	if (ss->steered)
		flow_move_end(s->conf.roam, &ss->key, ss->hash);
	flow_del(s->flows, &ss->key, ss->hash);
	roam_rekey(ss, &key, hash, false, now);
	if (flow_add(s->flows, &key, hash, ss)) {
		sess_close(ss, DROP_ADDRESS_GONE, now);
		return;
	}
	ss->steered = steer(ss, now);
	s->stats.moves++;
	mux_keepalive(&ss->mux);
	kcp_lost(&ss->kcp, 1);
	sess_ready(ss);
}

/* False: there is no other address yet. */
static bool home(struct sess *ss, uint64_t now)
{
	const struct net_tbl *t = ss->shard->tbl;
	struct net_hop hop;

	if (addr_is_any(&ss->key.local) || net_is_local(t, &ss->key.local))
		return true;
	if (net_resolve_in(t, ss->key.dev, &ss->key.peer, NULL, ss->hash, &hop))
		return false;
	if (mux_peer_roams(&ss->mux) && ss->proto == FLOW_UDP)
		go_on(ss, &hop.src, now);
	else
		sess_close(ss, DROP_ADDRESS_GONE, now);
	return true;
}

void homes_look(struct shard *s, uint64_t now)
{
	bool all = true;

	s->homes_at = UINT64_MAX;
	if (!s->tbl)
		return; /* a simulation */
	for (unsigned t = 0; t < s->conf.n_tunnels; t++)
		for (unsigned i = 0; s->slots[t] && i < s->conf.tunnels[t].conn; i++)
			if (s->slots[t][i].sess)
				all &= home(s->slots[t][i].sess, now);
	if (!all)
		s->homes_at = now + HOME_MS;
}
