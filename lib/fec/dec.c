/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fastdiv.h"
#include "fec_codec.h"
#include "fec_recover.h"
#include "fec_tune.h"

#define GROUPS (FEC_GROUPS_BEHIND + 1)

/* Packets kept of one group; when the group is over it waits on the decoder's list until `freed` had room for all. */
struct block {
	struct block *next;
	uint16_t n, cap;
	uint16_t n_own; /* of them, those in the caller's memory */
	struct fec_shard s[];
};

struct group {
	uint32_t id;
	uint16_t n_data; /* data packets among the kept */
	bool used;
	bool done;	   /* complete, and what can still come is less than ds packets: nothing is kept any more */
	struct block *blk; /* NULL until something is kept */
	uint64_t seen[FEC_MAX_SHARDS / 64];
};

struct fec_dec {
	struct mem *mem;
	struct snmp *cnt;
	struct fec_tune *tune; /* NULL until the first packet */
	struct block *dead;
	uint32_t paws;
	uint32_t ids;	 /* number of group ids: they run 0 .. ids - 1 */
	uint32_t newest; /* group id */
	struct fastdiv by_size;
	uint8_t ds, ps;
	uint8_t held; /* groups in use */
	bool started; /* `newest` is one */
	bool should_tune;
	struct group group[GROUPS];
};

static size_t block_len(unsigned cap)
{
	return sizeof(struct block) + cap * sizeof(struct fec_shard);
}

/* Divides, and is a function of its own for that: what every packet comes by does not. */
static __attribute__((noinline)) void dec_params(struct fec_dec *d, unsigned ds, unsigned ps)
{
	d->by_size = fastdiv_by(ds + ps);
	d->ds = (uint8_t)ds;
	d->ps = (uint8_t)ps;
	d->paws = fec_paws(ds + ps);
	d->ids = d->paws / (ds + ps);
	d->started = false;
}

struct fec_dec *fec_dec_create(const struct fec_codec *codec, struct mem *mem, struct snmp *cnt)
{
	struct fec_dec *d = mem_get(mem, sizeof(*d));

	if (!d)
		return NULL;
	*d = (struct fec_dec){.mem = mem, .cnt = cnt};
	dec_params(d, codec ? codec->ds : 1, codec ? codec->ps : 1);
	return d;
}

void fec_dec_destroy(struct fec_dec *d)
{
	if (d)
		mem_put(d->mem, d, sizeof(*d));
}

void fec_dec_params(const struct fec_dec *d, unsigned *ds, unsigned *ps)
{
	*ds = d->ds;
	*ps = d->ps;
}

/* Empties a group as a decode does; its packets wait for `freed`. */
static void group_empty(struct fec_dec *d, struct group *g)
{
	if (g->blk) {
		g->blk->next = d->dead;
		d->dead = g->blk;
		g->blk = NULL;
	}
	g->n_data = 0;
	memset(g->seen, 0, sizeof(g->seen));
}

static void groups_drop(struct fec_dec *d)
{
	for (unsigned i = 0; i < GROUPS; i++) {
		group_empty(d, &d->group[i]);
		d->group[i].used = false;
	}
	d->held = 0;
}

/* Gives back what is on the dead list, at most max handles. */
static unsigned drain(struct fec_dec *d, void **freed, unsigned max)
{
	unsigned k = 0;
	struct block *b;

	while ((b = d->dead)) {
		while (b->n) {
			const struct fec_shard *s = &b->s[b->n - 1];

			if (!s->own)
				mem_put(d->mem, (void *)s->p, s->n);
			else if (k < max)
				freed[k++] = s->own;
			else
				return k;
			b->n--;
		}
		d->dead = b->next;
		mem_put(d->mem, b, block_len(b->cap));
	}
	return k;
}

unsigned fec_dec_release(struct fec_dec *d, void **freed, unsigned max)
{
	groups_drop(d);
	fec_tune_free(&d->tune, d->mem);
	return drain(d, freed, max);
}

