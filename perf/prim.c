/* SPDX-License-Identifier: MIT */
#include "prim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "crypt.h"
#include "fec.h"
#include "fec_codec.h"
#include "fec_gf.h"
#include "fec_wire.h"
#include "mem.h"

#define BURST  256u
#define STRIDE 2496u /* a packet buffer with its struct and headroom, in a pool */
#define AT     256u  /* where a datagram begins in it */
#define GOES   8u
#define HEAP   ((size_t)16 << 20)
#define UNIT   65536u

struct prim {
	struct crypt *crypt;
	struct crypt_mb *mb;
	unsigned ds, ps, datagram; /* KCP's bytes */
	unsigned n;		   /* of the burst: whole groups */
	uint8_t *buf, *sealed, *from, *scratch;
	struct pkt pkt[BURST];
	struct fec_codec *codec;
	struct fec_dec *dec;
	struct fec_got got;
	struct mem *mem;
	struct snmp cnt;
	uint32_t seqid;
};

static void *aligned(size_t n)
{
	void *p = aligned_alloc(UNIT, (n + UNIT - 1) & ~(size_t)(UNIT - 1));

	if (!p)
		exit(1);
	memset(p, 0x5a, n);
	return p;
}

struct prim *prim_new(const char *cipher, unsigned ds, unsigned ps, unsigned datagram)
{
	static const uint8_t key[CRYPT_KEY_LEN] = "a key of thirty-two bytes, just", seed[32] = {9};
	struct prim *p = aligned(sizeof(*p));

	memset(p, 0, sizeof(*p));
	p->ds = ds;
	p->ps = ps;
	p->datagram = datagram;
	p->n = ds ? BURST / (ds + ps) * (ds + ps) : BURST;
	p->buf = aligned((size_t)BURST * STRIDE);
	p->sealed = aligned((size_t)BURST * STRIDE);
	p->from = aligned((size_t)BURST * datagram);
	p->scratch = aligned(FEC_SCRATCH);
	p->mem = mem_init(aligned(HEAP), HEAP);
	if (crypt_create(&p->crypt, cipher, key) || crypt_mb_create(&p->mb, seed, 0, 3, 0) ||
	    crypt_mb_attach(p->mb, p->crypt) || (ds && fec_codec_get(&p->codec, ds, ps))) {
		fprintf(stderr, "prim: no %s, %u+%u\n", cipher, ds, ps);
		exit(1);
	}
	if (ds) {
		p->dec = fec_dec_create(p->codec, p->mem, &p->cnt);
		if (p->dec)
			fec_dec_trust(p->dec); /* as one whose peer's shape is proved, which these packets cannot do */
	}
	return p;
}

void prim_free(struct prim *p)
{
	void *freed[64];

	if (p->dec) {
		while (fec_dec_release(p->dec, freed, 64))
			;
		fec_dec_destroy(p->dec);
		fec_codec_put(p->codec);
	}
	crypt_mb_destroy(p->mb);
	crypt_destroy(p->crypt);
	free(p->mem); /* which begins where its memory does */
	free(p->scratch);
	free(p->from);
	free(p->sealed);
	free(p->buf);
	free(p);
}

/* Payload packets as crypt finds them: with the FEC header, seqids running on from call to call. */
static void lay_out(struct prim *p, uint8_t *buf)
{
	for (unsigned i = 0; i < p->n; i++) {
		struct pkt *k = &p->pkt[i];
		bool par = p->ds && i % (p->ds + p->ps) >= p->ds;

		*k = (struct pkt){.p = buf + (size_t)i * STRIDE + AT, .n = (uint16_t)p->datagram, .crypt = p->crypt};
		if (!p->ds)
			continue;
		k->n = (uint16_t)(k->n + FEC_HEAD);
		le32_put(k->p, p->seqid++);
		le16_put(k->p + 4, par ? FEC_TYPE_PAR : FEC_TYPE_DATA);
		if (!par)
			le16_put(k->p + FEC_PARITY_OFF, (uint16_t)(p->datagram + 2));
	}
}

static double per_packet(const struct prim *p, uint64_t cycles)
{
	return bench_ns(cycles) / GOES / p->n;
}

static double copies(struct prim *p)
{
	unsigned data = p->ds ? p->n / (p->ds + p->ps) * p->ds : p->n;
	uint64_t t = bench_tsc();

	for (unsigned g = 0; g < GOES; g++) {
		for (unsigned i = 0; i < data; i++)
			memcpy(p->buf + (size_t)i * STRIDE + AT, p->from + (size_t)i * p->datagram, p->datagram);
		bench_keep(p->buf);
	}
	return per_packet(p, bench_tsc() - t);
}

static double parity(struct prim *p)
{
	uint8_t *v[FEC_MAX_SHARDS];
	unsigned group = p->ds + p->ps;
	uint64_t t;

	if (!p->ds)
		return 0;
	t = bench_tsc();
	for (unsigned g = 0; g < GOES; g++)
		for (unsigned at = 0; at < p->n; at += group) {
			for (unsigned i = 0; i < group; i++)
				v[i] = p->buf + (size_t)(at + i) * STRIDE + AT;
			p->codec->gf->sum(p->datagram, p->ds, p->ps, p->codec->tables, v, v + p->ds);
		}
	return per_packet(p, bench_tsc() - t);
}

struct prim_cost prim_send(struct prim *p)
{
	struct prim_cost c = {.copy = copies(p), .fec = parity(p)};
	uint64_t sum = 0, t;

	for (unsigned g = 0; g < GOES; g++) {
		lay_out(p, p->buf);
		t = bench_tsc();
		crypt_seal_burst(p->mb, p->pkt, p->n);
		sum += bench_tsc() - t;
	}
	c.crypt = per_packet(p, sum);
	return c;
}

/* The decoder's part for packets that all arrive: it copies none, and gives back what it held. */
static uint64_t books(struct prim *p)
{
	uint64_t t = bench_tsc();

	for (unsigned i = 0; i < p->n; i++) {
		p->pkt[i].own = p->pkt[i].p;
		if (fec_dec_packet(p->dec, &p->pkt[i], p->scratch, &p->got) || p->got.n_data)
			bench_wrong("the decoder did not take packet %u", i);
	}
	return bench_tsc() - t;
}

struct prim_cost prim_receive(struct prim *p)
{
	struct prim_cost c = {.copy = copies(p)};
	uint64_t open = 0, fec = 0, t;

	for (unsigned g = 0; g < GOES; g++) {
		lay_out(p, p->buf);
		crypt_seal_burst(p->mb, p->pkt, p->n);
		t = bench_tsc();
		crypt_open_burst(p->mb, p->pkt, p->n);
		open += bench_tsc() - t;
		for (unsigned i = 0; i < p->n; i++)
			if (p->pkt[i].verdict != VERDICT_OK)
				bench_wrong("packet %u did not open", i);
		if (p->ds)
			fec += books(p);
	}
	c.crypt = per_packet(p, open);
	c.fec = per_packet(p, fec);
	return c;
}
