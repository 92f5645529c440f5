/* SPDX-License-Identifier: MIT */
#pragma once

/* What was seen before (replay.c). */

#include "sess.h"

/*
 * Of the packet that shard_input is taking in, which has opened.  True: it was seen before, by this worker, or sent;
 * else it is from now on.
 */
bool replay_is(struct shard *s, const struct pkt *k, uint64_t now);

/* Of one behind it in the vector: asks for the line that replay_is will look at, where it will. */
void replay_warm(const struct shard *s, const struct pkt *k, unsigned i);

/*
 * And by another worker?  For what begins, replaces or moves a session: the flow, and so the worker, may be another
 * than where the datagram was recorded.
 */
bool replay_elsewhere(const struct shard *s, const struct pkt *k);

/* ss's conversation, from another address: is it one that ss has had already? */
bool replay_had(const struct sess *ss, const struct pkt *k);
