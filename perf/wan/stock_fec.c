/* SPDX-License-Identifier: MIT */
#include "stock_fec.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "fec_recover.h"
#include "le.h"
#include "seq.h"

#define REGION	  (4u << 20)
#define EXPIRE_MS 60000

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

void sf_init(struct sf *f, int year, unsigned ds, unsigned ps)
{
	*f = (struct sf){.year = year};
	if (fec_codec_get(&f->codec, ds, ps))
		abort();
	f->region = must(aligned_alloc(65536, REGION));
	f->mem = must(mem_init(f->region, REGION));
	f->scratch = must(aligned_alloc(64, FEC_SCRATCH));
	f->list = must(calloc(SF_SHAPES * (ds + ps) + 1, sizeof(*f->list)));
	fec_enc_init(&f->enc, f->codec, f->mem, &f->cnt);
	if (year != 2021) {
		f->dec = must(fec_dec_create(f->codec, f->mem, &f->cnt));
		fec_dec_trust(f->dec);
	}
}

static void list_drop(struct sf *f, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++)
		buf_put(f->list[i].body);
	f->n_list -= n;
	memmove(f->list + from, f->list + from + n, (f->n_list - from) * sizeof(*f->list));
}

void sf_fini(struct sf *f)
{
	list_drop(f, 0, f->n_list);
	fec_enc_fini(&f->enc);
	if (f->dec) {
		while (fec_dec_release(f->dec, f->got.freed, FEC_MAX_SHARDS))
			;
		fec_dec_destroy(f->dec);
	}
	fec_codec_put(f->codec);
	mem_fini(f->mem);
	free(f->region);
	free(f->scratch);
	free(f->list);
}

unsigned sf_encode(struct sf *f, struct pkt *v, uint64_t ms)
{
	/* 2021 sends parity however long a group took. */
	return fec_enc_burst(&f->enc, v, 1, f->year == 2021 ? 1 : ms);
}

/* Where it belongs in the list; false when it is there. */
static bool list_place(const struct sf *f, uint32_t seqid, unsigned *at)
{
	unsigned i = f->n_list;

	for (; i && seq_diff(seqid, f->list[i - 1].seqid) <= 0; i--)
		if (f->list[i - 1].seqid == seqid)
			return false;
	*at = i;
	return true;
}

/* The group that the packet at `at` completes, if it does: all of it leaves the list. */
static void list_decode(struct sf *f, unsigned at)
{
	unsigned ds = fec_codec_ds(f->codec), size = ds + fec_codec_ps(f->codec), from = at, to = at + 1, data = 0;
	uint32_t group = f->list[at].seqid / size;
	struct fec_shard shards[FEC_MAX_SHARDS];

	while (from && f->list[from - 1].seqid / size == group)
		from--;
	while (to < f->n_list && f->list[to].seqid / size == group)
		to++;
	if (to - from < ds)
		return;
	for (unsigned i = 0; i < ds; i++) {
		const struct sf_pkt *k = &f->list[from + i];

		shards[i] = (struct fec_shard){.p = k->body, .n = k->n, .idx = (uint8_t)(k->seqid % size)};
		data += k->data;
	}
	if (data < ds)
		fec_recover(shards, ds, f->scratch, &f->got);
	list_drop(f, from, to - from);
}

static void list_take(struct sf *f, const uint8_t *p, uint16_t n, uint64_t ms)
{
	unsigned ds = fec_codec_ds(f->codec), size = ds + fec_codec_ps(f->codec), at;
	struct sf_pkt k = {.ms = ms, .seqid = le32_get(p), .data = p[4] == FEC_TYPE_DATA};

	if ((k.seqid % size < ds) != k.data) {
		f->foreign++;
		return;
	}
	if (!list_place(f, k.seqid, &at))
		return;
	k.body = buf_get();
	k.n = (uint16_t)(n - FEC_PARITY_OFF);
	memcpy(k.body, p + FEC_PARITY_OFF, k.n);
	memmove(f->list + at + 1, f->list + at, (f->n_list - at) * sizeof(k));
	f->list[at] = k;
	f->n_list++;
	list_decode(f, at);
	if (f->n_list > SF_SHAPES * size)
		list_drop(f, 0, 1);
	while (f->n_list && ms - f->list[0].ms > EXPIRE_MS)
		list_drop(f, 0, 1);
}

void sf_decode(struct sf *f, uint8_t *p, uint16_t n, uint64_t ms)
{
	struct pkt k = {.p = p, .n = n};

	f->got.n_data = 0;
	if (f->dec)
		fec_dec_packet(f->dec, &k, f->scratch, &f->got);
	else
		list_take(f, p, n, ms);
}
