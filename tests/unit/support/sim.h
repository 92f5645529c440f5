/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A link under a virtual clock: delay, jitter, loss, reordering, duplication, a bottleneck with a queue.  One
 * direction; everything follows from the seed.  Times are microseconds.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* splitmix64: good enough for dice, the same everywhere. */
struct sim_rng {
	uint64_t s;
};

uint64_t sim_rand(struct sim_rng *g);
uint32_t sim_below(struct sim_rng *g, uint32_t n);	/* 0 .. n-1; 0 for n = 0 */
bool sim_chance(struct sim_rng *g, uint32_t per_mille); /* true in so many of 1000 */

struct sim_conf {
	uint64_t delay_us;  /* of every datagram */
	uint64_t jitter_us; /* and a random part of this on top */
	bool fifo;	    /* jitter does not reorder */
	uint32_t loss;	    /* per mille, as the next two */
	uint32_t dup;
	uint32_t reorder;
	uint64_t reorder_us; /* added to those reordered; 0: half the delay */
	uint64_t rate_bps;   /* bottleneck; 0: none */
	uint64_t queue;	     /* bytes that wait before it; more are lost; 0: no limit */
};

struct sim_link;

struct sim_stats {
	uint64_t sent, lost, overflow, dup, reordered, delivered, bytes;
};

struct sim_link *sim_link_new(const struct sim_conf *conf, uint64_t seed);
void sim_link_free(struct sim_link *l);

/* The weather changes from now on; what is on its way is not touched. */
void sim_link_set(struct sim_link *l, const struct sim_conf *conf);

void sim_link_send(struct sim_link *l, const void *p, size_t n, uint64_t now_us);

/* When the next datagram arrives; UINT64_MAX when none is on its way. */
uint64_t sim_link_next(const struct sim_link *l);

/* The datagram that has arrived first by now_us, into buf of cap bytes (longer ones are cut); its length, or -1. */
int sim_link_recv(struct sim_link *l, void *buf, size_t cap, uint64_t now_us);

const struct sim_stats *sim_link_stats(const struct sim_link *l);
