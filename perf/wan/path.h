/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One direction of a path in virtual time: loss, a bottleneck with a drop-tail queue or a policer, delay, jitter,
 * reordering, duplication, blackouts.  What happens follows from the configuration, the seed and what is sent when.
 * Times are nanoseconds; nothing here reads a clock.
 */

#include <stdbool.h>
#include <stdint.h>

#define PATH_NEVER UINT64_MAX
#define PATH_MS	   UINT64_C(1000000)
#define PATH_S	   UINT64_C(1000000000)

struct path_conf {
	uint64_t delay;	 /* of every packet, behind the bottleneck */
	uint64_t jitter; /* and an even part of this on top */
	bool fifo;	 /* jitter keeps the order */
	uint64_t rate;	 /* bottleneck, bits a second; 0: none */
	uint32_t queue;	 /* packets that wait for it, beside the one under way; more are dropped */
	bool own; /* the queue is as long as so many packets of the arriving one's size take: so a short one finds
		   * it full early.  The emulator that gave the figures to compare with was like that. */
	uint32_t bucket; /* bytes: it has no queue, but drops what exceeds the rate and this bucket; 0: it has */
	double loss;	 /* share of packets */
	double burst;	 /* mean length of a run of losses (Gilbert-Elliott); <= 1: each by itself */
	bool early;	 /* losses are in front of the bottleneck, rather than behind it */
	double dup;	 /* share */
	double reorder;	 /* share, held back by reorder_by */
	uint64_t reorder_by;
	bool black; /* nothing gets in */
};

struct path_pkt {
	uint64_t at;  /* when it arrives */
	uint64_t seq; /* equal times keep the order of sending */
	uint64_t in;  /* when it was sent */
	uint32_t wire;
	uint16_t n;
	uint16_t flow;
	uint64_t extra; /* delay of this flow alone */
	uint8_t data[];
};

#define PATH_DATA_MAX 1600 /* bytes of a packet that are carried */
#define PATH_WAIT_US  100  /* of a class of waiting times */
#define PATH_WAITS    20000

struct path_stats {
	uint64_t in, in_bytes;	 /* sent into it */
	uint64_t fwd, fwd_bytes; /* past the bottleneck */
	uint64_t out;		 /* delivered */
	uint64_t black, lost, queue_drops, policed, dup, reordered;
	uint64_t wait_most;	   /* ns in the queue */
	uint32_t wait[PATH_WAITS]; /* packets that waited so many PATH_WAIT_US: the last one, or longer */
};

struct path;

struct path *path_new(const struct path_conf *conf, uint64_t seed);
void path_free(struct path *l);

/* The weather changes at `now`.  What is on its way is not touched, nor the packet that is just being sent; what waits
 * leaves at the new rate. */
void path_set(struct path *l, const struct path_conf *conf, uint64_t now);
const struct path_conf *path_conf(const struct path *l);

/* n bytes, which take `wire` bytes of the bottleneck; `extra`: this flow's own delay.  `now` never runs backward. */
void path_send(struct path *l, const void *p, uint16_t n, uint32_t wire, uint16_t flow, uint64_t extra, uint64_t now);

/* When something happens next; PATH_NEVER. */
uint64_t path_next(const struct path *l);

/* The packet that has arrived first by `now`, for buf_put; NULL: none has. */
struct path_pkt *path_recv(struct path *l, uint64_t now);

/* Packets that wait at `now`, and how long the next one would. */
uint32_t path_queued(struct path *l, uint64_t now);
uint64_t path_wait(struct path *l, uint64_t now);

const struct path_stats *path_stats(const struct path *l);
/* What this share of the packets past the bottleneck has waited at most, in ms. */
double path_waited(const struct path *l, double share);
/* Forgets what was counted. */
void path_zero(struct path *l);
