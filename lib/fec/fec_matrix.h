/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The code of wire.md 3.3, seen as interpolation.  V * inverse(V_top) with V[r][c] = r^c sends a polynomial's values at
 * the points 0..ds-1 to its values at 0..ds+ps-1: shard i of a group is the value at the point i of the one polynomial
 *of degree < ds through the data.  So any ds shards give any other by Lagrange's formula, and encoding and decoding are
 * the same sum with other points:
 *
 *	f(y) = sum over i of f(x_i) * w_i * prod(y - x_m, all m) / (y - x_i),  w_i = 1 / prod(x_i - x_m, m != i)
 *
 * O(n^2) where inverting the matrix is O(n^3), and it cannot fail as long as the points differ.
 */

#include <stdint.h>

/* Weights w[0..n) of the n distinct points x, as logarithms. */
void fec_matrix_weights(const uint8_t *x, unsigned n, uint8_t *w);

/* Coefficients row[0..n) that make the shard at point y (none of x) out of those at x. */
void fec_matrix_row(const uint8_t *x, const uint8_t *w, unsigned n, uint8_t y, uint8_t *row);
