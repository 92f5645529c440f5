/* SPDX-License-Identifier: MIT */
#pragma once

/* Parameter detection, wire.md 3.7: which (ds, ps) a peer uses, from the types and seqids of what it sent last. */

#include <stdbool.h>
#include <stdint.h>

#include "fec_wire.h"

/*
 * The latest FEC_TUNE_SAMPLES packets, in as much memory as there are of them so far: most sessions are idle, and see a
 * few between two pauses.
 */
struct fec_tune {
	uint16_t at;	   /* the next sample's place */
	uint16_t count;	   /* samples held */
	uint16_t cap;	   /* that fit */
	uint32_t sample[]; /* low 31 bits of the seqid, which tell one of these apart from another, and bit 0: data */
};

/*
 * Records a packet; the oldest makes room when there are FEC_TUNE_SAMPLES, or when there is no memory for more.  *t is
 * NULL before the first, and stays so when not even that fits.
 */
void fec_tune_sample(struct fec_tune **t, struct mem *mem, bool is_data, uint32_t seqid);

/* Gives back *t, which becomes NULL. */
void fec_tune_free(struct fec_tune **t, struct mem *mem);

/* True when the samples (NULL: none) show how many data and parity packets a group has. */
bool fec_tune_find(const struct fec_tune *t, unsigned *ds, unsigned *ps);
