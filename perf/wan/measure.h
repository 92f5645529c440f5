/* SPDX-License-Identifier: MIT */
#pragma once

/* What is noted while a world runs, and what is made of it. */

#include "world.h"

struct world {
	const struct world_conf *conf;
	struct path *dir[2];
	int bulk_dir;
	struct wan_flow flow[WORLD_FLOWS];
	uint64_t app_at[WORLD_FLOWS];
	unsigned changed;
	/* bytes past the bottleneck in the bulk's direction, a BIN_NS each */
	uint32_t *link_bin;
	uint32_t n_bin, bin;
	uint64_t link_bytes;
	uint64_t dropped[WORLD_CHANGES]; /* by the queue before each change */
	struct world_trace *trace;
	uint64_t trace_at, trace_link, trace_good, trace_parity, trace_again;
};

/* Closes the bins that end by `now`, and takes a trace's points. */
void measure_until(struct world *w, uint64_t now);
/* The i-th change is about to happen. */
void measure_change(struct world *w, unsigned i);
void measure_end(struct world *w, struct world_result *r);
