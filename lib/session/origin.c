/* SPDX-License-Identifier: MIT */
#include "origin.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "sess.h"
#include "siphash.h"

#define WAYS	  8	     /* cells of a line of the caches */
#define LINES	  2	     /* that one hash names */
#define CELLS_MIN 64	     /* of a table */
#define CELLS_MAX (1u << 26) /* 512 MB */
#define TRIES	  64	     /* steps lost to other workers, before a session goes uncounted */

/* A count's cell: 40 bits of the hash, and how many.  0 of them: nobody's. */
#define COUNT_BITS 24
#define COUNT_MASK ((1ull << COUNT_BITS) - 1)
/* A rate's: 16 bits of the hash, and the time in us. */
#define TIME_BITS 48
#define TIME_MASK ((1ull << TIME_BITS) - 1)

struct table {
	_Atomic uint64_t *cell;
	uint32_t lines; /* a power of two, less one */
};

struct origins {
	struct origins_conf conf;
	struct table address, prefix, rate;
	_Atomic unsigned address_most, prefix_most;
	_Atomic uint64_t step, reach; /* us: for a session, 0: no limit; that the time may be ahead */
	_Atomic uint64_t uncounted;
	_Atomic uint32_t tunnel[]; /* sessions */
};

static int table_up(struct table *t, uint64_t sessions)
{
	uint64_t cells = CELLS_MIN;

	while (cells < 2 * sessions && cells < CELLS_MAX)
		cells *= 2;
	t->lines = (uint32_t)(cells / WAYS - 1);
	/* Of zeroed pages that are not there yet.  A line may lie in two of the caches' for that. */
	t->cell = calloc(cells, sizeof(*t->cell));
	return t->cell ? 0 : -ENOMEM;
}

void origins_limit(struct origins *o, const struct origins_conf *conf)
{
	uint64_t step = conf->rate ? 1000000 / conf->rate : 0;

	o->conf.rate = conf->rate;
	o->conf.burst = conf->burst;
	o->address_most = conf->address;
	o->prefix_most = conf->prefix;
	o->reach = step * conf->burst;
	o->step = step;
}

int origins_create(struct origins **out, const struct origins_conf *conf)
{
	struct origins *o = calloc(1, sizeof(*o) + conf->n_tunnels * sizeof(o->tunnel[0]));

	if (!o)
		return -ENOMEM;
	o->conf = *conf;
	origins_limit(o, conf);
	if (table_up(&o->address, conf->sessions) || table_up(&o->prefix, conf->sessions) ||
	    table_up(&o->rate, conf->sessions)) {
		origins_destroy(o);
		return -ENOMEM;
	}
	*out = o;
	return 0;
}

void origins_destroy(struct origins *o)
{
	if (!o)
		return;
	free(o->address.cell);
	free(o->prefix.cell);
	free(o->rate.cell);
	free(o);
}

/* ---- where from ---- */

/* A link-local address says nothing without its link. */
static uint64_t hash_address(const struct origins *o, const struct flow_key *key)
{
	uint64_t word[3] = {0, 0, key->dev};

	memcpy(word, &key->peer, sizeof(key->peer));
	return siphash_words(o->conf.key, word, 3);
}

static uint64_t hash_prefix(const struct origins *o, const struct flow_key *key)
{
	struct addr a = key->peer;
	uint64_t word[3] = {0, 0, key->dev};
	unsigned bytes = addr_is_v4(&a) ? 15 : 7;

	memset(a.b + bytes, 0, sizeof(a.b) - bytes);
	memcpy(word, &a, sizeof(a));
	return siphash_words(o->conf.key, word, 3);
}

/* The lines that a hash names, by bits that no tag has: the second by a multiple, to which the tag gives its part. */
static _Atomic uint64_t *line_of(const struct table *t, uint64_t h, unsigned i)
{
	uint64_t at = i ? (h * 0x9e3779b97f4a7c15) >> 32 : h;

	return t->cell + (at & t->lines) * WAYS;
}

