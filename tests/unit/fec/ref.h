/* SPDX-License-Identifier: MIT */
#pragma once

/* The code by the letter of wire.md 3.3: byte by byte, with the matrix V * inverse(V_top) by Gauss and Jordan. */

#include <stddef.h>
#include <stdint.h>

uint8_t ref_mul(uint8_t a, uint8_t b);

/* Parity rows: ps of ds coefficients. */
void ref_rows(unsigned ds, unsigned ps, uint8_t *rows);

/* One parity body of `len` bytes out of ds bodies with their own lengths, zero beyond them. */
void ref_parity(const uint8_t *row, unsigned ds, uint8_t *const *body, const unsigned *n, unsigned len, uint8_t *out);
