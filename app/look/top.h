/* SPDX-License-Identifier: MIT */
#pragma once

/* `kcpgate top`: sessions by what they do, from two looks at a gateway. */

#include "look.h"

enum top_order { TOP_RATE, TOP_LOSS, TOP_RTT, TOP_MEMORY, TOP_ORDERS };

/* One look. */
struct top_look {
	json_t *sessions, *workers, *drops;
	uint64_t us; /* when it was, of any clock */
};

/* 0, or -errno and l->why; either way top_forget frees it. */
int top_look(struct look *l, const char *tunnel, uint64_t us, struct top_look *out);
void top_forget(struct top_look *t);

struct top_view {
	enum top_order order;
	unsigned from, rows; /* sessions that are shown: from this one on, so many; rows 0: all */
};

/* The screen, line by line: a summary, a line a worker, a head, and the sessions.  Returns the number of the head's
 * line, or -ENOMEM. */
int top_draw(const struct top_look *before, const struct top_look *now, const struct top_view *v, FILE *f);

/* top_cmd.c: on the terminal until somebody ends it, or once to `f`.  As look_show. */
int look_top(struct look *l, const char *tunnel, double delay, bool once, FILE *f);
