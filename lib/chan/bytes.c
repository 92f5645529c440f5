/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "chan_impl.h"

/*
 * The byte ring.  `tail` and `head` count the bytes ever written and ever taken; each has one writer, who stores it
 * with release, and the other side loads it with acquire.  These two are all that orders the threads: everything else
 * is written by one side while it owns it, and handed over by them.
 *
 * 1. Not empty (head < tail): the chunks from the consumer's (rchunk, roff) through their `next` to the producer's
 *    (wchunk, woff) hold the bytes head..tail.  A chunk's `next` is stored before a tail that lies behind the chunk's
 *    last byte, so a consumer that has seen such a tail may follow it.  All chunks but the last are the consumer's: it
 *    gives one back when it steps over to the next, never earlier, so the producer's chunk is never given back under
 * it.
 * 2. Empty (head == tail), as the producer has seen it: the consumer has finished with every byte and touches no chunk
 *    until tail moves.  wchunk, if there is one, is the only chunk left and the producer's alone: it may be given
 *    back (chan_trim), be written on where it stands, or be begun anew.
 * 3. Restart: in that state the producer may say that the byte at position `tail` will lie at offset 0 of some chunk,
 *    by storing restart = tail and restart_chunk.  It must, when wchunk was given back; it may say so again and again
 * at the same position, since nobody looks before tail moves.  The release of the next tail hands both fields over.
 * 4. The consumer looks at restart only after it has seen tail > head; from then until its own store of head reaches
 * that tail, the producer cannot see the ring empty and does not write them.  If restart == head, its own rchunk is
 * void (perhaps given back long ago) and it goes on at offset 0 of restart_chunk; doing so twice is harmless. Positions
 * are never reused (64 bits), so an old restart never equals a later head.
 */

static bool drained(struct chan_ring *r)
{
	return atomic_load_explicit(&r->head, memory_order_acquire) ==
	       atomic_load_explicit(&r->tail, memory_order_relaxed);
}

static void restart_in(struct chan_ring *r, struct chan_chunk *c)
{
	r->wchunk = c;
	r->woff = 0;
	atomic_store_explicit(&r->restart_chunk, c, memory_order_relaxed);
	atomic_store_explicit(&r->restart, atomic_load_explicit(&r->tail, memory_order_relaxed), memory_order_relaxed);
}

/* Sees to it that there is a chunk to write to, begun anew if n bytes do not fit and the reader allows it. */
static bool attach(struct chan_pool *p, struct chan_ring *r, uint32_t n)
{
	struct chan_chunk *c;

	if (!r->wchunk) {
		c = chunk_get(p, r->tunnel);
		if (!c)
			return false;
		restart_in(r, c);
	} else if (n > CHUNK_DATA - r->woff && r->woff && drained(r)) {
		restart_in(r, r->wchunk);
	}
	return true;
}

static void append(struct chan_ring *r, struct chan_chunk *c)
{
	r->wchunk->next = c;
	r->wchunk = c;
	r->woff = 0;
}

static void publish(struct chan_ring *r, uint32_t n)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (n)
		atomic_store_explicit(&r->tail, tail + n, memory_order_release);
}

uint32_t chan_write(struct chan_pool *p, struct chan_ring *r, const struct slice *v, unsigned n)
{
	uint32_t want = 0, done = 0;

	assert(!r->spare);
	for (unsigned i = 0; i < n; i++)
		want += v[i].n;
	if (!want || !attach(p, r, want))
		return 0;
	for (unsigned i = 0; i < n; i++) {
		for (uint32_t at = 0, k; at < v[i].n; at += k) {
			if (r->woff == CHUNK_DATA) {
				struct chan_chunk *c = chunk_get(p, r->tunnel);

				if (!c)
					goto out;
				append(r, c);
			}
			k = v[i].n - at;
			if (k > CHUNK_DATA - r->woff)
				k = CHUNK_DATA - r->woff;
			memcpy(r->wchunk->data + r->woff, v[i].p + at, k);
			r->woff += k;
			done += k;
		}
	}
out:
	publish(r, done);
	return done;
}

