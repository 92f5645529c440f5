/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The links of sim.h, with an adversary in place of the weather: what becomes of each datagram is the input's to say.
 * Without input, and when it is used up, each arrives after the link's delay.
 *
 * A datagram here is what lies below the cipher, behind the client's port (2 bytes).  An adversary without the key can
 * lose, delay, repeat and reorder, and send to another session of the same key what was meant for one; who has the key
 * (or a peer that is broken) can change it.  To send back to an end what it has sent takes no key; but the protocol has
 * nothing that tells the two directions apart, so what becomes of the bytes then is as if they had been changed.
 */

#include "fuzz.h"

struct hostile {
	struct fuzz_in *in; /* NULL: nobody is there */
	bool has_key;
	unsigned ports[2]; /* of the client's sessions */
};

extern struct hostile hostile;
