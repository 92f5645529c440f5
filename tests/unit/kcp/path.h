/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Two sessions at the ends of a simulated path, driven as the session room drives them with KCP_CONGESTION_AUTO: turns
 * of the finest clock, full flushes when the pace lets something leave, acknowledgements whatever it says.
 */

#include "kcp_test.h"
#include "sim.h"

#define PATH_ENDLESS UINT64_MAX

struct path_end {
	struct rig *r;
	struct sim_link *out;
	bool unpaced;  /* as much leaves as a flush gives */
	bool stalled;  /* nobody reads */
	double credit; /* bytes that may leave */
	uint64_t credit_us;
	uint64_t pace_at; /* us: the next may leave */
	unsigned want;	  /* KCP_WANT_* */
	uint64_t left;	  /* bytes that are still to be written; PATH_ENDLESS */
	uint64_t rate;	  /* bytes/s by which it grows, */
	uint64_t rate_us; /* and since when */
	uint64_t wrote, read;
	uint64_t sent;	  /* bytes of full flushes */
	uint64_t flushed; /* us: last full flush */
	/* what a test listens to; NULL: nothing */
	void *arg;
	void (*on_in)(void *arg, const uint8_t *p, uint32_t n, uint64_t us);  /* before it is taken in */
	void (*on_took)(void *arg);					      /* after that */
	void (*on_flush)(void *arg, uint64_t us);			      /* before a full flush */
	void (*on_out)(void *arg, const uint8_t *p, uint32_t n, uint64_t us); /* a datagram of it */
};

struct path {
	struct path_end e[2];
	uint64_t us;
	void *arg;
	void (*on_turn)(void *arg); /* after each turn of both */
};

/* KCP_CONGESTION_AUTO, windows without end; bandwidth: kcp_conf's, 0 for no hint. */
struct kcp_conf path_conf(uint64_t bandwidth);
/* ms: when it begins; out[i]: what end i sends into. */
void path_init(struct path *p, const struct kcp_conf conf[2], const struct sim_conf out[2], uint64_t seed, uint64_t ms);
/* Checks that everything taken was given back. */
void path_fini(struct path *p);
/* Runs for so long. */
void path_run(struct path *p, uint64_t us);

/* One end's turn: what has arrived in `in`, what is to be written, what leaves. */
void path_turn(struct path_end *e, struct sim_link *in, uint64_t us);
/* us: when it has something to do */
uint64_t path_next(const struct path_end *e);

/* Byte i of any stream. */
static inline uint8_t path_byte(uint64_t i)
{
	return (uint8_t)((i * 0x9e3779b97f4a7c15) >> 56);
}
