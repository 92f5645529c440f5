/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "share.h"

/* One alone may have everything, as long as it is. */
int shares_init_spare(struct shares *s, uint32_t total, unsigned n, unsigned spare)
{
	uint32_t sure = n + spare == 1 ? total : total / 2 / n;

	*s = (struct shares){.n = n + spare, .common = total - n * sure};
	s->of = aligned_alloc(64, (n + spare) * sizeof(*s->of));
	if (!s->of)
		return -ENOMEM;
	memset(s->of, 0, (n + spare) * sizeof(*s->of));
	for (unsigned i = 0; i < n + spare; i++) {
		s->of[i].sure = i < n ? sure : 0;
		s->of[i].most = n == 1 && i == 0 ? total : s->of[i].sure + s->common - s->common / 4;
	}
	return 0;
}

int shares_init(struct shares *s, uint32_t total, unsigned n)
{
	return shares_init_spare(s, total, n, 0);
}

void shares_fini(struct shares *s)
{
	free(s->of);
	s->of = NULL;
}

void shares_bound(struct shares *s, unsigned i, uint32_t most)
{
	struct share *t = &s->of[i];

	if (t->most > most)
		t->most = most;
	if (t->sure > most) {
		s->common += t->sure - most;
		t->sure = most;
	}
}

/*
 * Each step of `used` beyond `sure` is one of common_used, whatever order the threads come in: a step from k to k + 1
 * takes from the common part just when k >= sure, and one from k + 1 to k gives back to it just then.
 */
bool shares_take(struct shares *s, unsigned i)
{
	struct share *t = &s->of[i];
	uint32_t had = atomic_fetch_add_explicit(&t->used, 1, memory_order_relaxed);

	if (had < t->sure)
		return true;
	if (atomic_fetch_add_explicit(&s->common_used, 1, memory_order_relaxed) < s->common && had < t->most)
		return true;
	shares_give(s, i);
	atomic_fetch_add_explicit(&t->refused, 1, memory_order_relaxed);
	return false;
}

void shares_give(struct shares *s, unsigned i)
{
	struct share *t = &s->of[i];

	if (atomic_fetch_sub_explicit(&t->used, 1, memory_order_relaxed) > t->sure)
		atomic_fetch_sub_explicit(&s->common_used, 1, memory_order_relaxed);
}

uint32_t shares_room(const struct shares *s, unsigned i)
{
	const struct share *t = &s->of[i];
	uint32_t used = atomic_load_explicit(&t->used, memory_order_relaxed);
	uint32_t common_used = atomic_load_explicit(&s->common_used, memory_order_relaxed);
	uint32_t own = used < t->sure ? t->sure - used : 0, above = used > t->sure ? used : t->sure;
	uint32_t common = common_used < s->common ? s->common - common_used : 0;
	uint32_t may = above < t->most ? t->most - above : 0;

	return own + (common < may ? common : may);
}
