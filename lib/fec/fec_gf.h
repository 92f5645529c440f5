/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Sums of products in the field of 256 elements over runs of bytes, the inner loop of Reed-Solomon: by ISA-L, or where
 * the CPU multiplies by bit matrices (GFNI with AVX-512), by instructions that ISA-L 2.30 does not know of.
 */

#include <stdint.h>

#define FEC_GF_TABLE 32 /* bytes of table a coefficient, whatever the form */

struct fec_gf {
	const char *name;
	/* The form's tables, FEC_GF_TABLE bytes each, of rows rows of k coefficients, row after row. */
	void (*tables)(unsigned k, unsigned rows, const uint8_t *coef, uint8_t *tables);
	/* dst[r][0..n) = sum over i < k of coefficient (r, i) times src[i][0..n). */
	void (*sum)(unsigned n, unsigned k, unsigned rows, const uint8_t *tables, uint8_t *const *src,
		    uint8_t *const *dst);
	/* dst[r][0..n) += coefficient (r, i) times src[0..n). */
	void (*add)(unsigned n, unsigned k, unsigned rows, unsigned i, const uint8_t *tables, const uint8_t *src,
		    uint8_t *const *dst);
	unsigned sum_rows; /* beyond so many rows, `add` of every source is quicker than `sum` */
};

/* The i-th form that this CPU runs, the best first; NULL beyond.  All give the same bytes, if not the same tables. */
const struct fec_gf *fec_gf_form(unsigned i);

/* The best. */
const struct fec_gf *fec_gf(void);
