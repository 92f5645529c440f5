/* SPDX-License-Identifier: MIT */
#pragma once

/* /status.json: what the page shows. */

#include "glance.h"
#include "om.h"

#define STATUS_LINES 8	 /* tunnels whose last minutes are told: the busiest */
#define STATUS_ROWS  200 /* sessions: those that are first by what they are sorted by */

#define STATUS_SORTS "in, out, lost, rtt, queue, streams, flight, memory, age"

struct status_ask {
	uint64_t since; /* seconds after this one, as far as they are kept */
	int tunnel;	/* -1: all */
	unsigned sort;	/* see status_sort; 0: by bytes both ways */
};

/* False: there is no such word. */
bool status_sort(const char *word, struct status_ask *ask);

/* With the lock of l held. */
void status_put(struct om *o, const struct tlm_src *src, const struct glance *l, double started,
		const struct status_ask *ask);
