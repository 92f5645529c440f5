/* SPDX-License-Identifier: MIT */

/*
 * tea and xtea in CFB (wire.md 2.1, 2.3).  No library has kcptun's TEA, but both are a handful of additions and shifts:
 * sixteen blocks go side by side in the compiler's vectors, one body built for each vector width as in xor.c.
 */

#include <string.h>

#include "crypt_int.h"

#define FORM  static inline __attribute__((always_inline))
#define SIDE  16	  /* blocks side by side */
#define BYTES (SIDE * 8u) /* of them */

typedef uint32_t words __attribute__((vector_size(SIDE * 4)));

struct tea {
	uint32_t k[2 * CRYPT_XTEA_CYCLES]; /* tea: the key's four words; xtea: what each round adds */
	uint8_t y0[CRYPT_BLOCK];
};

typedef void rounds_fn(const uint32_t *k, words *v0, words *v1);

FORM void tea_rounds(const uint32_t *k, words *v0, words *v1)
{
	words a = *v0, b = *v1;
	uint32_t sum = 0;

	for (unsigned i = 0; i < CRYPT_TEA_CYCLES; i++) {
		sum += CRYPT_TEA_DELTA;
		a += ((b << 4) + k[0]) ^ (b + sum) ^ ((b >> 5) + k[1]);
		b += ((a << 4) + k[2]) ^ (a + sum) ^ ((a >> 5) + k[3]);
	}
	*v0 = a;
	*v1 = b;
}

FORM void xtea_rounds(const uint32_t *k, words *v0, words *v1)
{
	words a = *v0, b = *v1;

	for (unsigned i = 0; i < CRYPT_XTEA_CYCLES; i++) {
		a += (((b << 4) ^ (b >> 5)) + b) ^ k[2 * i];
		b += (((a << 4) ^ (a >> 5)) + a) ^ k[2 * i + 1];
	}
	*v0 = a;
	*v1 = b;
}

FORM void swap(words *v)
{
	*v = *v << 24 | (*v & 0xff00) << 8 | (*v >> 8 & 0xff00) | *v >> 24;
}

