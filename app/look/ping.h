/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * `kcpgate ping`: the time through a tunnel to its peer, by a KCP segment that every peer acknowledges, and to what
 * lies behind: of a client's tunnel through it, as an application would come; of a server's, to its target.
 */

#include "look.h"

struct ping_want {
	const char *tunnel;
	unsigned count;	  /* of pings of the peer */
	double interval;  /* s between them */
	const char *send; /* what the target is sent, with \r and \n as escapes; NULL: nothing */
	bool no_target;
};

/* As look_show. */
int look_ping(struct look *l, const struct ping_want *w, FILE *f);

/* ---- reach.c ---- */

/* A TCP or Unix connection to what a tunnel's "listen" or "target" says; the descriptor, or -errno. */
int reach(const char *where, unsigned timeout_ms);
/* Text with its escapes (\r \n \t \\) undone; allocated.  NULL without memory. */
char *reach_text(const char *escaped, size_t *n);
