/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What bounds a tunnel's throughput, in sentences with their figures, and what to change on which side.  The rules look
 * at telemetry's answers and at nothing else, so that they can be tested with answers that no gateway gave.
 */

#include "look.h"

enum explain_side {
	EXPLAIN_NOBODY, /* nothing is to be changed */
	EXPLAIN_HERE,	/* in this gateway's file */
	EXPLAIN_PEER,	/* in the peer's: a kcpgate's option, or a stock kcptun's flag */
	EXPLAIN_AROUND, /* what neither gateway decides: a path, a target, a machine */
};

struct explain_word {
	bool bounds; /* this is what keeps the session from more; else it is worth knowing */
	enum explain_side side;
	char what[400];	  /* a sentence, with its figures */
	char advice[300]; /* what to change; empty: nothing */
};

/* What was seen of a session while it was looked at. */
struct explain_session {
	const json_t *row;  /* of /kcpgate/session, the last look */
	const json_t *conf; /* its tunnel of /kcpgate/config; NULL: not known */
	const char *bound;  /* limited_by, of most looks; */
	unsigned bound_looks, looks;
	double out_bps, in_bps; /* above KCP, while it was looked at */
	double lost;		/* part of the segments sent that were sent again, likewise; < 0: none were sent */
	double busy;		/* part of its worker's time, likewise; < 0: not known */
};

#define EXPLAIN_WORDS 16

struct explain_words {
	struct explain_word word[EXPLAIN_WORDS];
	unsigned n; /* those that are too many are left out: the last ones are the least */
};

void explain_session(const struct explain_session *s, struct explain_words *out);

/*
 * Of all that the tunnels share: drops by reason before and after the look (/kcpgate/drops), limits, ports; and of one
 * tunnel, a row of /kcpgate/tunnels.  Any may be NULL.
 */
struct explain_gateway {
	const json_t *drops_before, *drops, *limits, *ports;
};
void explain_gateway(const struct explain_gateway *g, struct explain_words *out);
void explain_tunnel(const json_t *row, struct explain_words *out);

/* ---- explain_cmd.c ---- */

/* Looks at the sessions of a tunnel, one session (by its number), or (NULL) all, for about a second, and prints what
 * there is to say.  As look_show. */
int look_explain(struct look *l, const char *of, bool json, FILE *f);