/* BYTES of blocks; each is two big-endian words, which lie alternating in memory. */
FORM void side_by_side(rounds_fn *rounds, const uint32_t *k, const uint8_t *src, uint8_t *dst)
{
	words lo, hi, v0, v1;

	memcpy(&lo, src, sizeof(lo));
	memcpy(&hi, src + sizeof(lo), sizeof(hi));
	v0 = __builtin_shufflevector(lo, hi, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
	v1 = __builtin_shufflevector(lo, hi, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
	swap(&v0);
	swap(&v1);
	rounds(k, &v0, &v1);
	swap(&v0);
	swap(&v1);
	lo = __builtin_shufflevector(v0, v1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
	hi = __builtin_shufflevector(v0, v1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
	memcpy(dst, &lo, sizeof(lo));
	memcpy(dst + sizeof(lo), &hi, sizeof(hi));
}

/* dst = E(src), n blocks. */
FORM void blocks(rounds_fn *rounds, const uint32_t *k, const uint8_t *src, uint8_t *dst, unsigned n)
{
	uint8_t last[BYTES] = {0};

	for (; n >= SIDE; n -= SIDE, src += BYTES, dst += BYTES)
		side_by_side(rounds, k, src, dst);
	if (n) {
		memcpy(last, src, n * 8);
		side_by_side(rounds, k, last, last);
		memcpy(dst, last, n * 8);
	}
}

#define WIDTH(name, attribute)                                                                             \
	attribute static void tea_##name(const uint32_t *k, const uint8_t *src, uint8_t *dst, unsigned n)  \
	{                                                                                                  \
		blocks(tea_rounds, k, src, dst, n);                                                        \
	}                                                                                                  \
	attribute static void xtea_##name(const uint32_t *k, const uint8_t *src, uint8_t *dst, unsigned n) \
	{                                                                                                  \
		blocks(xtea_rounds, k, src, dst, n);                                                       \
	}                                                                                                  \
	static const struct crypt_tea_form form_##name = {tea_##name, xtea_##name}

WIDTH(sse, );
WIDTH(avx2, __attribute__((target("avx2"))));
WIDTH(avx512, __attribute__((target("avx512f,avx512bw"))));

const struct crypt_tea_form *crypt_tea_form(unsigned i)
{
	if (i == 0)
		return &form_sse;
	if (i == 1 && __builtin_cpu_supports("avx2"))
		return &form_avx2;
	if (i == 2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512bw"))
		return &form_avx512;
	return NULL;
}

static inline const struct tea *tea_of(const struct pkt *k)
{
	return (const struct tea *)k->crypt->sched;
}

static int tea_init(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN])
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;
	struct tea *t = (struct tea *)c->sched;

	for (unsigned i = 0; i < 4; i++)
		t->k[i] = be32_get(key + 4 * i);
	form_sse.tea(t->k, iv, t->y0, 1);
	return 0;
}

static int xtea_init(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN])
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;
	struct tea *t = (struct tea *)c->sched;
	uint32_t sum = 0;

	for (unsigned i = 0; i < CRYPT_XTEA_CYCLES; i++) {
		t->k[2 * i] = sum + be32_get(key + 4 * (sum & 3));
		sum += CRYPT_TEA_DELTA;
		t->k[2 * i + 1] = sum + be32_get(key + 4 * (sum >> 11 & 3));
	}
	form_sse.xtea(t->k, iv, t->y0, 1);
	return 0;
}

FORM void open_with(struct crypt_mb *mb, crypt_tea_fn *fn, struct pkt **v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct tea *t = tea_of(v[i]);

		memcpy(mb->stream, t->y0, 8);
		fn(t->k, v[i]->p, mb->stream + 8, (v[i]->n - 1u) / 8);
		mb->xor_in(v[i]->p, mb->stream, v[i]->n);
		crypt_crc_strip(v[i]);
	}
}

static void tea_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	(void)own;
	open_with(mb, mb->tea->tea, v, n);
}

static void xtea_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	(void)own;
	open_with(mb, mb->tea->xtea, v, n);
}

static int tea_ecb(struct crypt_mb *mb, void *key, uint8_t *x, uint8_t *s, unsigned n)
{
	mb->tea->tea(key, x, s, n);
	return 0;
}

static int xtea_ecb(struct crypt_mb *mb, void *key, uint8_t *x, uint8_t *s, unsigned n)
{
	mb->tea->xtea(key, x, s, n);
	return 0;
}

static void tea_seal(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	static const struct crypt_lanes lanes = {.block = 8, .ecb = tea_ecb};

	(void)own;
	crypt_lanes_seal(mb, (void *)tea_of(v[0])->k, v, n, &lanes, tea_of(v[0])->y0);
}

static void xtea_seal(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	static const struct crypt_lanes lanes = {.block = 8, .ecb = xtea_ecb};

	(void)own;
	crypt_lanes_seal(mb, (void *)tea_of(v[0])->k, v, n, &lanes, tea_of(v[0])->y0);
}

const struct crypt_ops crypt_tea = {
	.head = CRYPT_HEAD_LEN,
	.nonce = CRYPT_NONCE_SECRET,
	CRYPT_MARK_CFB8,
	.one_key = true,
	.size = sizeof(struct tea),
	.init = tea_init,
	.open = tea_open,
	.seal = tea_seal,
};

const struct crypt_ops crypt_xtea = {
	.head = CRYPT_HEAD_LEN,
	.nonce = CRYPT_NONCE_SECRET,
	CRYPT_MARK_CFB8,
	.one_key = true,
	.size = sizeof(struct tea),
	.init = xtea_init,
	.open = xtea_open,
	.seal = xtea_seal,
};
