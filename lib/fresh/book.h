/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Which conversations there have been: as lib/fresh's filters, but of FRESH_BOOK_LINES lines from the start, never
 * rotated by time, and written and asked by any threads, and processes, at once.  What was added is found again for
 * certain until 15 others have fallen into its line: after 245,760 others on an average, and in one case of a thousand
 * after 80,000 already.  One that was not is taken for one that was with a chance of 15 in 2^32, the line full.
 *
 * What lies there may come from a file, and be anything: nothing in it leads astray.
 */

#include "fresh.h"

#define FRESH_BOOK_LINES 16384u /* a power of two */
#define FRESH_BOOK_BYTES (FRESH_BOOK_LINES * sizeof(struct fresh_line))

struct fresh_book {
	struct fresh_line *v; /* FRESH_BOOK_LINES, aligned to 64 bytes, and the caller's; zero at first */
	uint64_t seed;	      /* secret, and the same as long as the lines are kept */
};

bool fresh_book_has(const struct fresh_book *b, uint32_t conv);
/* It is there from now on. */
void fresh_book_add(struct fresh_book *b, uint32_t conv);
