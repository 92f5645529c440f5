/* SPDX-License-Identifier: MIT */
#pragma once

/* One run: a path, flows over it, what changes when, and what came of it. */

#include "wanflow.h"

#define WORLD_FLOWS   16
#define WORLD_CHANGES 32

enum { UP, DOWN }; /* the path's directions: that of the client's, that of the server's packets */

struct world_change {
	uint64_t at;
	struct path_conf path[2]; /* as it is from then on */
};

struct world_conf {
	struct path_conf path[2];
	uint64_t seconds; /* ns: the run */
	uint64_t from;	  /* ns behind a flow's beginning of bulk from which its goodput counts */
	unsigned n_flow, n_change;
	struct wf_conf flow[WORLD_FLOWS];
	struct world_change change[WORLD_CHANGES];
};

struct wf_result {
	double mbit;	/* goodput of its bulk, from `from` to the end */
	double ratio;	/* bytes that the bulk's sender put on the wire for each that arrived; 0: none arrived */
	double echo[3]; /* p50, p99, longest, ms */
	unsigned echo_n, echo_lost;
	double stall; /* ms: longest without a byte of bulk, once it had begun */
	struct end_look end[2];
	uint64_t wrong;
	double recent; /* goodput of the last fifth of the run, for fairness */
};

struct dir_result {
	double mbit, wait[3]; /* past the bottleneck; ms in its queue: p50, p99, longest */
	uint64_t in, lost, dropped, policed, black;
};

struct change_result { /* in the direction of the bulk, after a change */
	double first;  /* ms until a byte of bulk came; < 0: none did before the next change */
	double nine;   /* ms until nine tenths of the rate were used, over 200 ms; < 0: never */
	uint64_t dropped;
};

struct world_result {
	struct wf_result flow[WORLD_FLOWS];
	struct dir_result dir[2];
	struct change_result change[WORLD_CHANGES];
	double jain; /* of `recent`, of all flows with bulk */
	double cpu;  /* seconds of CPU that the run took */
};

/* What a trace takes down, every `every` ns. */
struct world_point {
	double t;	   /* s */
	double link, good; /* Mbit/s in the bulk's direction since the last point: past the bottleneck, of flow 0 */
	double wait;	   /* ms that a packet would wait now */
	double in_flight, window; /* segments of flow 0's sender */
	double srtt;
	double parity, again; /* packets of it since the last point: parity, retransmissions */
};

struct world_trace {
	uint64_t every;
	struct world_point *v;
	unsigned n;
};

/* EAL must run where a kcpgate is among the ends.  trace may be NULL; else its v is malloc'ed. */
void world_run(const struct world_conf *c, uint64_t seed, struct world_result *r, struct world_trace *trace);
