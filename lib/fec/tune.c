/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fec_tune.h"
#include "seq.h"

#define SEEN   1
#define DATA   2
#define REPEAT 4

void fec_tune_init(struct fec_tune *t)
{
	t->at = 0;
	t->count = 0;
}

void fec_tune_sample(struct fec_tune *t, bool is_data, uint32_t seqid)
{
	uint8_t bit = (uint8_t)(1u << (t->at & 7));

	t->seqid[t->at] = seqid;
	if (is_data)
		t->data[t->at / 8] |= bit;
	else
		t->data[t->at / 8] &= (uint8_t)~bit;
	if (++t->at == FEC_TUNE_SAMPLES)
		t->at = 0;
	if (t->count < FEC_TUNE_SAMPLES)
		t->count++;
}

/*
 * Lays the samples out by their distance from the oldest seqid.  Stock sorts them; but since a gap ends the search,
 * only the run of consecutive seqids at the oldest matters, and it fits in as many places as there are samples.
 */
static void tune_lay(const struct fec_tune *t, uint8_t map[FEC_TUNE_SAMPLES])
{
	uint32_t oldest = t->seqid[0];

	memset(map, 0, FEC_TUNE_SAMPLES);
	for (unsigned i = 1; i < t->count; i++) {
		if (seq_lt(t->seqid[i], oldest))
			oldest = t->seqid[i];
	}
	for (unsigned i = 0; i < t->count; i++) {
		uint32_t d = t->seqid[i] - oldest;

		if (d >= FEC_TUNE_SAMPLES)
			continue;
		if (map[d])
			map[d] |= REPEAT;
		else
			map[d] = t->data[i / 8] >> (i & 7) & 1 ? SEEN | DATA : SEEN;
	}
}

/* Length of the first whole run of `kind` (0 or DATA), 0 when a gap or a repeated seqid comes first. */
static unsigned tune_period(const uint8_t map[FEC_TUNE_SAMPLES], uint8_t kind)
{
	unsigned left = 0;

	for (unsigned i = 1; i < FEC_TUNE_SAMPLES; i++) {
		bool was, is;

		if ((map[i - 1] & REPEAT) || !(map[i] & SEEN))
			return 0;
		was = (map[i - 1] & DATA) == kind;
		is = (map[i] & DATA) == kind;
		if (!was && is)
			left = i;
		else if (was && !is && left)
			return i - left;
	}
	return 0;
}

bool fec_tune_find(const struct fec_tune *t, unsigned *ds, unsigned *ps)
{
	uint8_t map[FEC_TUNE_SAMPLES];

	if (!t->count)
		return false;
	tune_lay(t, map);
	*ds = tune_period(map, DATA);
	*ps = tune_period(map, 0);
	return *ds && *ps && *ds + *ps <= FEC_MAX_TUNED;
}
