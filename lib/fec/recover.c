/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <string.h>

#include "fec_gf.h"
#include "fec_matrix.h"
#include "fec_recover.h"

/* Behind the bodies: coefficients and tables of the rows in work. */
struct work {
	uint8_t tables[FEC_ROWS * FEC_MAX_SHARDS * FEC_GF_TABLE];
	uint8_t rows[FEC_ROWS * FEC_MAX_SHARDS];
};

_Static_assert(sizeof(struct work) <= FEC_SCRATCH - FEC_MAX_SHARDS * FEC_MAX_BODY, "work area of the scratch");

/* Lists the data shards that are not in s in `miss`; returns their number. */
static unsigned find_missing(const struct fec_shard *s, unsigned ds, uint8_t *miss)
{
	bool have[FEC_MAX_SHARDS] = {false};
	unsigned n = 0;

	for (unsigned i = 0; i < ds; i++)
		have[s[i].idx] = true;
	for (unsigned i = 0; i < ds; i++) {
		if (!have[i])
			miss[n++] = (uint8_t)i;
	}
	return n;
}

static unsigned find_longest(const struct fec_shard *s, unsigned ds)
{
	unsigned longest = 0;

	for (unsigned i = 0; i < ds; i++) {
		if (s[i].n > longest)
			longest = s[i].n;
	}
	return longest;
}

/* Bodies shorter than the run are copied and padded: what lies behind them in the packet is not ours to read. */
static void gather(const struct fec_shard *s, unsigned ds, unsigned run, uint8_t *room, unsigned stride, uint8_t **src)
{
	for (unsigned i = 0; i < ds; i++) {
		if (s[i].n == run) {
			src[i] = (uint8_t *)s[i].p;
			continue;
		}
		memcpy(room, s[i].p, s[i].n);
		memset(room + s[i].n, 0, run - s[i].n);
		src[i] = room;
		room += stride;
	}
}

static void give(struct fec_got *got, const uint8_t *body, unsigned len)
{
	uint16_t size = le16_get(body);

	if (size < FEC_SIZE_LEN || size > len)
		return;
	got->data[got->n_data].p = body + FEC_SIZE_LEN;
	got->data[got->n_data].n = size - FEC_SIZE_LEN;
	got->n_data++;
}

unsigned fec_recover(const struct fec_shard *s, unsigned ds, uint8_t *scratch, struct fec_got *got)
{
	const struct fec_gf *gf = fec_gf();
	struct work *w = (struct work *)(scratch + FEC_MAX_SHARDS * FEC_MAX_BODY);
	uint8_t x[FEC_MAX_SHARDS] = {0}, weight[FEC_MAX_SHARDS], miss[FEC_MAX_SHARDS];
	uint8_t *src[FEC_MAX_SHARDS], *dst[FEC_MAX_SHARDS];
	unsigned lost = find_missing(s, ds, miss), longest = find_longest(s, ds);
	unsigned run = longest < FEC_MIN_RUN ? FEC_MIN_RUN : longest;
	unsigned stride = (run + 63) & ~63u;

	/* At most ds + min(ds, ps) <= 256 bodies lie in the scratch. */
	for (unsigned i = 0; i < lost; i++)
		dst[i] = scratch + i * stride;
	gather(s, ds, run, scratch + lost * stride, stride, src);
	for (unsigned i = 0; i < ds; i++)
		x[i] = s[i].idx;
	fec_matrix_weights(x, ds, weight);
	for (unsigned at = 0; at < lost; at += FEC_ROWS) {
		unsigned rows = lost - at < FEC_ROWS ? lost - at : FEC_ROWS;

		for (unsigned r = 0; r < rows; r++)
			fec_matrix_row(x, weight, ds, miss[at + r], w->rows + r * ds);
		gf->tables(ds, rows, w->rows, w->tables);
		gf->sum(run, ds, rows, w->tables, src, dst + at);
	}
	for (unsigned i = 0; i < lost; i++)
		give(got, dst[i], longest);
	return lost;
}

bool fec_agrees(const struct fec_shard *s, unsigned ds, const struct fec_shard *more, uint8_t *scratch)
{
	const struct fec_gf *gf = fec_gf();
	struct work *w = (struct work *)(scratch + FEC_MAX_SHARDS * FEC_MAX_BODY);
	uint8_t x[FEC_MAX_SHARDS] = {0}, weight[FEC_MAX_SHARDS], *src[FEC_MAX_SHARDS], *dst = scratch;
	unsigned run = find_longest(s, ds), stride;

	if (run < more->n)
		run = more->n;
	if (run < FEC_MIN_RUN)
		run = FEC_MIN_RUN;
	stride = (run + 63) & ~63u;
	gather(s, ds, run, scratch + stride, stride, src);
	for (unsigned i = 0; i < ds; i++)
		x[i] = s[i].idx;
	fec_matrix_weights(x, ds, weight);
	fec_matrix_row(x, weight, ds, more->idx, w->rows);
	gf->tables(ds, 1, w->rows, w->tables);
	gf->sum(run, ds, 1, w->tables, src, &dst);
	if (memcmp(dst, more->p, more->n))
		return false;
	/* What lies behind a short body is zero. */
	for (unsigned i = more->n; i < run; i++)
		if (dst[i])
			return false;
	return true;
}