static uint64_t look(const _Atomic uint64_t *cell)
{
	return atomic_load_explicit(cell, memory_order_relaxed);
}

/* ---- counts ---- */

static bool is_of(uint64_t v, uint64_t h)
{
	return v >> COUNT_BITS == h >> COUNT_BITS && (v & COUNT_MASK);
}

/* Of two workers that come first at once each may have taken a cell: they are added up. */
static uint64_t count_of(const struct table *t, uint64_t h)
{
	uint64_t sum = 0;

	for (unsigned l = 0; l < LINES; l++) {
		const _Atomic uint64_t *line = line_of(t, h, l);

		if (l && line == line_of(t, h, 0))
			break;
		for (unsigned i = 0; i < WAYS; i++)
			if (is_of(look(&line[i]), h))
				sum += look(&line[i]) & COUNT_MASK;
	}
	return sum;
}

/* Its own cell, or one that is nobody's, of the line with more of those; NULL: all are others'. */
static _Atomic uint64_t *cell_for(const struct table *t, uint64_t h)
{
	_Atomic uint64_t *none = NULL;
	unsigned most = 0;

	for (unsigned l = 0; l < LINES; l++) {
		_Atomic uint64_t *line = line_of(t, h, l), *last = NULL;
		unsigned n = 0;

		for (unsigned i = 0; i < WAYS; i++) {
			uint64_t v = look(&line[i]);

			if (is_of(v, h))
				return &line[i];
			if (!(v & COUNT_MASK)) {
				last = &line[i];
				n++;
			}
		}
		if (n > most) {
			most = n;
			none = last;
		}
	}
	return none;
}

/* Counts one more: the cell's number and 1, or 0 where there is none to be had. */
static uint32_t count_take(const struct table *t, uint64_t h)
{
	for (unsigned i = 0; i < TRIES; i++) {
		_Atomic uint64_t *cell = cell_for(t, h);
		uint64_t v = cell ? look(cell) : 0, one;

		if (!cell || (v & COUNT_MASK) == COUNT_MASK)
			return 0;
		one = is_of(v, h) ? v + 1 : (h & ~COUNT_MASK) | 1;
		if ((is_of(v, h) || !(v & COUNT_MASK)) && atomic_compare_exchange_strong(cell, &v, one))
			return (uint32_t)(cell - t->cell) + 1;
	}
	return 0;
}

/* Nobody takes a cell while it counts anything. */
static void count_give(const struct table *t, uint32_t at)
{
	if (at)
		atomic_fetch_sub_explicit(&t->cell[at - 1], 1, memory_order_relaxed);
}

/* ---- how many a second ---- */

static bool is_time_of(uint64_t v, uint64_t h)
{
	return v >> TIME_BITS == h >> TIME_BITS;
}

/* Its own cell, or one whose time has gone by, likewise; NULL: all are others', who begin just now. */
static _Atomic uint64_t *time_for(const struct table *t, uint64_t h, uint64_t us)
{
	_Atomic uint64_t *gone = NULL;
	unsigned most = 0;

	for (unsigned l = 0; l < LINES; l++) {
		_Atomic uint64_t *line = line_of(t, h, l), *last = NULL;
		unsigned n = 0;

		for (unsigned i = 0; i < WAYS; i++) {
			uint64_t v = look(&line[i]);

			if (is_time_of(v, h) && (v & TIME_MASK) > us)
				return &line[i];
			if ((v & TIME_MASK) <= us) {
				last = &line[i];
				n++;
			}
		}
		if (n > most) {
			most = n;
			gone = last;
		}
	}
	return gone;
}

