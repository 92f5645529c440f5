/* SPDX-License-Identifier: MIT */
#pragma once

/* Parameter detection, wire.md 3.7: which (ds, ps) a peer uses, from the types and seqids of what it sent last. */

#include <stdbool.h>
#include <stdint.h>

#include "fec_wire.h"

struct fec_tune {
	uint16_t at;	/* the next sample's place */
	uint16_t count; /* samples held */
	uint32_t seqid[FEC_TUNE_SAMPLES];
	uint8_t data[(FEC_TUNE_SAMPLES + 7) / 8]; /* bit i: sample i was a data packet */
};

void fec_tune_init(struct fec_tune *t);

/* Records a packet; the oldest of FEC_TUNE_SAMPLES makes room. */
void fec_tune_sample(struct fec_tune *t, bool is_data, uint32_t seqid);

/* True when the samples show how many data and parity packets a group has. */
bool fec_tune_find(const struct fec_tune *t, unsigned *ds, unsigned *ps);