/* Signed distance of two group ids on the circle that the seqids' wrap makes of them. */
static int64_t id_diff(const struct fec_dec *d, uint32_t a, uint32_t b)
{
	int64_t diff = (int64_t)a - b;

	if (diff > d->ids / 2)
		diff -= d->ids;
	else if (diff < -(int64_t)(d->ids / 2))
		diff += d->ids;
	return diff;
}

/* Moves the window of groups so that `id` is not ahead of it; returns false when `id` is behind it. */
static bool window_move(struct fec_dec *d, uint32_t id)
{
	int64_t ahead = d->started ? id_diff(d, id, d->newest) : 1;

	if (ahead <= 0)
		return -ahead <= FEC_GROUPS_BEHIND;
	d->started = true;
	d->newest = id;
	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *g = &d->group[i];

		if (g->used && id_diff(d, id, g->id) > FEC_GROUPS_BEHIND) {
			group_empty(d, g);
			g->used = false;
			d->held--;
		}
	}
	return true;
}

/* The group `id`, which is within the window: found, or made.  The window has a place for each of its groups. */
static struct group *group_at(struct fec_dec *d, uint32_t id)
{
	struct group *place = NULL;

	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *g = &d->group[i];

		if (!g->used)
			place = g;
		else if (g->id == id)
			return g;
	}
	place->used = true;
	place->done = false;
	place->id = id;
	d->held++;
	return place;
}

/* Holds on to a packet until its group is complete or given up: the caller's own memory, or a copy. */
static unsigned keep(struct fec_dec *d, struct group *g, const struct pkt *in, uint8_t idx, struct fec_got *got)
{
	struct fec_shard s = {
		.p = in->p + FEC_BODY_OFF, .own = in->own, .n = (uint16_t)(in->n - FEC_BODY_OFF), .idx = idx};

	if (!g->blk) {
		g->blk = mem_get(d->mem, block_len(d->ds - 1u));
		if (!g->blk)
			return DROP_NO_MEMORY;
		g->blk->n = g->blk->n_own = 0;
		g->blk->cap = (uint16_t)(d->ds - 1);
	}
	if (!s.own) {
		uint8_t *copy = mem_get(d->mem, s.n);

		if (!copy)
			return DROP_NO_MEMORY;
		s.p = memcpy(copy, s.p, s.n);
	}
	g->blk->s[g->blk->n++] = s;
	g->blk->n_own += s.own != NULL;
	if (idx < d->ds)
		g->n_data++;
	got->kept = s.own != NULL;
	return 0;
}

/* Puts a copy in the place of a packet in the caller's memory.  Without memory for it, it is as if it had been lost. */
static void *copy_shard(struct fec_dec *d, struct group *g, struct fec_shard *s)
{
	void *own = s->own;
	uint8_t *copy = mem_get(d->mem, s->n);

	g->blk->n_own--;
	s->own = NULL;
	if (copy) {
		mem_prefetch(d->mem, s->n); /* for the next, which is likely to be as long */
		s->p = memcpy(copy, s->p, s->n);
		return own;
	}
	d->cnt->FECErrs++;
	if (s->idx < d->ds)
		g->n_data--;
	g->seen[s->idx / 64] &= ~(UINT64_C(1) << (s->idx % 64));
	*s = g->blk->s[--g->blk->n];
	return own;
}

unsigned fec_dec_let_go(struct fec_dec *d, void **freed, unsigned max)
{
	unsigned k = drain(d, freed, max);

	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *g = &d->group[i];
		unsigned at = g->blk ? g->blk->n : 0;

		/* From the end: the latest are there, and what a loss moves was looked at. */
		while (at-- > 0 && g->blk->n_own && k < max)
			if (g->blk->s[at].own)
				freed[k++] = copy_shard(d, g, &g->blk->s[at]);
	}
	return k;
}