static bool rate_admits(const struct origins *o, uint64_t h, uint64_t us)
{
	uint64_t step = o->step, reach = o->reach;

	for (unsigned i = 0; step && i < TRIES; i++) {
		_Atomic uint64_t *cell = time_for(&o->rate, h, us);
		uint64_t v = cell ? look(cell) : 0, at = us;

		if (!cell)
			return true;
		if ((v & TIME_MASK) > us) {
			if (!is_time_of(v, h))
				continue;
			at = v & TIME_MASK;
		}
		if (at + step > us + reach)
			return false;
		if (atomic_compare_exchange_strong(cell, &v, (h & ~TIME_MASK) | ((at + step) & TIME_MASK)))
			return true;
	}
	return true;
}

/* ---- the shard's ---- */

static bool within(const struct table *t, uint64_t h, unsigned limit)
{
	return !limit || count_of(t, h) < limit;
}

/* One that is to be replaced has its place in every count, but its tokens are spent. */
static unsigned refusal(const struct origins *o, const struct shard *s, const struct pkt *k, uint64_t now)
{
	unsigned most = s->conf.tunnels[k->tunnel].max_sessions;
	uint64_t h;

	if (s->conf.tunnels[k->tunnel].drain_at)
		return DROP_DRAINING;
	if (!k->sess && s->n_all < s->conf.max_sessions && !places_may(s, k->tunnel))
		return DROP_TUNNEL_LIMIT;
	if (!o)
		return VERDICT_OK;
	if (!k->sess && most && atomic_load_explicit(&o->tunnel[k->tunnel], memory_order_relaxed) >= most)
		return DROP_TUNNEL_LIMIT;
	h = hash_address(o, k->key);
	if (!k->sess && !within(&o->address, h, o->address_most))
		return DROP_ADDRESS_LIMIT;
	if (!k->sess && !within(&o->prefix, hash_prefix(o, k->key), o->prefix_most))
		return DROP_PREFIX_LIMIT;
	return rate_admits(o, h, shard_us(s, now)) ? VERDICT_OK : DROP_SESSION_RATE;
}

bool origin_admits(struct shard *s, struct pkt *k, uint64_t now)
{
	unsigned why = refusal(s->conf.origins, s, k, now);

	if (!why)
		return true;
	k->verdict = (uint8_t)why;
	return false;
}

void origin_take(struct sess *ss)
{
	struct origins *o = ss->shard->conf.origins;

	if (!o || ss->tun->client)
		return;
	ss->origin[0] = count_take(&o->address, hash_address(o, &ss->key));
	ss->origin[1] = count_take(&o->prefix, hash_prefix(o, &ss->key));
	if (!ss->origin[0] || !ss->origin[1])
		atomic_fetch_add_explicit(&o->uncounted, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&o->tunnel[sess_tunnel(ss)], 1, memory_order_relaxed);
}

void origin_give(struct sess *ss)
{
	struct origins *o = ss->shard->conf.origins;

	if (!o || ss->tun->client)
		return;
	count_give(&o->address, ss->origin[0]);
	count_give(&o->prefix, ss->origin[1]);
	atomic_fetch_sub_explicit(&o->tunnel[sess_tunnel(ss)], 1, memory_order_relaxed);
}

/* ---- for telemetry ---- */

static void table_look(const struct table *t, uint64_t *used, uint64_t *most)
{
	*used = *most = 0;
	for (uint64_t i = 0; i < ((uint64_t)t->lines + 1) * WAYS; i++) {
		uint64_t n = look(&t->cell[i]) & COUNT_MASK;

		*used += n != 0;
		if (n > *most)
			*most = n;
	}
}

void origins_look(const struct origins *o, struct origins_look *out)
{
	*out = (struct origins_look){
		.address_limit = o->address_most,
		.prefix_limit = o->prefix_most,
		.rate = o->conf.rate,
		.burst = o->conf.burst,
		.uncounted = atomic_load_explicit(&o->uncounted, memory_order_relaxed),
	};
	table_look(&o->address, &out->addresses, &out->address_most);
	table_look(&o->prefix, &out->prefixes, &out->prefix_most);
}

unsigned origins_of_tunnel(const struct origins *o, unsigned tunnel)
{
	return atomic_load_explicit(&o->tunnel[tunnel], memory_order_relaxed);
}
