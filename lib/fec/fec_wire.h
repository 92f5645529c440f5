/* SPDX-License-Identifier: MIT */
#pragma once

/* FEC on the wire, wire.md 3.1: seqid(4) | type(2) | body, where a data packet's body is size(2) | KCP datagram. */

#include <stdint.h>

#include "fec.h"
#include "le.h"

#define FEC_SEQID_OFF 0
#define FEC_TYPE_OFF  4
#define FEC_BODY_OFF  6 /* what the code covers begins here, in data and parity packets alike */
#define FEC_SIZE_LEN  2 /* the size field, which counts itself */

#define FEC_PARITY_GAP_MS 500 /* a closing packet this late after its predecessor gets no parity (wire.md 3.2) */
#define FEC_GROUPS_BEHIND 3   /* a group further behind the newest is given up (wire.md 3.4) */
#define FEC_TUNE_SAMPLES  258 /* the longest group, and an edge on each side (wire.md 3.7) */
#define FEC_MAX_TUNED	  255 /* largest ds + ps that detection adopts */

/*
 * A shape is proved by so many bytes that another would have foretold wrongly, 2^-64 by chance: bytes that differ
 * between packets of a group that agree; and by packets of so many groups that fit their places.
 */
#define FEC_PROOF_BYTES	 8
#define FEC_PROOF_GROUPS 2

/* ISA-L's kernels take at least this many bytes in vector registers and fall back to single bytes below. */
#define FEC_MIN_RUN 64

_Static_assert(FEC_BODY_OFF == FEC_PARITY_OFF, "parity begins where a data packet has its size field");
_Static_assert(FEC_BODY_OFF + FEC_SIZE_LEN == FEC_HEAD, "a data packet's header is all that FEC adds");
_Static_assert(FEC_MAX_SHARDS == 256, "shards are numbered by elements of GF(2^8)");
_Static_assert(FEC_MAX_BODY % 64 == 0, "bodies lie side by side on cache lines");

/* seqids run 0 .. fec_paws - 1: whole groups only, so that a group never straddles the wrap. */
static inline uint32_t fec_paws(unsigned size)
{
	return UINT32_MAX / size * size;
}
