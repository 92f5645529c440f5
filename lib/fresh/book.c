/* SPDX-License-Identifier: MIT */
#include "book.h"

static uint64_t name(const struct fresh_book *b, uint32_t conv)
{
	return fresh_name((const uint8_t *)&conv, sizeof(conv), b->seed);
}

static struct fresh_line *line(const struct fresh_book *b, uint64_t name)
{
	return &b->v[name & (FRESH_BOOK_LINES - 1)];
}

static bool has(const struct fresh_line *l, uint32_t print)
{
	bool found = false;

	for (unsigned i = 0; i < FRESH_WAYS; i++)
		found |= atomic_load_explicit(&l->print[i], memory_order_relaxed) == print;
	return found;
}

bool fresh_book_has(const struct fresh_book *b, uint32_t conv)
{
	uint64_t n = name(b, conv);

	return has(line(b, n), fresh_print(n));
}

/* Each writer has a place of its own, be there several at one line. */
static unsigned place(struct fresh_line *l)
{
	uint32_t at = __atomic_load_n(&l->at, __ATOMIC_RELAXED), mine, next;

	do {
		mine = at < FRESH_WAYS ? at : 0;
		next = mine < FRESH_WAYS - 1 ? mine + 1 : 0;
	} while (!__atomic_compare_exchange_n(&l->at, &at, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return mine;
}

void fresh_book_add(struct fresh_book *b, uint32_t conv)
{
	uint64_t n = name(b, conv);
	struct fresh_line *l = line(b, n);

	if (!has(l, fresh_print(n)))
		atomic_store_explicit(&l->print[place(l)], fresh_print(n), memory_order_relaxed);
}
