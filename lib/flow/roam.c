/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "siphash.h"

#define SET	   8  /* words: a cache line, of which a flow has one set */
#define WINDOW	   64 /* words that a conversation may lie in */
#define LEAST	   1024
#define STAYS	   0 /* in the place of a time */
#define WORKER_MAX 254
#define SWEEP_SETS 16

/* A conversation: conv(32) | tunnel(16) | worker + 1 (16).  A flow: tag(40) | time(16) | worker + 1 (8). */
struct flow_roam {
	uint64_t key[2];
	uint32_t conv_mask, move_mask;
	_Atomic uint64_t *conv, *move;
	_Atomic uint32_t n_moved; /* words of `move` that are not 0 */
	_Atomic uint32_t swept;	  /* the next set to be looked at */
	_Atomic bool partial;
};

static uint32_t power(uint64_t n)
{
	uint32_t p = LEAST;

	while (p < n && p < 1u << 30)
		p *= 2;
	return p;
}

static _Atomic uint64_t *words(uint32_t n)
{
	void *p = aligned_alloc(64, n * sizeof(uint64_t));

	if (p)
		memset(p, 0, n * sizeof(uint64_t));
	return p;
}

int flow_roam_create(struct flow_roam **out, unsigned sessions, const uint64_t key[2])
{
	struct flow_roam *r;

	if (!sessions)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->key[0] = key[0];
	r->key[1] = key[1];
	r->conv_mask = power(4ull * sessions) - 1;
	r->move_mask = power(2ull * sessions) - 1;
	r->conv = words(r->conv_mask + 1);
	r->move = words(r->move_mask + 1);
	if (!r->conv || !r->move) {
		flow_roam_destroy(r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

void flow_roam_destroy(struct flow_roam *r)
{
	if (!r)
		return;
	free((void *)r->conv);
	free((void *)r->move);
	free(r);
}

/* ---- whose a conversation is ---- */

static uint64_t conv_id(uint16_t tunnel, uint32_t conv)
{
	return (uint64_t)conv << 32 | (uint64_t)tunnel << 16;
}

static uint32_t conv_at(const struct flow_roam *r, uint64_t id)
{
	return (uint32_t)siphash_words(r->key, &id, 1);
}

void flow_conv_add(struct flow_roam *r, uint16_t tunnel, uint32_t conv, uint16_t worker)
{
	uint64_t id = conv_id(tunnel, conv);
	uint32_t at = conv_at(r, id);

	for (unsigned i = 0; i < WINDOW; i++) {
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&r->conv[(at + i) & r->conv_mask], &none, id | (worker + 1u)))
			return;
	}
	atomic_store_explicit(&r->partial, true, memory_order_relaxed);
}

void flow_conv_del(struct flow_roam *r, uint16_t tunnel, uint32_t conv, uint16_t worker)
{
	uint64_t id = conv_id(tunnel, conv), mine = id | (worker + 1u);
	uint32_t at = conv_at(r, id);

	for (unsigned i = 0; i < WINDOW; i++) {
		uint64_t have = mine;

		if (atomic_compare_exchange_strong(&r->conv[(at + i) & r->conv_mask], &have, 0))
			return;
	}
}

uint16_t flow_conv_other(const struct flow_roam *r, uint16_t tunnel, uint32_t conv, uint16_t worker)
{
	uint64_t id = conv_id(tunnel, conv);
	uint32_t at = conv_at(r, id);

	for (unsigned i = 0; i < WINDOW; i++) {
		uint64_t w = atomic_load_explicit(&r->conv[(at + i) & r->conv_mask], memory_order_relaxed);

		if (w >> 16 == id >> 16 && (w & 0xffff) != worker + 1u)
			return (uint16_t)((w & 0xffff) - 1);
	}
	return FLOW_NOBODY;
}

bool flow_conv_partial(const struct flow_roam *r)
{
	return atomic_load_explicit(&r->partial, memory_order_relaxed);
}

/* ---- flows that are not at home ---- */

/* The rest of a word is 0: no other flow's that anybody could look for. */
static uint64_t move_tag(const struct flow_roam *r, const struct flow_key *key)
{
	uint64_t w[sizeof(*key) / 8];

	memcpy(w, key, sizeof(w));
	return siphash_words(r->key, w, sizeof(w) / sizeof(w[0])) & ~0xffffffull;
}

_Static_assert(sizeof(struct flow_key) % 8 == 0, "a key is hashed in words");

/* Seconds, never STAYS. */
static uint64_t stamp(uint64_t now)
{
	return (now >> 10 & 0x7fff) | 0x8000;
}

static bool move_over(uint64_t word, uint64_t now)
{
	uint64_t at = word >> 8 & 0xffff;

	return at != STAYS && ((stamp(now) - at) & 0x7fff) > FLOW_PEND_MS >> 10;
}

static _Atomic uint64_t *move_set(const struct flow_roam *r, uint32_t hash)
{
	return &r->move[hash & r->move_mask & ~(SET - 1u)];
}

/* Puts a word where `old` was.  False: somebody else was quicker. */
static bool move_put(struct flow_roam *r, _Atomic uint64_t *at, uint64_t old, uint64_t word)
{
	if (!atomic_compare_exchange_strong(at, &old, word))
		return false;
	if (!old && word)
		atomic_fetch_add(&r->n_moved, 1);
	else if (old && !word)
		atomic_fetch_sub(&r->n_moved, 1);
	return true;
}

/* Which word of a set gives way to a new one: the flow's own, else a free one, else the oldest of those for a while; or
 * NULL. */
static _Atomic uint64_t *move_place(_Atomic uint64_t *set, uint64_t tag, uint64_t now, uint64_t *old)
{
	_Atomic uint64_t *best = NULL;
	uint64_t best_age = 0;

	for (unsigned i = 0; i < SET; i++) {
		uint64_t w = atomic_load_explicit(&set[i], memory_order_relaxed);
		uint64_t age = w ? (stamp(now) - (w >> 8 & 0xffff)) & 0x7fff : 0x7fff;

		if (w && (w & ~0xffffffull) == tag) {
			*old = w;
			return &set[i];
		}
		if (w && (w >> 8 & 0xffff) == STAYS)
			continue;
		if (best && age <= best_age)
			continue;
		best = &set[i];
		best_age = age;
		*old = w;
	}
	return best;
}

bool flow_move(struct flow_roam *r, const struct flow_key *key, uint32_t hash, uint16_t worker, bool stays,
	       uint64_t now)
{
	uint64_t tag = move_tag(r, key), old, word;
	_Atomic uint64_t *at = move_place(move_set(r, hash), tag, now, &old);

	if (!at || worker >= WORKER_MAX)
		return false;
	word = tag | (stays ? STAYS : stamp(now)) << 8 | (worker + 1u);
	/* What stays is not made to go by somebody who has not heard of it yet. */
	if (!stays && (old & ~0xffffffull) == tag && (old >> 8 & 0xffff) == STAYS && old)
		return true;
	return move_put(r, at, old, word);
}

static uint64_t move_find(const struct flow_roam *r, const struct flow_key *key, uint32_t hash, unsigned *at)
{
	const _Atomic uint64_t *set = move_set(r, hash);
	uint64_t v[SET], any = 0, tag;

	for (unsigned i = 0; i < SET; i++)
		any |= v[i] = atomic_load_explicit(&set[i], memory_order_relaxed);
	if (!any)
		return 0;
	tag = move_tag(r, key);
	for (unsigned i = 0; i < SET; i++) {
		if (v[i] && (v[i] & ~0xffffffull) == tag) {
			*at = i;
			return v[i];
		}
	}
	return 0;
}

void flow_move_end(struct flow_roam *r, const struct flow_key *key, uint32_t hash)
{
	unsigned at;
	uint64_t w = move_find(r, key, hash, &at);

	if (w)
		move_put(r, &move_set(r, hash)[at], w, 0);
}

uint16_t flow_moved(const struct flow_roam *r, const struct flow_key *key, uint32_t hash, uint64_t now)
{
	unsigned at;
	uint64_t w = move_find(r, key, hash, &at);

	return !w || move_over(w, now) ? FLOW_NOBODY : (uint16_t)((w & 0xff) - 1);
}

bool flow_moved_any(const struct flow_roam *r)
{
	return atomic_load_explicit(&r->n_moved, memory_order_relaxed) != 0;
}

void flow_moved_sweep(struct flow_roam *r, uint64_t now)
{
	uint32_t at = atomic_fetch_add_explicit(&r->swept, SWEEP_SETS, memory_order_relaxed);

	for (unsigned i = 0; i < SWEEP_SETS * SET; i++) {
		_Atomic uint64_t *p = &r->move[(at * SET + i) & r->move_mask];
		uint64_t w = atomic_load_explicit(p, memory_order_relaxed);

		if (w && move_over(w, now))
			move_put(r, p, w, 0);
	}
}
