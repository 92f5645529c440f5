/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <string.h>

#include "parse.h"

/* Names longer than this are nobody's typing error. */
#define LEN_MAX 31

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edits (insert, delete, replace, swap of neighbours) from a to b. */
static unsigned distance(const char *a, size_t an, const char *b, size_t bn)
{
	unsigned rows[3][LEN_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= bn; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= an; i++) {
		unsigned *free_row = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= bn; j++) {
			int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

			row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = last;
		last = row;
		row = free_row;
	}
	return last[bn];
}

void conf_nearest_start(struct conf_nearest *n, const char *name)
{
	size_t len = strlen(name);

	n->name = name;
	n->best = NULL;
	/* A third of the letters may be wrong: more, and the guess would only mislead. */
	n->distance = len > LEN_MAX ? 0 : (unsigned)(len < 3 ? 1 : len / 3) + 1;
}

void conf_nearest_try(struct conf_nearest *n, const char *candidate)
{
	size_t an = strlen(n->name), bn = strlen(candidate);
	unsigned d;

	if (an > LEN_MAX || bn > LEN_MAX)
		return;
	d = distance(n->name, an, candidate, bn);
	if (d < n->distance) {
		n->distance = d;
		n->best = candidate;
	}
}
