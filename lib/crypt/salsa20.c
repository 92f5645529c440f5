/* SPDX-License-Identifier: MIT */

/*
 * salsa20 (wire.md 2.4): the datagram's first 8 bytes stay in clear and are the nonce of a stream over the rest.  By
 * libgcrypt a packet at a time, or in wide lanes over the blocks of a burst.
 */

#include <errno.h>
#include <string.h>

#include "crypt_int.h"

static int salsa_init(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN])
{
	memcpy(c->sched, key, CRYPT_KEY_LEN);
	return 0;
}

static int salsa_attach(struct crypt_mb *mb, const struct crypt *c, void *own)
{
	(void)mb;
	return crypt_gcry_open(own, GCRY_CIPHER_SALSA20, GCRY_CIPHER_MODE_STREAM, c->sched, CRYPT_KEY_LEN);
}

static void salsa_detach(void *own)
{
	gcry_cipher_close(*(gcry_cipher_hd_t *)own);
}

/* The next blocks to be done, and the key. */
struct queue {
	struct crypt_salsa_lanes l;
	uint32_t key[8];
	unsigned n;
};

static void queue_run(struct queue *q, crypt_salsa_fn *fn)
{
	for (unsigned i = q->n; i < CRYPT_SALSA_LANES; i++)
		q->l.n[i] = 0;
	if (q->n)
		fn(q->key, &q->l);
	q->n = 0;
}

/* All blocks of one packet; true when that ran the lanes, so that all packets before this one are done. */
static bool queue_packet(struct queue *q, crypt_salsa_fn *fn, const struct pkt *k)
{
	uint8_t *p = k->p + CRYPT_SALSA_NONCE;
	uint32_t left = k->n - CRYPT_SALSA_NONCE, block = 0;
	bool ran = false;

	while (left) {
		uint32_t n = left < CRYPT_SALSA_BLOCK ? left : CRYPT_SALSA_BLOCK;

		q->l.nonce[0][q->n] = le32_get(k->p);
		q->l.nonce[1][q->n] = le32_get(k->p + 4);
		q->l.block[q->n] = block++;
		q->l.p[q->n] = p;
		q->l.n[q->n++] = (uint8_t)n;
		p += n;
		left -= n;
		if (q->n == CRYPT_SALSA_LANES) {
			queue_run(q, fn);
			ran = true;
		}
	}
	return ran;
}

static void queue_init(struct queue *q, const struct crypt *c)
{
	q->n = 0;
	for (unsigned i = 0; i < CRYPT_SALSA_LANES; i++)
		q->l.p[i] = (uint8_t *)q; /* of idle lanes: never touched */
	for (unsigned i = 0; i < 8; i++)
		q->key[i] = le32_get(c->sched + 4 * (size_t)i);
}

/* A packet is checked as soon as its last block is done, while it is warm. */
static void wide_open(struct crypt_mb *mb, struct pkt **v, unsigned n)
{
	struct queue q;
	unsigned done = 0;

	queue_init(&q, v[0]->crypt);
	for (unsigned i = 0; i < n; i++) {
		if (queue_packet(&q, mb->salsa, v[i])) {
			while (done < i)
				crypt_crc_strip(v[done++]);
		}
	}
	queue_run(&q, mb->salsa);
	while (done < n)
		crypt_crc_strip(v[done++]);
}

static void wide_seal(struct crypt_mb *mb, struct pkt **v, unsigned n)
{
	struct queue q;

	queue_init(&q, v[0]->crypt);
	for (unsigned i = 0; i < n; i++) {
		crypt_crc_put(v[i]->p, v[i]->n);
		queue_packet(&q, mb->salsa, v[i]);
	}
	queue_run(&q, mb->salsa);
}

static bool stream(gcry_cipher_hd_t hd, const struct pkt *k)
{
	return !gcry_cipher_setiv(hd, k->p, CRYPT_SALSA_NONCE) &&
	       !gcry_cipher_encrypt(hd, k->p + CRYPT_SALSA_NONCE, k->n - CRYPT_SALSA_NONCE, NULL, 0);
}

static void salsa_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	gcry_cipher_hd_t hd = *(gcry_cipher_hd_t *)own;

	if (mb->salsa) {
		wide_open(mb, v, n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		if (stream(hd, v[i]))
			crypt_crc_strip(v[i]);
		else
			crypt_refuse(&v[i], 1);
	}
}

static void salsa_seal(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	gcry_cipher_hd_t hd = *(gcry_cipher_hd_t *)own;

	if (mb->salsa) {
		wide_seal(mb, v, n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		crypt_crc_put(v[i]->p, v[i]->n);
		if (!stream(hd, v[i]))
			crypt_blank(&v[i], 1);
	}
}

const struct crypt_ops crypt_salsa20 = {
	.head = CRYPT_HEAD_LEN,
	.nonce = CRYPT_NONCE_SECRET,
	.mark_len = 8, /* the stream's nonce: what is XORed with it can be changed at will */
	.one_key = true,
	.size = CRYPT_KEY_LEN,
	.own = sizeof(gcry_cipher_hd_t),
	.init = salsa_init,
	.attach = salsa_attach,
	.detach = salsa_detach,
	.open = salsa_open,
	.seal = salsa_seal,
};
