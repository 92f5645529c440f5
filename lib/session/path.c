/* SPDX-License-Identifier: MIT */
#include <rte_mbuf.h>

#include "sess.h"

#define HASH_SPREAD 2654435761u /* the flow's hash as its home does not use it */

void sess_learn_mac(struct sess *ss, const struct pkt *k)
{
	struct rte_mbuf *m = k->own;

	if (!m || m->data_len < 12)
		return;
	/* The frame of an authenticated datagram: a way back until the kernel's tables tell a better one. */
	memcpy(ss->reply_mac, rte_pktmbuf_mtod_offset(m, uint8_t *, 6), 6);
	ss->reply_dev = k->dev;
	ss->mac_known = true;
}

/* Asks control to have the kernel resolve the next hop. */
static void path_ask(const struct sess *ss, const struct net_hop *hop)
{
	struct note n = {.type = NOTE_NEIGH, .worker = (uint16_t)ss->shard->conf.id};

	n.tunnel = (uint16_t)sess_tunnel(ss);
	n.key.peer = hop->via;
	n.key.dev = hop->dev;
	border_note(ss->shard->border, &n);
}

/*
 * Where to send: by the kernel's routes and neighbours; where those do not know (yet), back to the link address that an
 * authenticated datagram came from.  Sets path_why and returns false when there is no way.
 */
static bool path_hop(struct sess *ss, struct net_hop *hop)
{
	int ret =
		net_resolve_in(ss->shard->tbl, ss->key.dev, &ss->key.peer, &ss->key.local, ss->hash * HASH_SPREAD, hop);

	if (ret == 0 && hop->resolved)
		return true;
	if (ret == 0)
		path_ask(ss, hop);
	ss->path_why = ret ? DROP_NO_ROUTE : DROP_NO_NEIGHBOUR;
	hop->dev = ss->reply_dev;
	memcpy(hop->mac, ss->reply_mac, 6);
	return ss->mac_known;
}

static void path_build(struct sess *ss, uint64_t now)
{
	const struct net_tbl *t = ss->shard->tbl;
	struct net_ends ends = {.key = &ss->key, .traffic_class = ss->tun->traffic_class, .mark = ss->pmtu.mark};
	struct net_hop hop = {0};

	ss->path_ok = path_hop(ss, &hop);
	if (ss->path_ok)
		pmtu_link(ss, t->dev[hop.dev].mtu, now);
	ss->path_gen = t->gen;
	if (hop.resolved)
		ss->path_retry = UINT64_MAX;
	else if (ss->path_retry <= now || ss->path_retry == UINT64_MAX)
		ss->path_retry = now + PATH_RETRY_MS;
	if (!ss->path_ok)
		return;
	ss->hop_waited = false;
	memcpy(ends.dst_mac, hop.mac, 6);
	memcpy(ends.src_mac, t->dev[hop.dev].mac, 6);
	ends.csum = ss->shard->conf.dev_csum[hop.dev];
	ends.dev = hop.dev;
	ends.most = t->dev[hop.dev].sockets || ss->pmtu.now == ss->pmtu.want ? 0 : ss->pmtu.now;
	ends.cuttable = pmtu_is_least(ss);
	net_path_init(&ss->path, &ends);
}

/*
 * Whether the way is to be looked up again.  Routes may change ten thousand times a second, few of them this session's:
 * a few snapshots that differ in nothing else are followed at once, for what happens to one way comes in several, and
 * then only so many in a while.
 */
static bool path_old(struct sess *ss, uint64_t now)
{
	const struct net_tbl *t = ss->shard->tbl;

	if (ss->path_gen == t->gen)
		return false;
	if (t->gen_here > ss->path_gen)
		return true;
	if ((uint32_t)now - ss->path_from >= PATH_LOOK_MS) {
		ss->path_from = (uint32_t)now;
		ss->path_looks = 0;
	}
	return ss->path_looks < PATH_LOOKS && ++ss->path_looks;
}

const struct net_path *shard_path(struct shard *s, struct sess *ss, uint64_t now, unsigned *why)
{
	if (now >= ss->path_retry || path_old(ss, now))
		path_build(ss, now);
	*why = ss->path_why;
	return ss->path_ok ? &ss->path : NULL;
}

/*
 * A next hop that the kernel is asked for is mostly known a moment later, and what leaves before is lost: the first
 * datagrams of all, for which there is no measured time yet in which they could be missed.  The kernel keeps what it
 * has for such a hop; here it stays where it is.  One that does not come is not waited for for ever: sessions live and
 * die by what they send.
 */
bool sess_lacks_hop(struct sess *ss, uint64_t now)
{
	unsigned why;

	/* Without a table nobody asks for paths: a simulation. */
	if (ss->path_ok || !ss->shard->tbl || shard_path(ss->shard, ss, now, &why))
		return false;
	return ss->path_why == DROP_NO_NEIGHBOUR && !ss->hop_waited;
}

void hop_tick(struct shard *s, uint64_t now)
{
	while (hop_next(s) <= now) {
		struct list *e = list_pop(&s->hopless);

		container_of(e, struct sess, ready)->hop_waited = true;
		list_add_tail(&s->ready, e);
	}
}

uint64_t hop_next(const struct shard *s)
{
	if (list_empty(&s->hopless))
		return UINT64_MAX;
	return container_of(s->hopless.next, struct sess, ready)->path_retry;
}

/* However late it is served then, that is not the worker's doing. */
static bool park(struct sess *ss, struct list *where)
{
	ss->pace_due = false;
	list_del(&ss->ready);
	list_add_tail(where, &ss->ready);
	return true;
}

bool sess_park(struct sess *ss, uint64_t now)
{
	struct shard *s = ss->shard;
	const struct net_path *path;
	unsigned why;

	if (sess_lacks_hop(ss, now))
		return park(ss, &s->hopless);
	if (!s->held)
		return false;
	path = shard_path(s, ss, now, &why);
	return path && s->held >> path->dev & 1 && park(ss, &s->parked);
}

void shard_hold(struct shard *s, uint32_t ports)
{
	if (s->held & ~ports)
		list_splice_tail(&s->ready, &s->parked);
	s->held = ports;
}