/* Makes *v of what c holds from off on, at most *want; counts that off. */
static void iov_fill(struct iovec *v, struct chan_chunk *c, uint32_t off, uint32_t *want)
{
	uint32_t k = CHUNK_DATA - off < *want ? CHUNK_DATA - off : *want;

	v->iov_base = c->data + off;
	v->iov_len = k;
	*want -= k;
}

unsigned chan_space(struct chan_pool *p, struct chan_ring *r, uint32_t want, struct iovec *v)
{
	struct chan_chunk **link = &r->spare;
	unsigned n = 0;

	if (!want || !attach(p, r, want))
		return 0;
	if (r->woff < CHUNK_DATA)
		iov_fill(&v[n++], r->wchunk, r->woff, &want);
	/* Chunks that an earlier call without a commit left here come first. */
	for (; want && n < CHAN_IOV; link = &(*link)->next) {
		if (!*link) {
			struct chan_chunk *c = chunk_get(p, r->tunnel);

			if (!c)
				break;
			c->next = NULL;
			*link = c;
		}
		iov_fill(&v[n++], *link, 0, &want);
	}
	return n;
}

void chan_commit(struct chan_pool *p, struct chan_ring *r, uint32_t n)
{
	struct chan_chunk *c;
	uint32_t k;

	for (uint32_t left = n; left; left -= k) {
		if (r->woff == CHUNK_DATA) {
			c = r->spare;
			assert(c && "more than chan_space gave");
			r->spare = c->next;
			append(r, c);
		}
		k = left < CHUNK_DATA - r->woff ? left : CHUNK_DATA - r->woff;
		r->woff += k;
	}
	while ((c = r->spare)) {
		r->spare = c->next;
		chunk_put(p, c, r->tunnel);
	}
	if (n)
		publish(r, n);
	else
		chan_trim(p, r);
}

bool chan_trim(struct chan_pool *p, struct chan_ring *r)
{
	assert(!r->spare);
	if (!r->wchunk)
		return true;
	if (!drained(r))
		return false;
	chunk_put(p, r->wchunk, r->tunnel);
	r->wchunk = NULL;
	r->woff = 0;
	return true;
}

unsigned chan_peek(struct chan_ring *r, struct iovec *v, unsigned max)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	struct chan_chunk *c;
	uint32_t left = (uint32_t)(tail - head), off;
	unsigned n = 0;

	if (!left)
		return 0;
	if (atomic_load_explicit(&r->restart, memory_order_relaxed) == head) {
		r->rchunk = atomic_load_explicit(&r->restart_chunk, memory_order_relaxed);
		r->roff = 0;
	}
	for (c = r->rchunk, off = r->roff; left && n < max; off = CHUNK_DATA) {
		if (off == CHUNK_DATA) {
			c = c->next;
			off = 0;
		}
		iov_fill(&v[n++], c, off, &left);
	}
	return n;
}

void chan_done(struct chan_pool *p, struct chan_ring *r, uint32_t n)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint32_t k;

	if (!n)
		return;
	for (uint32_t left = n; left; left -= k) {
		if (r->roff == CHUNK_DATA) {
			struct chan_chunk *c = r->rchunk;

			r->rchunk = c->next;
			r->roff = 0;
			chunk_put(p, c, r->rtunnel);
		}
		k = left < CHUNK_DATA - r->roff ? left : CHUNK_DATA - r->roff;
		r->roff += k;
	}
	atomic_store_explicit(&r->head, head + n, memory_order_release);
}

uint32_t chan_junk(struct chan_pool *p, struct chan_ring *r)
{
	struct iovec v[CHAN_IOV];
	uint32_t total = 0;
	unsigned n;

	while ((n = chan_peek(r, v, CHAN_IOV))) {
		uint32_t sum = 0;

		for (unsigned i = 0; i < n; i++)
			sum += (uint32_t)v[i].iov_len;
		chan_done(p, r, sum);
		total += sum;
	}
	return total;
}

uint32_t chan_used(const struct chan_ring *r)
{
	/* In this order: a tail that is loaded after a head lies never before it. */
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);

	return (uint32_t)(tail - head);
}

uint32_t chan_taken(const struct chan_ring *r)
{
	return (uint32_t)atomic_load_explicit(&r->head, memory_order_acquire);
}
