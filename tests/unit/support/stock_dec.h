/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The decoders of stock's generations with their search for a shape (wire.md 3.4, 3.6, 3.7), whatever becomes of it:
 * all of them believe at once what they find, and rebuild from what lies in a place, whether it belongs there or not.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fec.h"
#include "fec_tune.h"

enum stock_year {
	STOCK_2016, /* its shape is fixed */
	STOCK_2020, /* to 2023-10: searches at each misfit, in samples kept by seqid, and rebuilds meanwhile */
	STOCK_2023, /* to 2026-01: rebuilds nothing from the first misfit on, until it finds another shape than it has
		     */
	STOCK_2026, /* until it finds one: lib/fec's own, which trusts */
	STOCK_YEARS
};

struct stock_pkt {
	uint32_t seqid;
	uint16_t n;
	bool data;
	uint8_t *body;
};

struct stock_dec {
	enum stock_year year;
	unsigned ds, ps;
	bool searches; /* STOCK_2023 */
	struct {
		uint32_t seqid;
		bool data;
	} sample[FEC_TUNE_SAMPLES];
	struct fec_tune *tune;
	struct stock_pkt *list; /* by seqid */
	unsigned n_list, most;
	struct fec_dec *dec;
	struct mem *mem;
	struct snmp cnt;
	uint8_t *scratch;
	struct fec_got got;
};

void stock_dec_init(struct stock_dec *d, enum stock_year year, const struct fec_codec *codec, struct mem *mem);
void stock_dec_fini(struct stock_dec *d);

/* Takes one FEC packet; what it rebuilds is in d->got until the next call. */
void stock_dec_take(struct stock_dec *d, uint8_t *p, uint16_t n);
