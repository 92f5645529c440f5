/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A flow: two ends, and the applications that talk through them.  Stream 0 is an echo, a message of ECHO_BYTES at a
 * time, where there is one; the others carry as much as they can, one way.  What is sent is a pattern, and every byte
 * that arrives is compared with it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "end.h"

#define ECHO_BYTES 200
#define FLOW_BULKS 32
#define FLOW_LOTS  (UINT64_C(1) << 60)
#define BIN_NS	   (10 * PATH_MS) /* in which bytes are counted */

struct wf_conf {
	enum end_kind kind[2];
	unsigned bulks;
	bool up;		/* they go from the client to the server */
	uint64_t echo;		/* ns between messages; 0: no echo */
	uint64_t start, lead;	/* ns: when it begins; and how much later its bulk does */
	uint64_t delay;		/* of this flow alone, each way */
	struct end_conf end[2]; /* filled in when all statements are known */
};

struct wan_flow {
	struct wf_conf conf;
	uint16_t id;
	struct end *end[2];
	struct path *out[2]; /* that of the client's, that of the server's packets */
	uint64_t stop;	     /* when the run ends */
	/* by stream, at the end that receives it */
	uint64_t got[2][1 + FLOW_BULKS];
	uint64_t wrong; /* bytes that were not what was sent */
	uint64_t bulk_got;
	uint32_t *bin; /* bulk's bytes, a BIN_NS each */
	uint32_t n_bin;
	float *rtt; /* ms, by echo message; 0: it has not come back */
	uint32_t n_rtt;
	uint64_t sent_bytes[2]; /* on the wire, by end */
};

void wf_init(struct wan_flow *f, const struct wf_conf *conf, uint16_t id, struct path *up, struct path *down,
	     uint64_t stop, uint64_t seed);
void wf_fini(struct wan_flow *f);

/* Streams that the client has opened by now. */
unsigned wf_streams(const struct wan_flow *f, uint64_t now);
/* Bytes that the application at this end has handed over to stream i by now, in all. */
uint64_t wf_offer(const struct wan_flow *f, int side, unsigned i, uint64_t now);
/* What it hands over at byte `at`. */
void wf_fill(uint8_t *p, uint64_t at, uint32_t n);
/* What has come out of stream i at this end. */
void wf_got(struct wan_flow *f, int side, unsigned i, const uint8_t *p, uint32_t n, uint64_t now);
/* When an application does something next by itself. */
uint64_t wf_next(const struct wan_flow *f, uint64_t now);
/* TCP competitors carry no bytes: so many segments' worth have come in order. */
void wf_count(struct wan_flow *f, uint64_t bytes, uint64_t now);
