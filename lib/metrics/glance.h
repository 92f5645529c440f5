/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What metrics and page show beyond counters: sessions as their workers tell them, and the last minutes of each tunnel.
 * A thread of its own looks once a second.  Of sessions it asks for GLANCE_FEW a worker and second, in turn, and only
 * while somebody looks at the page for up to GLANCE_MANY: however often it is asked for, a worker answers no more
 * often.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard.h"
#include "tlm.h"

#define GLANCE_FEW	 128u
#define GLANCE_MANY	 2048u
#define GLANCE_WATCHED_S 10    /* so long after the last question for the page somebody looks at it */
#define GLANCE_POINTS	 300   /* seconds that are kept */
#define GLANCE_TABLE	 16384 /* sessions that are followed for the page's table */
#define GLANCE_FRESH_MS	 2000  /* a session whose peer was heard within this counts for round trips */
#define GLANCE_HOLD_S	 10    /* so long a tunnel's last round trips stand for it where none was looked at since */

/* A tunnel in one second.  What nobody knows is NAN. */
struct glance_point {
	float in, out;		 /* bytes/s above KCP */
	float wire_in, wire_out; /* bytes/s of UDP payload */
	float lost;		 /* segments sent again, of those sent: 0..1 */
	float recovered, parity; /* datagrams/s that FEC has rebuilt, and of parity received */
	float rtt, queue;	 /* s: of the sessions looked at, the median; queue: what is above the path's least */
	float cpu;		 /* of one CPU, 0..: the workers' busy time shared out by datagrams */
	float sessions;
};

#define GLANCE_QUANTILES 4 /* 0.5, 0.9, 0.99, 1 */
extern const double glance_quantile[GLANCE_QUANTILES];

/* What keeps sessions from sending more, by words of the workers'. */
#define GLANCE_BOUNDS 16
struct glance_bound {
	const char *by;
	unsigned n;
};

/* A tunnel's sessions, of those that were looked at last. */
struct glance_tunnel {
	uint64_t at;					      /* second when there were any; 0: never */
	unsigned n, fresh;				      /* sessions; those of them that count for round trips */
	float rtt[GLANCE_QUANTILES], queue[GLANCE_QUANTILES]; /* s; NAN: not known */
	float min_rtt;					      /* s, the least of all; NAN */
	struct glance_bound bound[GLANCE_BOUNDS];
	unsigned n_bounds;
};

/* A session for the table. */
struct glance_row {
	uint64_t id, at_ms; /* when it was seen last */
	uint64_t bytes_in, bytes_out, age_ms;
	uint32_t sent, again;	   /* segments, they wrap */
	float in, out, lost;	   /* bytes/s, bytes/s, 0..1; NAN before it was seen twice */
	float rtt, min_rtt, queue; /* s; NAN: not known */
	uint32_t streams, flight;  /* streams; segments under way */
	uint64_t memory;
	uint16_t tunnel, worker;
	bool kcpgate;
	const char *by; /* what limits it */
	struct flow_key key;
};

/* A session's round trip in s; NAN: not known.  Below a millisecond it is the path's least with what waits on it. */
float glance_rtt(const struct shard_row *r);

struct glance; /* opaque but for look.c and what shows it */

/* src must live until glance_destroy.  0 or -errno. */
int glance_create(struct glance **out, const struct tlm_src *src);
void glance_destroy(struct glance *l);
/* One second's work, at a time in ms of a monotonic clock; by one thread. */
void glance_turn(struct glance *l, uint64_t now_ms);

/* ---- for who shows it; between glance_lock and glance_unlock ---- */

void glance_lock(struct glance *l);
void glance_unlock(struct glance *l);
/* Somebody looks at the page. */
void glance_watch(struct glance *l);
const struct glance_tunnel *glance_tunnel(const struct glance *l, unsigned tunnel);
/* True: what is known of its round trips still stands for it. */
bool glance_holds(const struct glance *l, unsigned tunnel);
/* How much of the last second a worker was busy, 0..1. */
float glance_load(const struct glance *l, unsigned worker);
/* Seconds looked at so far, the last one's number; point(s) of GLANCE_POINTS seconds up to it, of a tunnel. */
uint64_t glance_seconds(const struct glance *l);
const struct glance_point *glance_point(const struct glance *l, unsigned tunnel, uint64_t second);
/* The sessions of the table, one after the other, *at 0 at first; NULL: no more.  Before anybody looked there are none.
 */
const struct glance_row *glance_table_next(const struct glance *l, unsigned *at);
/* Sessions that were not followed when all were looked at last, for it was full. */
unsigned glance_table_missing(const struct glance *l);
