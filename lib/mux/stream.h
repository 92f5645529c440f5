/* SPDX-License-Identifier: MIT */
#pragma once

/* Inside mux only: what its files share about streams. */

#include "mux.h"

/* The stream of that id, NULL: none. */
struct mux_stream *mux_find(const struct mux *m, uint32_t id);

/* A new stream in the table; the id must be free.  NULL: no memory. */
struct mux_stream *mux_add(struct mux *m, uint32_t id);

/* Takes s off everything, returns what it held to the bucket, and frees it. */
void mux_forget(struct mux *m, struct mux_stream *s);

/* Bytes that the peer's window still allows (wire.md 8.5); no limit in v1. */
uint32_t mux_credit(const struct mux *m, const struct mux_stream *s);

/* turn.c: puts s on the run list or takes it off, as its state says: to be called after every change of avail, credit,
 * flags. */
void mux_ready(struct mux *m, struct mux_stream *s);

/* Takes s off the run list, if it is on it. */
void mux_unready(struct mux *m, struct mux_stream *s);

/* The stream whose turn it is (there must be one), off the list and charged for a frame of *n payload bytes: 0 when all
 * that is left is to tell its end. */
struct mux_stream *mux_turn(struct mux *m, uint32_t *n);

/* n bytes of s were consumed: counts them, and queues a UPD when one is due. */
void mux_consumed(struct mux *m, struct mux_stream *s, uint32_t n);

/* The peer will not read any more: drops what would be written for it alone. */
void mux_write_off(struct mux *m, struct mux_stream *s, uint16_t why);

/* Queues a FIN for an id without a stream.  False: no room, the SYN stays unanswered. */
bool mux_refuse(struct mux *m, uint32_t id);
