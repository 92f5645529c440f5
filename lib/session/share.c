/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "sess.h"

/*
 * Who pays when memory runs out.  Accounts (mem.h) refuse first whoever is beyond its share; when one within it lacks
 * memory all the same, the session that holds most is closed.  Sessions that hold MEM_LEAST or more stand on lists by
 * powers of two, so that it is found without a search.
 */

#define MOST_LOOKS 64 /* sessions that a search passes by, for they are in other tunnels' shares */

static size_t or_all(size_t limit)
{
	return limit ? limit : SIZE_MAX;
}

/* What the tunnel may not have anyway is no share of its own. */
static void account_open(struct shard *s, unsigned tunnel, size_t share)
{
	size_t most = or_all(s->conf.tunnels[tunnel].memory);

	mem_tunnel(&s->accounts[tunnel], s->mem, share < most ? share : most);
	mem_bound(&s->accounts[tunnel], most, or_all(s->conf.session_bytes));
}

/* Half of the heap is shared out among the tunnels, half is for whoever comes first, those that are added later too;
 * one tunnel has all of it. */
int share_up(struct shard *s)
{
	unsigned n = s->conf.n_tunnels, those = 0;
	size_t share;

	for (unsigned t = 0; t < n; t++)
		those += !s->conf.tunnels[t].blank;
	share = mem_spare(s->mem) / (n > 1 ? 2 * those : 1);

	for (unsigned c = 0; c < HEAVY_CLASSES; c++)
		list_init(&s->heavy[c]);
	s->accounts = calloc(n, sizeof(*s->accounts));
	if (!s->accounts)
		return -ENOMEM;
	for (unsigned t = 0; t < n; t++)
		account_open(s, t, s->conf.tunnels[t].blank ? 0 : share);
	return 0;
}

void share_down(struct shard *s)
{
	free(s->accounts);
}

static struct mem_tunnel *account_of(const struct sess *ss)
{
	return &ss->shard->accounts[sess_tunnel(ss)];
}

void share_open(struct sess *ss)
{
	struct mem_tunnel *t = account_of(ss);

	mem_session(&ss->mem, t, false);
	mem_session(&ss->mem_in, t, true);
	mem_beside(&ss->mem, &ss->mem_in);
	list_init(&ss->heavy);
	ss->weight = 0;
}

static size_t held_by(const struct sess *ss)
{
	return ss->mem.used + ss->mem_in.used;
}

static unsigned weight_of(size_t used)
{
	unsigned c;

	if (used < MEM_LEAST)
		return 0;
	c = 48 - (unsigned)__builtin_clzll(used); /* 1 from MEM_LEAST on */
	return c < HEAVY_CLASSES ? c : HEAVY_CLASSES - 1;
}

static void list_off(struct sess *ss)
{
	struct shard *s = ss->shard;

	list_del(&ss->heavy);
	if (list_empty(&s->heavy[ss->weight]))
		s->heavies &= ~(1u << ss->weight);
}

void share_look(struct sess *ss)
{
	struct shard *s = ss->shard;
	unsigned weight = weight_of(held_by(ss));

	if (weight != ss->weight) {
		list_off(ss);
		ss->weight = (uint8_t)weight;
		if (weight) {
			list_add_tail(&s->heavy[weight], &ss->heavy);
			s->heavies |= 1u << weight;
		}
	}
	if (ss->mem.missed || ss->mem_in.missed) {
		shard_drop(s, ss->mem.missed && ss->mem.full ? DROP_OVER_SHARE : DROP_NO_MEMORY);
		/* One that has its MEM_LEAST goes on with it, slower, if nothing holds it up: nobody is closed for
		 * that. */
		if (!s->short_of_mem && share_why(ss) == DROP_NO_MEMORY &&
		    (ss->mem_in.missed || held_by(ss) < MEM_LEAST))
			s->short_of_mem = ss;
		ss->mem.missed = ss->mem_in.missed = false;
	}
}

void share_close(struct sess *ss)
{
	list_off(ss);
	if (ss->shard->short_of_mem == ss)
		ss->shard->short_of_mem = NULL;
}

unsigned share_why(const struct sess *ss)
{
	bool greedy = (ss->mem.missed && ss->mem.greedy) || (ss->mem_in.missed && ss->mem_in.greedy);

	return greedy ? DROP_OVER_SHARE : DROP_NO_MEMORY;
}

/* May it be closed to make room for ss?  Not for one of another tunnel while its own is within its share, or where that
 * would not help. */
static bool may_pay(const struct sess *pays, const struct sess *ss)
{
	const struct mem_tunnel *t = account_of(pays);

	return held_by(pays) > 2 * held_by(ss) &&
	       (pays->tun == ss->tun || (t->own.used > t->share && !mem_is_bound(account_of(ss))));
}

bool share_relieve(struct sess *ss, uint64_t now)
{
	struct shard *s = ss->shard;
	unsigned looks = 0;

	for (uint32_t left = s->heavies; left;) {
		unsigned c = 31 - (unsigned)__builtin_clz(left);

		left &= ~(1u << c);
		list_for_each_safe (l, next, &s->heavy[c]) {
			struct sess *pays = container_of(l, struct sess, heavy);

			if (may_pay(pays, ss)) {
				sess_close(pays, DROP_OVER_SHARE, now);
				return true;
			}
			if (++looks == MOST_LOOKS)
				return false;
		}
	}
	return false;
}

void share_tick(struct shard *s, uint64_t now)
{
	struct sess *ss = s->short_of_mem;

	s->short_of_mem = NULL;
	if (ss)
		share_relieve(ss, now);
}

size_t shard_tunnel_mem(const struct shard *s, unsigned tunnel)
{
	return s->accounts[tunnel].own.used;
}

size_t shard_tunnel_share(const struct shard *s, unsigned tunnel)
{
	return s->accounts[tunnel].share;
}
