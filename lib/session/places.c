/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "sess.h"

/*
 * How a worker's places for sessions are shared out among tunnels, so that a flood of one tunnel's keeps no other's
 * out. A client's tunnel has one for each of its slots here.  Of what is left half is shared out evenly among the
 * servers', and half is for whoever comes; one server alone has all of it.
 */

struct places {
	unsigned used, own;
};

static unsigned slots_here(const struct shard *s, const struct shard_tunnel *t)
{
	unsigned n = 0;

	for (unsigned i = 0; t->client && i < t->conn; i++)
		n += t->dials[i].worker_id == s->conf.id;
	return n;
}

int places_up(struct shard *s)
{
	unsigned n = s->conf.n_tunnels, left = s->conf.max_sessions, servers = 0, part;
	bool blank = false;

	s->places = calloc(n, sizeof(*s->places));
	if (!s->places)
		return -ENOMEM;
	for (unsigned t = 0; t < n; t++) {
		unsigned slots = slots_here(s, &s->conf.tunnels[t]);

		s->places[t].own = slots < left ? slots : left;
		left -= s->places[t].own;
		servers += !s->conf.tunnels[t].client && !s->conf.tunnels[t].blank;
		blank |= s->conf.tunnels[t].blank;
	}
	part = servers > 1 || (servers && blank) ? left / (2 * servers) : left;
	for (unsigned t = 0; t < n; t++) {
		if (s->conf.tunnels[t].client || s->conf.tunnels[t].blank)
			continue;
		s->places[t].own = part;
		left -= part;
	}
	s->places_spare = left;
	return 0;
}

void places_down(struct shard *s)
{
	free(s->places);
}

bool places_may(const struct shard *s, unsigned tunnel)
{
	const struct places *p = &s->places[tunnel];

	return p->used < p->own || s->places_over < s->places_spare;
}

void places_take(struct sess *ss)
{
	struct shard *s = ss->shard;
	struct places *p = &s->places[sess_tunnel(ss)];

	if (p->used++ >= p->own)
		s->places_over++;
}

void places_give(struct sess *ss)
{
	struct shard *s = ss->shard;
	struct places *p = &s->places[sess_tunnel(ss)];

	if (p->used-- > p->own)
		s->places_over--;
}

unsigned shard_tunnel_sessions(const struct shard *s, unsigned tunnel)
{
	return __atomic_load_n(&s->places[tunnel].used, __ATOMIC_RELAXED);
}

/* ---- chans of sessions ---- */

/*
 * Where a session's chans are counted, those of streams that have ended included, which control still has: else who
 * opens and closes streams without end would have them all.  Sessions are numbered in turn, so that two in one place
 * are so many sessions apart as there can be at once.
 */
static uint32_t chans_at(const struct sess *ss)
{
	return (uint32_t)ss->id & ss->shard->chans_mask;
}

unsigned chans_of(const struct sess *ss)
{
	return ss->shard->chans_of[chans_at(ss)].all;
}

uint16_t chans_take(struct stream *st, const struct sess *ss)
{
	struct chans_of *of = &st->shard->chans_of[chans_at(ss)];

	st->timer.counted = chans_at(ss) + 1;
	of->all++;
	return of->dials < UINT16_MAX ? (uint16_t)of->dials++ : UINT16_MAX;
}

void chans_dialled(struct stream *st)
{
	struct chans_of *of;

	if (!st->timer.counted || (st->flags & ST_DIALLED))
		return;
	of = &st->shard->chans_of[st->timer.counted - 1];
	st->flags |= ST_DIALLED;
	of->dials -= of->dials != 0;
}

void chans_give(struct stream *st)
{
	chans_dialled(st);
	if (st->timer.counted)
		st->shard->chans_of[st->timer.counted - 1].all--;
}
