/* SPDX-License-Identifier: MIT */
#pragma once

/* A server's sessions whose peers seem to be servers too. */

#include "sess.h"

/* Something has come of ss, which was unproved before. */
void mute_heard(struct sess *ss);
/* A keepalive is due.  True: nothing is to be sent to the peer, until mute_end. */
bool mute_look(struct sess *ss, uint64_t now);
/* The peer has opened a stream. */
void mute_end(struct sess *ss);
