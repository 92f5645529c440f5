/* SPDX-License-Identifier: MIT */

/*
 * AES-CFB on multi-buffer lanes.  With the constant IV (wire.md 2.3), Y0 = E(IV) is a constant of the key, and
 *
 *	seal: C = P ^ (Y0 | CBC-encrypt(P less its last block, IV = Y0))
 *	open: P = C ^ (Y0 | ECB-encrypt(C less its last block))
 *
 * where the last block may be partial.  Sealing is serial within a packet, so the CBC lanes run across the packets of
 * a burst, whatever their keys (with vector AES, in lanes of our own where there are enough of one key); opening is
 * parallel within a packet and takes them one by one, warm in the first cache, or with vector AES in one pass of our
 * own (cfb_vaes.c).
 *
 * IPsec-MB 2.0 has a CFB of its own.  It opens short packets sooner than ECB and an XOR do, for it takes several a
 * call, and long ones not with all forms.  Its sealing is not for us: it takes one packet after the other, three to
 * four times as long, and with AVX-512 and vector AES it leaves the last partial block of a packet in clear.
 */

#include <errno.h>
#include <string.h>

#include "crypt_int.h"

struct cfb {
	_Alignas(64) uint8_t enc[15 * CRYPT_BLOCK];
	uint8_t y0[CRYPT_BLOCK];
};

static inline const struct cfb *cfb_of(const struct pkt *k)
{
	return (const struct cfb *)k->crypt->sched;
}

/* Keystream blocks beyond Y0 for n bytes, in bytes. */
static inline uint32_t cfb_len(uint32_t n)
{
	return (n - 1) & ~(uint32_t)(CRYPT_BLOCK - 1);
}

static int cfb_init(struct crypt *c, const uint8_t *key, unsigned key_len)
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;
	struct cfb *s = (struct cfb *)c->sched;
	IMB_MGR *mgr;
	int rc = crypt_mgr_create(&mgr, CRYPT_ARCH_AUTO);

	if (rc)
		return rc;
	crypt_expand(mgr, key, key_len, s->enc);
	crypt_ecb(mgr, s->enc, key_len, iv, s->y0, sizeof(iv));
	crypt_mgr_destroy(mgr);
	return 0;
}

#if CRYPT_IMB_CFB
#define SHORT	     256 /* bytes; beyond, AVX2 with vector AES is quicker by ECB */
#define OPEN_AT_ONCE 8

/* Opens the short ones of v by IPsec-MB's own CFB and brings the rest to the front; returns how many that are. */
static unsigned open_short(struct crypt_mb *mb, struct pkt **v, unsigned n, unsigned key_len)
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;
	struct pkt *took[OPEN_AT_ONCE];
	unsigned rest = 0, m = 0;

	for (unsigned i = 0; i < n; i++) {
		struct pkt *k = v[i];

		if (k->n > SHORT) {
			v[rest++] = k;
		} else {
			IMB_JOB *job = &mb->job[m];

			job->enc_keys = cfb_of(k)->enc;
			job->dec_keys = cfb_of(k)->enc;
			job->key_len_in_bytes = key_len;
			job->src = k->p;
			job->dst = k->p;
			job->msg_len_to_cipher_in_bytes = k->n;
			job->iv = iv;
			job->iv_len_in_bytes = CRYPT_BLOCK;
			took[m++] = k;
		}
		if (m == OPEN_AT_ONCE || (m && i == n - 1)) {
			IMB_SUBMIT_CIPHER_BURST_NOCHECK(mb->mgr, mb->job, m, IMB_CIPHER_CFB, IMB_DIR_DECRYPT, key_len);
			crypt_upper_clean();
			while (m)
				crypt_crc_strip(took[--m]);
		}
	}
	return rest;
}
#endif

static inline __attribute__((always_inline)) void cfb_open(struct crypt_mb *mb, struct pkt **v, unsigned n,
							   unsigned key_len)
{
	/* Y0 and the rest lie one behind the other, the rest aligned. */
	uint8_t *stream = mb->stream + 64 - CRYPT_BLOCK;

#if CRYPT_IMB_CFB
	if (!mb->cfb)
		n = open_short(mb, v, n, key_len);
#endif
	for (unsigned i = 0; i < n; i++) {
		const struct cfb *s = cfb_of(v[i]);

		if (mb->cfb) {
			mb->cfb->open(v[i]->p, v[i]->n, s->enc, key_len);
			crypt_crc_strip(v[i]);
			continue;
		}
		memcpy(stream, s->y0, CRYPT_BLOCK);
		crypt_ecb(mb->mgr, s->enc, key_len, v[i]->p, stream + CRYPT_BLOCK, cfb_len(v[i]->n));
		mb->xor_in(v[i]->p, stream, v[i]->n);
		crypt_crc_strip(v[i]);
	}
}

