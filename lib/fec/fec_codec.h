/* SPDX-License-Identifier: MIT */
#pragma once

/* Inside of struct fec_codec, for the encoder.  The decoder needs only the two numbers. */

#include <stdint.h>

#include "fec.h"

struct fec_gf;

struct fec_codec {
	struct fec_codec *next; /* the cache's list, under its lock */
	unsigned refs;		/* under its lock */
	uint8_t ds, ps;
	uint32_t paws;
	const struct fec_gf *gf;		       /* how the sums are made */
	uint8_t *rows;				       /* ps rows of ds coefficients */
	uint8_t tables[] __attribute__((aligned(64))); /* gf's form of them */
};