/* With `in` the group has ds packets: rebuilds what is missing, and empties it.  g may be NULL when ds is 1. */
static void complete(struct fec_dec *d, struct group *g, const struct pkt *in, uint8_t idx, uint8_t *scratch,
		     struct fec_got *got)
{
	struct fec_shard s[FEC_MAX_SHARDS];
	unsigned n = g && g->blk ? g->blk->n : 0;
	unsigned n_data = (g ? g->n_data : 0u) + (idx < d->ds);

	if (n_data == d->ds) {
		d->cnt->FECFullShardSet++;
	} else {
		if (n)
			memcpy(s, g->blk->s, n * sizeof(s[0]));
		s[n] = (struct fec_shard){.p = in->p + FEC_BODY_OFF, .n = (uint16_t)(in->n - FEC_BODY_OFF), .idx = idx};
		d->cnt->FECRecovered += fec_recover(s, d->ds, scratch, got);
	}
	if (g) {
		group_empty(d, g);
		g->done = d->ps < d->ds;
	}
}

/* Puts a packet that fits its place into its group. */
static unsigned group_take(struct fec_dec *d, const struct pkt *in, uint32_t id, uint8_t idx, uint8_t *scratch,
			   struct fec_got *got)
{
	struct group *g = window_move(d, id) ? group_at(d, id) : NULL;
	unsigned drop = 0;

	/* Of the decoder that ran last: several sessions share the counters. */
	d->cnt->FECShardSet = d->held;
	d->cnt->FECShardMin = d->newest;
	if (g && (g->seen[idx / 64] >> (idx % 64) & 1))
		return 0;
	if ((g && g->blk ? g->blk->n : 0) + 1u == d->ds) {
		complete(d, g, in, idx, scratch, got);
	} else if (g) {
		if (!g->done)
			drop = keep(d, g, in, idx, got);
		if (drop)
			return drop;
		g->seen[idx / 64] |= UINT64_C(1) << (idx % 64);
	}
	if (idx >= d->ds)
		d->cnt->FECParityShards++;
	return 0;
}

/* Types and places disagree: looks for parameters in the samples and adopts them.  True when they are others. */
static bool retune(struct fec_dec *d)
{
	unsigned ds, ps;

	if (!fec_tune_find(d->tune, &ds, &ps))
		return false;
	d->should_tune = false;
	if (ds == d->ds && ps == d->ps)
		return false;
	groups_drop(d);
	dec_params(d, ds, ps);
	return true;
}

static unsigned take(struct fec_dec *d, const struct pkt *in, uint8_t *scratch, struct fec_got *got)
{
	uint32_t seqid, id, idx;
	uint16_t type;
	bool is_data;

	if (in->n < FEC_HEAD || in->n > FEC_BODY_OFF + FEC_MAX_BODY)
		return DROP_FEC;
	seqid = le32_get(in->p + FEC_SEQID_OFF);
	type = le16_get(in->p + FEC_TYPE_OFF);
	if (type != FEC_TYPE_DATA && type != FEC_TYPE_PAR)
		return DROP_FEC;
	is_data = type == FEC_TYPE_DATA;
	fec_tune_sample(&d->tune, d->mem, is_data, seqid);
	if (seqid >= d->paws)
		return DROP_FEC;
	id = fastdiv(d->by_size, seqid);
	idx = seqid - id * ((uint32_t)d->ds + d->ps);
	if ((idx < d->ds) != is_data)
		d->should_tune = true;
	if (d->should_tune) {
		got->tuned = retune(d);
		return 0;
	}
	return group_take(d, in, id, (uint8_t)idx, scratch, got);
}

unsigned fec_dec_packet(struct fec_dec *d, const struct pkt *in, uint8_t *scratch, struct fec_got *got)
{
	unsigned verdict;

	got->n_data = 0;
	got->n_freed = 0;
	got->kept = false;
	got->tuned = false;
	if (in->n >= FEC_PARITY_OFF && in->p[4] == FEC_TYPE_PAR)
		d->cnt->FECSegs++;
	verdict = take(d, in, scratch, got);
	got->n_freed = drain(d, got->freed, FEC_MAX_SHARDS);
	return verdict;
}
