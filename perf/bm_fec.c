/* SPDX-License-Identifier: MIT */

/*
 * Reed-Solomon, in ns a data packet of 1344 bytes (FEC header included), GB/s of those.
 *
 * Encoding: a go makes the parity of about 256 data packets, group by group: `whole` gives the encoder a group a call,
 * as a busy turn does, `one by one` a packet a call, which accumulates.  `ec_encode_data` is ISA-L alone over the same
 * bytes, in turn with `whole`.
 *
 * Decoding: the packets of a group in order, the decoder keeps the caller's memory (`own`) as the pipeline's does.
 * Lost packets are the first of the group: 0, 1 or 3 of them, so that as many parity packets are used.  Memory, groups
 * and samples are warm.  ns are of all data packets of a group, lost ones included.
 */

#include <stdio.h>

#include <isa-l/erasure_code.h>

#include "bench.h"
#include "fec.h"
#include "fec_codec.h"
#include "le.h"
#include "pkts.h"

#define DATA 256 /* packets of a go, about */
#define HEAP (16u << 20)
#define KCP  (PKTS_BYTES - FEC_HEAD)

static struct pkts set;
static struct mem *heap;
static struct snmp snmp;
static struct fec_codec *codec;
static uint8_t *isal_tables;
static struct fec_enc enc;
static unsigned ds, ps, groups;
static bool lone;

static void encode(void *arg)
{
	uint64_t now = 1000;

	(void)arg;
	for (unsigned g = 0; g < groups; g++) {
		struct pkt *v = set.v + (size_t)g * (ds + ps);
		unsigned made = 0;

		for (unsigned i = 0; i < ds + ps; i++) {
			v[i].p = pkts_at(&set, g * (ds + ps) + i);
			v[i].n = KCP;
		}
		if (!lone) {
			made = fec_enc_burst(&enc, v, ds, now);
		} else {
			for (unsigned i = 0; i < ds; i++)
				made = fec_enc_burst(&enc, v + i, 1, now);
		}
		if (made != ps)
			bench_wrong("%u/%u: a group got %u parity packets", ds, ps, made);
	}
}

static void bare_encode(void *arg)
{
	uint8_t *src[FEC_MAX_SHARDS], *dst[FEC_MAX_SHARDS];

	(void)arg;
	for (unsigned g = 0; g < groups; g++) {
		for (unsigned i = 0; i < ds; i++)
			src[i] = pkts_at(&set, g * (ds + ps) + i) - 2;
		for (unsigned j = 0; j < ps; j++)
			dst[j] = pkts_at(&set, g * (ds + ps) + ds + j) - 2;
		ec_encode_data(KCP + 2, (int)ds, (int)ps, isal_tables, src, dst);
		__asm__ volatile("vzeroupper");
	}
}

static void encoding(void)
{
	struct bench_series a, b, ratio;
	struct bench_stat t;
	char whole[64], bare[64], one[64], text[64];
	unsigned data = groups * ds;
	struct bench_job ja = {bare, bare_encode, NULL, NULL, data, PKTS_BYTES};
	struct bench_job jb = {whole, encode, NULL, NULL, data, PKTS_BYTES};
	struct bench_job jo = {one, encode, NULL, NULL, data, PKTS_BYTES};

	snprintf(whole, sizeof(whole), "fec encode %u/%u, whole groups", ds, ps);
	snprintf(bare, sizeof(bare), "fec ec_encode_data %u/%u", ds, ps);
	snprintf(one, sizeof(one), "fec encode %u/%u, one by one", ds, ps);
	snprintf(text, sizeof(text), "  %u/%u: ISA-L alone / whole groups", ds, ps);
	fec_enc_init(&enc, codec, heap, &snmp);
	lone = false;
	if (bench_wanted(whole) || bench_wanted(bare)) {
		bench_pair(&ja, &jb, &a, &b, &ratio);
		t = bench_stat(&ratio);
		bench_value(text, t.median, "");
	}
	lone = true;
	bench_job(&jo, &a);
	fec_enc_fini(&enc);
}

/* ---- decoding ---- */

static struct fec_dec *dec;
static uint8_t *scratch;
static struct pkt *order; /* the packets as they arrive: the lost left out */
static unsigned arriving, lost;
static uint32_t seq;

/* Numbers go on from go to go: a decoder that saw a group does not take it again.  Written untimed. */
static void number(void *arg)
{
	(void)arg;
	for (unsigned g = 0; g < groups; g++) {
		for (unsigned i = 0; i < ds + ps; i++, seq++)
			le32_put(set.v[g * (ds + ps) + i].p, seq);
	}
}

static void decode(void *arg)
{
	static struct fec_got got;
	unsigned rebuilt = 0;

	(void)arg;
	for (unsigned i = 0; i < arriving; i++) {
		if (fec_dec_packet(dec, &order[i], scratch, &got))
			bench_wrong("%u/%u: a packet was refused", ds, ps);
		rebuilt += got.n_data;
	}
	if (rebuilt != groups * lost)
		bench_wrong("%u/%u: %u of %u lost packets came back", ds, ps, rebuilt, groups * lost);
}

static void drain(void)
{
	void *freed[64];

	while (fec_dec_release(dec, freed, 64))
		;
}

static void decoding(unsigned n)
{
	struct bench_series s;
	char name[64];
	struct bench_job j = {name, decode, number, NULL, groups * ds, PKTS_BYTES};

	if (n > ps || n > ds)
		return;
	snprintf(name, sizeof(name), "fec decode %u/%u, %u lost", ds, ps, n);
	lost = n;
	arriving = 0;
	for (unsigned g = 0; g < groups; g++) {
		for (unsigned i = lost; i < ds + ps; i++) {
			order[arriving] = set.v[g * (ds + ps) + i];
			order[arriving].own = &set.v[g * (ds + ps) + i];
			arriving++;
		}
	}
	seq = 0;
	dec = fec_dec_create(codec, heap, &snmp);
	fec_dec_trust(dec); /* with as many lost in each group as can be nothing is ever proved */
	bench_job(&j, &s);
	drain();
	fec_dec_destroy(dec);
}

static void measure(unsigned data, unsigned parity)
{
	ds = data;
	ps = parity;
	groups = (DATA + ds - 1) / ds;
	if (fec_codec_get(&codec, ds, ps)) {
		bench_wrong("no codec for %u/%u", ds, ps);
		return;
	}
	pkts_make(&set, groups * (ds + ps), KCP);
	isal_tables = malloc(32 * data * parity);
	ec_init_tables((int)ds, (int)ps, codec->rows, isal_tables);
	order = aligned_alloc(64, set.n * sizeof(*order));
	encoding();
	/* The vector now holds whole groups as they go out, whatever --only left out above. */
	fec_enc_init(&enc, codec, heap, &snmp);
	lone = false;
	encode(NULL);
	fec_enc_fini(&enc);
	decoding(0);
	decoding(1);
	decoding(3);
	free(isal_tables);
	free(order);
	free(set.v);
	free(set.mem);
	fec_codec_put(codec);
}

int main(int argc, char **argv)
{
	bench_begin(argc, argv, "bm_fec", "Reed-Solomon, a data packet of 1344 bytes");
	heap = mem_init(aligned_alloc(1 << 16, HEAP), HEAP);
	scratch = aligned_alloc(64, FEC_SCRATCH);
	measure(10, 3);
	measure(3, 1);
	measure(20, 5);
	measure(70, 30);
	mem_fini(heap);
	return bench_end();
}
