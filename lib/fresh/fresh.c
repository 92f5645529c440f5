/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include <emmintrin.h>

#include "fresh.h"

static_assert(sizeof(struct fresh_line) == 64, "a question is one cache line");

/* So many additions in less than FRESH_WINDOW_MS are more than the table can remember. */
static uint32_t holds(const struct fresh *f)
{
	return f->want * FRESH_WAYS;
}

void fresh_init(struct fresh *f, struct fresh_line *lines, uint32_t max, uint64_t now)
{
	f->v = lines;
	atomic_store(&f->n, FRESH_LEAST);
	f->half = f->want = FRESH_LEAST;
	f->max = max;
	f->added = 0;
	f->since = now;
}

/*
 * One line more: the lower one of the pair has what is either's, and both keep it, for a fingerprint does not tell
 * whose it is.  What lies in the wrong one is found by nobody, and overwritten in time.
 */
static void split(struct fresh *f)
{
	uint32_t n = atomic_load_explicit(&f->n, memory_order_relaxed);
	const struct fresh_line *from = &f->v[n - f->half];
	struct fresh_line *to = &f->v[n];

	to->at = from->at;
	for (unsigned i = 0; i < FRESH_WAYS; i++)
		atomic_store_explicit(&to->print[i], atomic_load_explicit(&from->print[i], memory_order_relaxed),
				      memory_order_relaxed);
	atomic_store_explicit(&f->n, n + 1, memory_order_release);
	if (n + 1 == 2 * f->half)
		f->half = n + 1;
}

/* The rate is looked at each time that the table may have been overwritten. */
static void look(struct fresh *f, uint64_t now)
{
	if (now - f->since < FRESH_WINDOW_MS && f->want < f->max)
		f->want *= 2;
	f->added = 0;
	f->since = now;
}

/*
 * Sixteen numbers at once, `at` among them, which is less than FRESH_WAYS: no fingerprint is.  Whoever writes meanwhile
 * writes one whole number.
 */
static bool has(const struct fresh_line *l, uint32_t print)
{
	const __m128i *v = (const __m128i *)(const void *)l, want = _mm_set1_epi32((int)print);
	__m128i a = _mm_cmpeq_epi32(_mm_load_si128(v), want), b = _mm_cmpeq_epi32(_mm_load_si128(v + 1), want);
	__m128i c = _mm_cmpeq_epi32(_mm_load_si128(v + 2), want), d = _mm_cmpeq_epi32(_mm_load_si128(v + 3), want);

	return _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) != 0;
}

bool fresh_seen(const struct fresh *f, uint64_t name)
{
	return has(fresh_at(f, name), fresh_print(name));
}

bool fresh_add(struct fresh *f, uint64_t name, uint64_t now)
{
	struct fresh_line *l = fresh_at(f, name);
	uint32_t print = fresh_print(name);

	if (has(l, print))
		return true;
	atomic_store_explicit(&l->print[l->at], print, memory_order_relaxed);
	l->at = l->at == FRESH_WAYS - 1 ? 0 : l->at + 1;
	if (++f->added >= holds(f) / 2)
		look(f, now);
	if (f->half < f->want)
		split(f);
	return false;
}
