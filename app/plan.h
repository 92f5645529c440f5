/* SPDX-License-Identifier: MIT */
#pragma once

/* The memory that a configuration needs, in all and on each NUMA node. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "place.h"

#define PLAN_RING_FRAMES 2048u /* of punt, inject and steering rings */

/* How much of everything a configuration needs, and where. */
struct plan {
	const char *sys; /* of the machine that it is made for */
	bool huge;	 /* made for hugepages */
	unsigned workers, controls;
	unsigned mbufs;	    /* packet buffers of all pools */
	unsigned hold;	    /* of them, those that one worker's FEC groups may keep */
	unsigned chunks;    /* of chans, CHAN_CHUNK bytes each */
	unsigned chans;	    /* streams at a time */
	size_t heap;	    /* bytes of each worker's `mem` */
	unsigned given_mb;  /* what may be used: eal.memory, or what plan_fit allows; 0: the defaults */
	unsigned memory_mb; /* of EAL in all, a multiple of 2 */
	unsigned least_mb;  /* less than that runs nothing */
	uint64_t nodes;	    /* NUMA nodes of the machine that have memory, a bit each */
	unsigned n_nodes;   /* that memory is taken of: */
	unsigned node_mb[TOPO_NODES_MAX];
	unsigned lcore[1 + CONF_WORKERS_MAX]; /* DPDK's number of control's, each worker's, further controls' */
	char default_lcores[64];	      /* for EAL when the file has none */
	struct place_in in;
	struct place place;
};

/* sys: where sysfs is mounted; it must outlive the plan. */
void plan_make(struct plan *p, const struct conf *c, const char *sys, bool huge);
/*
 * A plan for ordinary pages, whose memory is taken as it is used: where the file does not say how much, it is no more
 * than three quarters of what the machine has available, and no less than what anything runs in.
 */
void plan_fit(struct plan *p, const struct conf *c, unsigned available_mb);
/* 0, or -1 and why: eal.memory is given, and too little for anything. */
int plan_enough(const struct plan *p, const struct conf *c, char *why, size_t n);
/* One line a part, for `kcpgate check`. */
void plan_print(const struct plan *p, const struct conf *c);
/* What place_faults says, as a line. */
void plan_fault_text(const struct plan *p, const struct conf *c, enum place_fault what, unsigned a, unsigned b,
		     char *buf, size_t n);
struct plan_names { /* for place_say */
	const struct plan *plan;
	const struct conf *conf;
};
