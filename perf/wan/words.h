/* SPDX-License-Identifier: MIT */
#pragma once

/* Statements of words and numbers with units, and those of them that tell of a path: scenarios and the emulator of
 * tests/e2e/wan are written in the same. */

#include <stddef.h>

#include "path.h"

#define WORDS 48

struct words {
	const char *file; /* and line, for complaints */
	unsigned no;
	char *word[WORDS];
	unsigned n, at; /* at: the next one */
	char *err;	/* where a complaint goes */
	size_t err_n;
};

struct suffix {
	const char *text;
	double by;
};

extern const struct suffix words_times[], words_rates[], words_sizes[], words_shares[], words_counts[];

/* Cuts one statement, which is written to, into words.  0 or -EINVAL: too many. */
int words_cut(struct words *p, char *statement);

/* Complains: -EINVAL. */
int words_wrong(struct words *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The next word, "" behind the last. */
const char *words_peek(const struct words *p);
/* Takes the next word if it is this one. */
bool words_is(struct words *p, const char *word);

/* Takes a number; `what` it is, its suffixes, the most that it may be.  0 or -EINVAL. */
int words_number(struct words *p, const char *what, const struct suffix *s, double most, double *out);
int words_u64(struct words *p, const char *what, const struct suffix *s, double most, uint64_t *out);
int words_u32(struct words *p, const char *what, const struct suffix *s, uint32_t *out);
int words_int(struct words *p, const char *what, int *out);
int words_bool(struct words *p, const char *what, bool *out);

/* "both delay 50ms rate 100M", to the end of the statement: path[0] is that of the client's packets (up), path[1] that
 * of the server's.  *known: it was one. */
int words_path(struct words *p, struct path_conf path[2], bool *known);
