/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A server takes each client as it speaks, and says nothing above KCP before it has heard how; a client whose smuxver
 * is "auto" finds out what its server speaks: speak.c.
 */

#include "sess.h"

/* What a client's tunnel knows of its server, a worker. */
struct tongue {
	uint8_t known; /* version of smux; 0: it is to be found out */
	uint8_t next;  /* to be tried next; 0: 2 */
	uint8_t tries; /* in vain, in a row */
};

/* The session begins: mux_init was called. */
void speak_begin(struct sess *ss);

/* ---- a server's ---- */

/* Of its client's stream the first byte, while ss->plain_open. */
void speak_hear(struct sess *ss, uint8_t first);
/* Is it known what it speaks?  Of bytes that nobody has taken from KCP, too, as far as they tell. */
bool speak_known(struct sess *ss);
/* Frames were taken in: control is told, once, how the client speaks, when that is known. */
void speak_tell(struct sess *ss);

/* ---- a client's ---- */

/* It has a slot now: tries its version, if it has to. */
void speak_try(struct sess *ss, uint64_t now);
/* While ss->tries: a datagram was taken in.  The session may be closed. */
void speak_heard(struct sess *ss, uint64_t now);
/* ss->begin_at has come.  False: the session was closed. */
bool speak_timer(struct sess *ss, uint64_t now);
/* Its server makes a new session of what belongs to this one. */
void speak_forgotten(struct sess *ss);
/* It is given up.  What is known of the server is not, unless it has said anything. */
void speak_forget(struct sess *ss);

/* slot.c: the session's streams wait in its slot again, none of whose bytes have been sent; and who waits there gets a
 * new session, now or after a while. */
void slot_take_back(struct sess *ss, uint64_t now);
void slot_again(struct slot *sl, bool wait, uint64_t now);

/* ---- both ---- */

/*
 * The layer above KCP that came upon `head`, 4 bytes at least, has failed for good: closes the session, for `why`.  If
 * these are the beginning of what the peer is not set to be spoken to in, control is told.
 */
void speak_failed(struct sess *ss, const uint8_t *head, unsigned why, uint64_t now);
