/* SPDX-License-Identifier: MIT */
#include "stock_dec.h"

#include <stdlib.h>
#include <string.h>

#include "fec_recover.h"
#include "seq.h"

#define LIST_2016 8192
#define GROUPS	  3 /* groups' worth of packets in later lists */

void stock_dec_init(struct stock_dec *d, enum stock_year year, const struct fec_codec *codec, struct mem *mem)
{
	*d = (struct stock_dec){.year = year, .mem = mem, .ds = fec_codec_ds(codec), .ps = fec_codec_ps(codec)};
	d->scratch = aligned_alloc(64, FEC_SCRATCH);
	d->list = calloc(LIST_2016 + 1, sizeof(*d->list));
	d->most = year == STOCK_2016 ? LIST_2016 : GROUPS * (d->ds + d->ps);
	if (year != STOCK_2026)
		return;
	d->dec = fec_dec_create(codec, mem, &d->cnt);
	fec_dec_trust(d->dec);
}

static void drop(struct stock_dec *d, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++)
		free(d->list[i].body);
	d->n_list -= n;
	memmove(d->list + from, d->list + from + n, (d->n_list - from) * sizeof(*d->list));
}

void stock_dec_fini(struct stock_dec *d)
{
	drop(d, 0, d->n_list);
	fec_tune_free(&d->tune, d->mem);
	while (d->dec && fec_dec_release(d->dec, d->got.freed, FEC_MAX_SHARDS))
		;
	fec_dec_destroy(d->dec);
	free(d->scratch);
	free(d->list);
}

/* Of the samples as they lie: the first edge into `data` between neighbours, and from there on nothing may be missing
 * before the edge out of it.  0: there is none. */
static unsigned period(const struct stock_dec *d, bool data)
{
	unsigned left = 0;

	for (unsigned i = 1; i < FEC_TUNE_SAMPLES && !left; i++)
		if (d->sample[i - 1].data != data && d->sample[i].data == data &&
		    d->sample[i].seqid == d->sample[i - 1].seqid + 1)
			left = i;
	for (unsigned i = left + 1; i < FEC_TUNE_SAMPLES; i++) {
		if (d->sample[i].seqid != d->sample[i - 1].seqid + 1)
			return 0;
		if (d->sample[i - 1].data == data && d->sample[i].data != data)
			return i - left;
	}
	return 0;
}

static bool find(const struct stock_dec *d, unsigned *ds, unsigned *ps)
{
	if (d->year == STOCK_2023)
		return fec_tune_find(d->tune, ds, ps);
	*ds = period(d, true);
	*ps = period(d, false);
	return *ds && *ps && *ds + *ps <= FEC_MAX_SHARDS;
}

/* False: nothing is rebuilt for now. */
static bool search(struct stock_dec *d, uint32_t seqid, bool data)
{
	bool misfit = (seqid % (d->ds + d->ps) < d->ds) != data;
	unsigned ds, ps;

	d->sample[seqid % FEC_TUNE_SAMPLES].seqid = seqid;
	d->sample[seqid % FEC_TUNE_SAMPLES].data = data;
	fec_tune_sample(&d->tune, d->mem, data, seqid);
	d->searches = misfit || (d->searches && d->year == STOCK_2023);
	if (!d->searches || d->year == STOCK_2016)
		return true;
	if (find(d, &ds, &ps) && (ds != d->ds || ps != d->ps)) {
		d->ds = ds;
		d->ps = ps;
		d->most = GROUPS * (ds + ps);
		d->searches = false;
	}
	return d->year != STOCK_2023 || !d->searches;
}

/* Where it belongs in the list; false when it is there. */
static bool place(const struct stock_dec *d, uint32_t seqid, unsigned *at)
{
	unsigned i = d->n_list;

	for (; i && seq_diff(seqid, d->list[i - 1].seqid) <= 0; i--)
		if (d->list[i - 1].seqid == seqid)
			return false;
	*at = i;
	return true;
}

/* The group of the packet at `at`, if it has enough: all of it leaves the list. */
static void decode(struct stock_dec *d, unsigned at)
{
	unsigned size = d->ds + d->ps, from = at, to = at + 1, data = 0;
	uint32_t group = d->list[at].seqid / size;
	struct fec_shard shard[FEC_MAX_SHARDS];

	while (from && d->list[from - 1].seqid / size == group)
		from--;
	while (to < d->n_list && d->list[to].seqid / size == group)
		to++;
	if (to - from < d->ds)
		return;
	for (unsigned i = from; i < to; i++) {
		const struct stock_pkt *k = &d->list[i];

		shard[i - from] = (struct fec_shard){.p = k->body, .n = k->n, .idx = (uint8_t)(k->seqid % size)};
		data += k->data;
	}
	if (data != d->ds)
		d->cnt.FECRecovered += fec_recover(shard, d->ds, d->scratch, &d->got);
	drop(d, from, to - from);
}

static void take(struct stock_dec *d, const uint8_t *p, uint16_t n)
{
	struct stock_pkt k = {.seqid = le32_get(p + FEC_SEQID_OFF), .data = p[FEC_TYPE_OFF] == FEC_TYPE_DATA};
	unsigned at;

	if (!search(d, k.seqid, k.data) || !place(d, k.seqid, &at))
		return;
	k.n = (uint16_t)(n - FEC_BODY_OFF);
	k.body = malloc(k.n);
	memcpy(k.body, p + FEC_BODY_OFF, k.n);
	memmove(d->list + at + 1, d->list + at, (d->n_list - at) * sizeof(k));
	d->list[at] = k;
	d->n_list++;
	decode(d, at);
	if (d->n_list > d->most)
		drop(d, 0, 1);
}

void stock_dec_take(struct stock_dec *d, uint8_t *p, uint16_t n)
{
	struct pkt k = {.p = p, .n = n};

	d->got.n_data = 0;
	if (d->dec)
		fec_dec_packet(d->dec, &k, d->scratch, &d->got);
	else
		take(d, p, n);
}
