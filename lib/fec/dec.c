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
	bool done;	   /* complete: nothing is kept any more */
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
	uint32_t last;	 /* the furthest seqid */
	struct fastdiv by_size;
	uint8_t ds, ps;
	uint8_t held;	  /* groups in use */
	bool started : 1; /* `newest` and `last` are some */
	bool should_tune : 1;
	bool trust : 1;	    /* fec_dec_trust */
	bool proved : 1;    /* fec_dec_doubt */
	bool waiting : 1;   /* there may be groups that waited for the proof */
	uint16_t bytes : 4; /* of the proof: FEC_PROOF_BYTES are enough */
	uint16_t fits : 12; /* packets that fitted: FEC_PROOF_GROUPS groups' are enough */
	uint16_t withheld;  /* got->withheld */
	struct group group[GROUPS];
};

_Static_assert(sizeof(struct fec_dec) == 256, "whole cache lines, and a size class");
_Static_assert(FEC_PROOF_BYTES < 16 && FEC_PROOF_GROUPS * FEC_MAX_SHARDS < 4096, "fields of struct fec_dec");

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
	d->proved = d->trust;
	d->bytes = 0;
	d->fits = 0;
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

void fec_dec_trust(struct fec_dec *d)
{
	d->trust = true;
	d->proved = true;
}

bool fec_dec_proved(const struct fec_dec *d)
{
	return d->proved;
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
		if (g->blk->n >= d->ds)
			d->withheld = (uint16_t)(d->withheld + d->ds - g->n_data);
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
	d->waiting = false;
}

void fec_dec_doubt(struct fec_dec *d)
{
	if (d->trust)
		return;
	d->proved = false;
	d->bytes = 0;
	d->fits = 0;
	groups_drop(d); /* who knows what was cut how */
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

static struct fec_shard as_shard(const struct pkt *in, uint8_t idx)
{
	return (struct fec_shard){
		.p = in->p + FEC_BODY_OFF, .own = in->own, .n = (uint16_t)(in->n - FEC_BODY_OFF), .idx = idx};
}

/* Makes room for one packet more: for as many as there are before a group is complete or compared, then for all. */
static __attribute__((noinline)) bool block_room(struct fec_dec *d, struct group *g)
{
	unsigned n = g->blk ? g->blk->n : 0, cap = d->ds - d->proved;
	struct block *b;

	if (n)
		cap = (unsigned)d->ds + d->ps;
	b = mem_get(d->mem, block_len(cap));
	if (!b)
		return false;
	*b = (struct block){.n = (uint16_t)n, .cap = (uint16_t)cap, .n_own = g->blk ? g->blk->n_own : 0};
	if (g->blk) {
		memcpy(b->s, g->blk->s, n * sizeof(b->s[0]));
		mem_put(d->mem, g->blk, block_len(g->blk->cap));
	}
	g->blk = b;
	return true;
}

/* Holds on to a packet until its group is complete or given up: the caller's own memory, or a copy. */
static inline __attribute__((always_inline)) unsigned keep(struct fec_dec *d, struct group *g, const struct pkt *in,
							   uint8_t idx, struct fec_got *got)
{
	struct fec_shard s = as_shard(in, idx);

	if ((!g->blk || g->blk->n == g->blk->cap) && !block_room(d, g))
		return DROP_NO_MEMORY;
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

/* Rebuilds what is missing among s[0..ds).  Where that cannot have been sent, nothing of it comes out. */
static void rebuild(struct fec_dec *d, const struct fec_shard *s, uint8_t *scratch, struct fec_got *got)
{
	unsigned lost = fec_recover(s, d->ds, scratch, got);

	d->cnt->FECRecovered += lost;
	if (got->n_data == lost || d->trust)
		return;
	got->n_data = 0;
	fec_dec_doubt(d);
}

static void group_over(struct fec_dec *d, struct group *g)
{
	g->n_data = d->ds; /* nothing is withheld */
	group_empty(d, g);
	g->done = d->ps < d->ds || !d->trust; /* stock takes as much parity as data for the group once more */
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
		s[n] = as_shard(in, idx);
		rebuild(d, s, scratch, got);
	}
	if (g)
		group_over(d, g);
}

/* The next group that waited for the proof and has got it: one a call, for all lie in the same scratch. */
static __attribute__((noinline)) void catch_up(struct fec_dec *d, uint8_t *scratch, struct fec_got *got)
{
	struct fec_shard s[FEC_MAX_SHARDS];

	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *g = &d->group[i];
		unsigned n = 0;

		if (!g->blk || g->blk->n < d->ds)
			continue;
		if (g->n_data == d->ds) {
			group_over(d, g);
			continue;
		}
		for (unsigned parity = 0; parity < 2; parity++)
			for (unsigned k = 0; k < g->blk->n && n < d->ds; k++)
				if ((g->blk->s[k].idx >= d->ds) == parity)
					s[n++] = g->blk->s[k];
		rebuild(d, s, scratch, got);
		group_over(d, g);
		return;
	}
	d->waiting = false;
}

/* A packet that was kept for a moment only was not kept. */
static __attribute__((noinline)) void not_kept(void *own, struct fec_got *got)
{
	for (unsigned i = 0; got->kept && i < got->n_freed; i++) {
		if (got->freed[i] != own)
			continue;
		got->kept = false;
		got->freed[i] = got->freed[--got->n_freed];
	}
}

/* Bytes in which a packet differs from another of its group, as far as a proof needs them.  A group of one has none:
 * its packets are copies, and nothing else looks like that. */
static unsigned telling(const struct fec_dec *d, const struct fec_shard *a, const struct fec_shard *b)
{
	unsigned n = a->n < b->n ? a->n : b->n, differ = d->ds == 1 ? FEC_PROOF_BYTES : 0;

	for (unsigned i = 0; i < n && differ < FEC_PROOF_BYTES; i++)
		differ += a->p[i] != b->p[i];
	return differ;
}