/*
 * The first packets of v in lanes of our own, when they share a key and are about equally long: a lane is as busy as
 * the longest of them.  Returns how many were sealed, 0: none.
 */
static unsigned seal_abreast(struct crypt_mb *mb, struct pkt **v, unsigned n, unsigned key_len)
{
	struct crypt_cfb_lanes l = {.scratch = mb->stream};
	uint32_t longest = 0, sum = 0;

	if (!mb->cfb || n < CRYPT_CFB_LANES)
		return 0;
	for (unsigned i = 0; i < CRYPT_CFB_LANES; i++) {
		if (v[i]->crypt != v[0]->crypt)
			return 0;
		l.p[i] = v[i]->p;
		l.n[i] = v[i]->n;
		longest = v[i]->n > longest ? v[i]->n : longest;
		sum += v[i]->n;
	}
	if (sum < longest * (CRYPT_CFB_LANES * 3 / 4))
		return 0;
	for (unsigned i = 0; i < CRYPT_CFB_LANES; i++)
		crypt_crc_put(l.p[i], l.n[i]);
	mb->cfb->seal(&l, cfb_of(v[0])->enc, key_len);
	return CRYPT_CFB_LANES;
}

/* Seals the runs that seal_abreast takes, and brings the rest to the front; returns how many that are. */
static unsigned seal_runs(struct crypt_mb *mb, struct pkt **v, unsigned n, unsigned key_len)
{
	unsigned rest = 0, took;

	for (unsigned i = 0; i < n; i += took) {
		took = seal_abreast(mb, v + i, n - i, key_len);
		if (!took) {
			v[rest++] = v[i];
			took = 1;
		}
	}
	return rest;
}

static inline __attribute__((always_inline)) void cfb_seal(struct crypt_mb *mb, struct pkt **v, unsigned n,
							   unsigned key_len)
{
	uint8_t *stream = mb->stream;

	n = seal_runs(mb, v, n, key_len);
	if (!n)
		return;
	for (unsigned i = 0; i < n; i++) {
		const struct cfb *s = cfb_of(v[i]);
		IMB_JOB *job = &mb->job[i];

		crypt_crc_put(v[i]->p, v[i]->n);
		memcpy(stream, s->y0, CRYPT_BLOCK);
		job->enc_keys = s->enc;
		job->dec_keys = s->enc;
		job->key_len_in_bytes = key_len;
		job->src = v[i]->p;
		job->dst = stream + CRYPT_BLOCK;
		job->msg_len_to_cipher_in_bytes = cfb_len(v[i]->n);
		job->iv = s->y0;
		job->iv_len_in_bytes = CRYPT_BLOCK;
		stream += CRYPT_SLOT(v[i]->n);
	}
	IMB_SUBMIT_CIPHER_BURST_NOCHECK(mb->mgr, mb->job, n, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, key_len);
	crypt_upper_clean();
	for (unsigned i = 0; i < n; i++)
		mb->xor_in(v[i]->p, mb->job[i].dst - CRYPT_BLOCK, v[i]->n);
}

/* One set of operations a key size: the lanes of one burst call all run the same number of rounds. */
#define CFB_AES(bits)                                                                       \
	static int init_##bits(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN])           \
	{                                                                                   \
		return cfb_init(c, key, (bits) / 8);                                        \
	}                                                                                   \
	static void open_##bits(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n) \
	{                                                                                   \
		(void)own;                                                                  \
		cfb_open(mb, v, n, (bits) / 8);                                             \
	}                                                                                   \
	static void seal_##bits(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n) \
	{                                                                                   \
		(void)own;                                                                  \
		cfb_seal(mb, v, n, (bits) / 8);                                             \
	}                                                                                   \
	const struct crypt_ops crypt_cfb_aes_##bits = {                                     \
		.head = CRYPT_HEAD_LEN,                                                     \
		.nonce = CRYPT_NONCE_SECRET,                                                \
		CRYPT_MARK_CFB16,                                                           \
		.size = sizeof(struct cfb),                                                 \
		.init = init_##bits,                                                        \
		.open = open_##bits,                                                        \
		.seal = seal_##bits,                                                        \
	}

CFB_AES(256);
CFB_AES(192);
CFB_AES(128);
