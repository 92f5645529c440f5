/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Stock's FEC (wire.md section 3), around lib/fec's arithmetic.  The decoder of 2021 is one ordered list of the last
 * packets; today's is lib/fec's own.  Neither has to find out a shape here: both ends of a stock tunnel have the same.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fec.h"

#define SF_SHAPES 3 /* groups' worth of packets that the list holds */

struct sf_pkt {
	uint64_t ms;
	uint32_t seqid;
	uint16_t n;
	bool data;
	uint8_t *body; /* a buf */
};

struct sf {
	int year;
	struct fec_codec *codec;
	struct fec_enc enc;
	struct fec_dec *dec; /* not of 2021 */
	struct sf_pkt *list; /* 2021: by seqid */
	unsigned n_list;
	struct fec_got got;
	uint8_t *scratch;
	void *region;
	struct mem *mem;
	struct snmp cnt;
	uint64_t foreign; /* packets that do not fit our shape */
};

void sf_init(struct sf *f, int year, unsigned ds, unsigned ps);
void sf_fini(struct sf *f);

/* Dresses v[0]; returns how many parity packets follow in v[1..]. */
unsigned sf_encode(struct sf *f, struct pkt *v, uint64_t ms);

/* Takes one FEC packet: what it lets recover is in f->got until the next call. */
void sf_decode(struct sf *f, uint8_t *p, uint16_t n, uint64_t ms);