static bool has(const struct group *g, unsigned idx)
{
	return g->seen[idx / 64] >> (idx % 64) & 1;
}

/*
 * Whether a packet agrees with the ds or more that are here of its group.  Of a sender whose groups have fewer data
 * packets that much is true of his groups as well, when the packets between his last and ours were lost: his code is
 * part of ours.  So it tells nothing without our last.
 */
static bool agrees(struct fec_dec *d, const struct group *g, const struct pkt *in, uint8_t idx, uint8_t *scratch)
{
	struct fec_shard more = as_shard(in, idx);
	unsigned bytes;

	if (!fec_agrees(g->blk->s, d->ds, &more, scratch))
		return false;
	if (idx == d->ds - 1 || has(g, d->ds - 1u)) {
		bytes = d->bytes + telling(d, &more, &g->blk->s[0]);
		d->bytes = bytes < FEC_PROOF_BYTES ? (uint16_t)bytes & 15 : FEC_PROOF_BYTES;
	}
	return true;
}

/* Whole groups but g that wait for parity to agree with them are over: if it was sent, and not lost, it would be here.
 * With `copies` those only that are not in the caller's memory: of thin streams, which have no parity to come. */
static void stop_waiting(struct fec_dec *d, const struct group *g, bool copies)
{
	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *o = &d->group[i];

		if (o != g && o->blk && o->n_data == d->ds && !(copies && o->blk->n_own))
			group_over(d, o);
	}
}

/* Before the shape is proved all of a group is kept, and what comes beyond ds packets is compared with them. */
static __attribute__((noinline)) unsigned examine(struct fec_dec *d, struct group *g, const struct pkt *in, uint8_t idx,
						  uint8_t *scratch, struct fec_got *got)
{
	unsigned n = g->blk ? g->blk->n : 0, enough = FEC_PROOF_GROUPS * ((unsigned)d->ds + d->ps), drop;

	if (n >= d->ds && !agrees(d, g, in, idx, scratch)) {
		fec_dec_doubt(d);
		return DROP_FEC;
	}
	if (!n)
		stop_waiting(d, g, true);
	drop = keep(d, g, in, idx, got);
	if (n + 1 == d->ds && !drop) {
		d->waiting = true;
		if (g->n_data == d->ds) {
			d->cnt->FECFullShardSet++;
			stop_waiting(d, g, false);
		}
	}
	if (d->fits < enough)
		d->fits = (uint16_t)(d->fits + 1) & 4095;
	d->proved = d->bytes == FEC_PROOF_BYTES && d->fits == enough;
	return drop;
}

/* Puts a packet that fits its place into its group. */
static unsigned group_take(struct fec_dec *d, const struct pkt *in, uint32_t id, uint8_t idx, uint8_t *scratch,
			   struct fec_got *got)
{
	struct group *g = window_move(d, id) ? group_at(d, id) : NULL;
	unsigned drop = 0, n = g && g->blk ? g->blk->n : 0;

	/* Of the decoder that ran last: several sessions share the counters. */
	d->cnt->FECShardSet = d->held;
	d->cnt->FECShardMin = d->newest;
	if (g && has(g, idx))
		return 0;
	if (d->proved && n + 1u == d->ds && !(g && g->done)) {
		complete(d, g, in, idx, scratch, got);
		g = NULL;
	} else if (g && !g->done) {
		drop = d->proved ? keep(d, g, in, idx, got) : examine(d, g, in, idx, scratch, got);
	}
	if (drop)
		return drop;
	if (g)
		g->seen[idx / 64] |= UINT64_C(1) << (idx % 64);
	if (idx >= d->ds)
		d->cnt->FECParityShards++;
	return 0;
}

/* A seqid that is not one of the next few: behind, or beyond a gap as long as a group, which may hide anything, so that
 * one group more has to agree. */
static __attribute__((noinline)) void gap_look(struct fec_dec *d, uint32_t seqid)
{
	int64_t ahead = d->started ? (int64_t)seqid - d->last : 1;

	if (ahead < -(int64_t)(d->paws / 2))
		ahead += d->paws;
	if (ahead <= 0)
		return;
	d->last = seqid;
	if (ahead > d->ds + d->ps) {
		d->proved = d->trust;
		d->bytes = 0;
	}
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
	uint32_t seqid, id, idx, size = (uint32_t)d->ds + d->ps;
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
	idx = seqid - id * size;
	if ((idx < d->ds) != is_data) {
		d->should_tune = true;
		fec_dec_doubt(d);
	}
	if (d->should_tune) {
		got->tuned = retune(d);
		return 0;
	}
	if (d->started && seqid - d->last - 1 < size)
		d->last = seqid;
	else
		gap_look(d, seqid);
	return group_take(d, in, id, (uint8_t)idx, scratch, got);
}

unsigned fec_dec_packet(struct fec_dec *d, const struct pkt *in, uint8_t *scratch, struct fec_got *got)
{
	unsigned verdict;
	bool caught;

	got->n_data = 0;
	got->n_freed = 0;
	got->kept = false;
	got->tuned = false;
	if (in->n >= FEC_PARITY_OFF && in->p[4] == FEC_TYPE_PAR)
		d->cnt->FECSegs++;
	verdict = take(d, in, scratch, got);
	caught = d->waiting && d->proved && !got->n_data;
	if (caught)
		catch_up(d, scratch, got);
	got->withheld = d->withheld;
	d->withheld = 0;
	got->n_freed = drain(d, got->freed, FEC_MAX_SHARDS);
	if (caught)
		not_kept(in->own, got);
	return verdict;
}
