/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Host names to addresses without ever waiting: literals at once, names by getaddrinfo on a thread of their own, one
 * lookup at a time for each name, shared by all who ask for it meanwhile.
 */

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "list.h"

#define NAME_ADDRS   8
#define NAME_KEEP_MS 1000 /* an answer serves those who ask within this time */
/* Where nobody answers the last answer goes on serving, and is asked for again only so often (RFC 8767, section 5). */
#define NAME_STALE_MS 30000

struct ctl;
struct name_job;

/* The resolver: where its threads ring. */
struct names {
	int bell;	  /* eventfd */
	struct list busy; /* struct name.busy: lookups under way */
};

struct name {
	const char *host;
	bool literal;
	const char *zone; /* of a literal: its interface; or NULL */
	struct addr addrs[NAME_ADDRS];
	unsigned n;
	int gai;	/* EAI_* of a failed lookup, 0 when n > 0 */
	uint64_t until; /* ms: the answer's end of life */
	struct list busy, waiters;
	struct name_job *job;
};

/* Somebody who waits for an answer; fn is called once, in ctl's thread, when name->n and name->gai are set. */
struct name_wait {
	struct list link;
	void (*fn)(struct ctl *c, struct name_wait *w);
};

int names_init(struct names *s);
/* Lookups under way are left to end by themselves; their answers are thrown away. */
void names_fini(struct names *s);

/* host: literal, name, or empty for the loopback address; must outlive n. */
void name_init(struct name *n, const char *host);
void name_wait_init(struct name_wait *w, void (*fn)(struct ctl *c, struct name_wait *w));

/* True: the answer (or failure) is in n now.  False: w->fn will be called. */
bool name_ask(struct names *s, struct name *n, struct name_wait *w, uint64_t now);

/* Nobody is called any more for w.  Safe at any time after name_wait_init. */
void name_cancel(struct name_wait *w);

/* On readiness of s->bell: takes in answers and calls the waiters. */
void names_turn(struct names *s, struct ctl *c, uint64_t now);

/* It is another host's from now on: who waits for an answer is called again, and asks for that one's. */
void name_change(struct name *n, struct ctl *c, const char *host);

/* Waits for the answer: for start-up only.  0 or EAI_*. */
int name_now(struct name *n);

/* Text of the failure in n. */
const char *name_error(const struct name *n);
