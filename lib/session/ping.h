/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How long a word takes through a session to its peer and back: a segment that every speaker of the protocol
 * acknowledges and throws away (kcp_prove_put), alone in a datagram, and its ts, which comes back.  One at a time of a
 * shard's sessions: a later one takes the place of an earlier.
 *
 * A peer acknowledges what is old to it only where it is the last of those that wait together (wire.md 4.4): on a
 * session that carries much the answer may not come, and KCP's own samples of the round trip tell.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pkt.h"

struct sess;
struct shard;

struct ping {
	uint64_t id; /* of its session; 0: there is none */
	uint32_t ts; /* that comes back */
	bool due;    /* it is to be sent */
	uint64_t at; /* us: when it was */
	uint32_t us; /* what it took; 0: it is not back yet */
};

/* Between turns: ss is asked with the next output.  False: it may not be sent anything for now. */
bool ping_start(struct sess *ss);
/* The datagram of the ping that is due, into out; 1, or 0 where its session is no more. */
unsigned ping_output(struct shard *s, struct pkt *out, uint64_t now);
/* A KCP datagram of the session that is pinged has come. */
void ping_heard(struct sess *ss, const uint8_t *p, uint32_t n, uint64_t now);
