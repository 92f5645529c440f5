/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

static uint8_t product[256][256];

static void product_fill(void)
{
	for (unsigned a = 0; a < 256; a++) {
		for (unsigned b = 0; b < 256; b++) {
			unsigned x = a, sum = 0;

			for (unsigned bit = 0; bit < 8; bit++) {
				if (b >> bit & 1)
					sum ^= x;
				x = x << 1 ^ (x & 0x80 ? 0x11d : 0);
			}
			product[a][b] = (uint8_t)sum;
		}
	}
}

uint8_t ref_mul(uint8_t a, uint8_t b)
{
	if (!product[1][1])
		product_fill();
	return product[a][b];
}

static uint8_t ref_inv(uint8_t a)
{
	for (unsigned b = 1; b < 256; b++) {
		if (ref_mul(a, (uint8_t)b) == 1)
			return (uint8_t)b;
	}
	abort();
}

/* m (n x 2n): reduces the left half to the identity. */
static void gauss(uint8_t *m, unsigned n)
{
	unsigned w = 2 * n;

	for (unsigned c = 0; c < n; c++) {
		unsigned r = c;
		uint8_t f;

		while (!m[r * w + c])
			r++;
		for (unsigned k = 0; r != c && k < w; k++) {
			uint8_t t = m[r * w + k];

			m[r * w + k] = m[c * w + k];
			m[c * w + k] = t;
		}
		f = ref_inv(m[c * w + c]);
		for (unsigned k = 0; k < w; k++)
			m[c * w + k] = ref_mul(m[c * w + k], f);
		for (r = 0; r < n; r++) {
			f = m[r * w + c];
			for (unsigned k = 0; r != c && f && k < w; k++)
				m[r * w + k] ^= ref_mul(f, m[c * w + k]);
		}
	}
}

static uint8_t vandermonde(unsigned r, unsigned c)
{
	uint8_t p = 1;

	while (c--)
		p = ref_mul(p, (uint8_t)r);
	return p;
}

void ref_rows(unsigned ds, unsigned ps, uint8_t *rows)
{
	uint8_t *top = calloc(ds, 2 * (size_t)ds);

	for (unsigned r = 0; r < ds; r++) {
		for (unsigned c = 0; c < ds; c++)
			top[r * 2 * ds + c] = vandermonde(r, c);
		top[r * 2 * ds + ds + r] = 1;
	}
	gauss(top, ds);
	for (unsigned j = 0; j < ps; j++) {
		for (unsigned c = 0; c < ds; c++) {
			uint8_t sum = 0;

			for (unsigned k = 0; k < ds; k++)
				sum ^= ref_mul(vandermonde(ds + j, k), top[k * 2 * ds + ds + c]);
			rows[j * ds + c] = sum;
		}
	}
	free(top);
}

void ref_parity(const uint8_t *row, unsigned ds, uint8_t *const *body, const unsigned *n, unsigned len, uint8_t *out)
{
	memset(out, 0, len);
	for (unsigned i = 0; i < ds; i++) {
		for (unsigned k = 0; k < n[i]; k++)
			out[k] ^= ref_mul(row[i], body[i][k]);
	}
}
