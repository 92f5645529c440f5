/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fec_tune.h"
#include "seq.h"

#define SEEN   1
#define DATA   2
#define REPEAT 4

static size_t tune_bytes(unsigned cap)
{
	return sizeof(struct fec_tune) + cap * sizeof(uint32_t);
}

void fec_tune_free(struct fec_tune **t, struct mem *mem)
{
	if (*t)
		mem_put(mem, *t, tune_bytes((*t)->cap));
	*t = NULL;
}

/* Doubles what fits, within FEC_TUNE_SAMPLES: sizes that fill cache lines. */
static void tune_grow(struct fec_tune **t, struct mem *mem)
{
	size_t bytes = *t ? 2 * tune_bytes((*t)->cap) : 64;
	unsigned cap = (unsigned)((bytes - sizeof(**t)) / sizeof(uint32_t));
	struct fec_tune *big;

	if (cap > FEC_TUNE_SAMPLES)
		cap = FEC_TUNE_SAMPLES;
	big = mem_get(mem, tune_bytes(cap));
	if (!big)
		return;
	*big = (struct fec_tune){.cap = (uint16_t)cap};
	if (*t) {
		big->at = big->count = (*t)->count;
		memcpy(big->sample, (*t)->sample, (*t)->count * sizeof(uint32_t));
		fec_tune_free(t, mem);
	}
	*t = big;
}

void fec_tune_sample(struct fec_tune **tp, struct mem *mem, bool is_data, uint32_t seqid)
{
	struct fec_tune *t = *tp;

	if (!t || (t->at == t->cap && t->cap < FEC_TUNE_SAMPLES)) {
		tune_grow(tp, mem);
		t = *tp;
		if (!t)
			return;
	}
	if (t->at == t->cap)
		t->at = 0;
	t->sample[t->at++] = seqid << 1 | is_data;
	if (t->count < t->cap)
		t->count++;
}

/*
 * Lays the samples out by their distance from the oldest seqid.  Stock sorts them; but since a gap ends the search,
 * only the run of consecutive seqids at the oldest matters, and it fits in as many places as there are samples.
 */
static void tune_lay(const struct fec_tune *t, uint8_t map[FEC_TUNE_SAMPLES])
{
	uint32_t oldest = t->sample[0] | 1;

	memset(map, 0, FEC_TUNE_SAMPLES);
	for (unsigned i = 1; i < t->count; i++) {
		if (seq_lt(t->sample[i] | 1, oldest))
			oldest = t->sample[i] | 1;
	}
	for (unsigned i = 0; i < t->count; i++) {
		uint32_t d = ((t->sample[i] | 1) - oldest) / 2;

		if (d >= FEC_TUNE_SAMPLES)
			continue;
		if (map[d])
			map[d] |= REPEAT;
		else
			map[d] = t->sample[i] & 1 ? SEEN | DATA : SEEN;
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

	if (!t)
		return false;
	tune_lay(t, map);
	*ds = tune_period(map, DATA);
	*ps = tune_period(map, 0);
	return *ds && *ps && *ds + *ps <= FEC_MAX_TUNED;
}
