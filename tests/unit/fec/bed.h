/* SPDX-License-Identifier: MIT */
#pragma once

/* What the FEC suites stand on: a heap, packets in guarded memory, groups made by the encoder, and a decoder's ledger.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fec.h"
#include "fec_wire.h"

#define BED_DATAGRAM 1500 /* longest datagram of the bed's session */

struct bed {
	struct mem *mem;
	void *region;
	size_t idle; /* mem_used before anything was made */
	struct snmp cnt;
	uint64_t seed;
};

void bed_init(struct bed *b, uint64_t seed);
void bed_fini(struct bed *b); /* asserts that all memory came back */

uint64_t bed_rand(struct bed *b);
unsigned bed_below(struct bed *b, unsigned n); /* 0 .. n-1 */

/* Takes all that is left of the heap, and gives it back. */
void bed_exhaust(struct bed *b);
void bed_relieve(struct bed *b);

/* n bytes that end at an unmapped page; lives until the process ends. */
uint8_t *bed_guarded(size_t n);

/* A packet's memory with room for a datagram of `room` bytes and not one more.  p is at the datagram. */
void bed_lend_room(struct pkt *k, unsigned room);
void bed_lend(struct pkt *k); /* of BED_DATAGRAM bytes */

/* An FEC packet as it arrives, alone in its memory, which ends with it. */
void bed_packet(struct pkt *k, uint32_t seqid, uint16_t type, const void *body, unsigned n);

/* One group: its packets, sealed; data first, then ps parities. */
struct bed_group {
	unsigned ds, ps;
	struct pkt v[FEC_MAX_SHARDS];
};

/* A group by the encoder: one burst of datagrams with len[i] random bytes each.  Asserts that parity came. */
void bed_encode(struct bed *b, struct fec_enc *e, const unsigned *len, struct bed_group *g);

/* A decoder, and who owns what: every handle that it keeps must come back once, and only once. */
struct bed_dec {
	struct bed *bed;
	struct fec_dec *d;
	uint8_t *scratch;
	struct fec_got got;
	bool own; /* lends handles, else the decoder copies */
	unsigned kept;
	unsigned n_copies;
	struct bed_copy *copies; /* every packet fed, with its ledger entry */
};

/* One that takes every shape for proved, as stock does, and one that does not. */
void bed_dec_init(struct bed_dec *t, struct bed *b, const struct fec_codec *c, bool own);
void bed_dec_wary(struct bed_dec *t, struct bed *b, const struct fec_codec *c, bool own);
void bed_dec_fini(struct bed_dec *t);

/* Feeds a copy of packet k, which is wiped as soon as the decoder does not hold it.  Returns the verdict. */
unsigned bed_feed(struct bed_dec *t, const struct pkt *k);

/* Calls fec_dec_release until all is back. */
void bed_release(struct bed_dec *t);

/* Calls fec_dec_let_go until it is content: nothing is kept. */
void bed_let_go(struct bed_dec *t);

/* True when the i-th recovered datagram is the one in data packet k. */
bool bed_is(const struct bed_dec *t, unsigned i, const struct pkt *k);
