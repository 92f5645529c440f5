/* SPDX-License-Identifier: MIT */
#pragma once

/* A server takes each client as it speaks, and says nothing above KCP before it has heard how: speak.c. */

#include "sess.h"

/* The session begins: mux_init was called. */
void speak_begin(struct sess *ss);
/* Of its client's stream the first byte, while ss->plain_open. */
void speak_hear(struct sess *ss, uint8_t first);
/* Is it known what it speaks?  Of bytes that nobody has taken from KCP, too, as far as they tell. */
bool speak_known(struct sess *ss);
/* Frames were taken in: control is told, once, how the client speaks, when that is known. */
void speak_tell(struct sess *ss);
/* The layer above KCP that came upon `head`, 4 bytes at least, has failed for good.  If these are the beginning of what
 * the peer is not set to be spoken to in, control is told. */
void speak_misfit(struct sess *ss, const uint8_t *head);
