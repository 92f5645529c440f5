/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Messages between two threads, as events on shared objects.  An object is in a mailbox at most once: posting sets bits
 * in its event word, and only the post that finds the word empty puts the object into the ring.  So a ring that holds
 * every object never overflows, posts coalesce, and no message is ever lost or waits for room.
 */

#include <stdbool.h>
#include <stdint.h>

struct rte_ring;

/* Embedded once for each direction in the object that is shared. */
struct mbox_ent {
	_Atomic uint32_t events; /* writers: both ends */
	uint32_t kind;		 /* what it is embedded in; constant */
};

struct mbox {
	struct rte_ring *ring;
	uint64_t posted; /* writer: the posting thread; entries put since creation */
	_Atomic uint32_t sleeping __attribute__((aligned(64))); /* writer: the reading thread: it wants to be woken */
};

/*
 * A mailbox with room for `objects` entries (all that can ever be posted to it).  Single producer, single consumer.
 * name: for EAL's heap listing, need not differ.  0 or -errno.
 */
int mbox_create(struct mbox **out, const char *name, unsigned objects, int socket);
void mbox_destroy(struct mbox *b);

/* Adds events (not 0) to e; what was written before is visible to who gets them.  True when e had none, so that the
 * reader may need a wake-up (see mbox_wanted). */
bool mbox_post(struct mbox *b, struct mbox_ent *e, uint32_t events);

/* Takes up to max entries; ev[i] gets the events of ents[i].  After this the same entry may be posted again. */
unsigned mbox_get(struct mbox *b, struct mbox_ent **ents, uint32_t *ev, unsigned max);
bool mbox_empty(const struct mbox *b);

/*
 * Sleep protocol: the reader calls mbox_sleep (full barrier) and checks mbox_empty once more before it blocks, and
 * mbox_awake afterwards.  The writer, after posting, asks mbox_wanted (full barrier) once a turn, and if true rings the
 * reader's bell (an eventfd or futex outside this room).  mbox_wanted is true once for each mbox_sleep: who gets it
 * must ring.
 */
void mbox_sleep(struct mbox *b);
void mbox_awake(struct mbox *b);
bool mbox_wanted(struct mbox *b);
