/* SPDX-License-Identifier: MIT */

/*
 * CFB with libgcrypt's block ciphers: twofish, sm4, blowfish, cast5 and 3des.  A handle carries the IV, so each worker
 * has its own.  libgcrypt opens a packet's blocks side by side, but seals them one by one.  Its CFB decryption gives
 * C(i) ^ E(C(i-1)), so it also serves as the bulk encryption that sealing many packets abreast needs: 3 to 8 times as
 * fast.  IPsec-MB has 3DES too, but only with AVX-512 and 16 full lanes does it come to libgcrypt's speed.
 */

#include <errno.h>
#include <string.h>

#include "crypt_int.h"

struct gcry {
	uint8_t y0[CRYPT_BLOCK];
	uint8_t key[CRYPT_KEY_LEN];
};

struct gcry_own {
	gcry_cipher_hd_t hd;
	uint32_t block;
};

static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;

static int ecb(struct crypt_mb *mb, void *key, uint8_t *x, uint8_t *s, unsigned n)
{
	struct gcry_own *o = key;
	uint32_t block = o->block;

	memset(x + (size_t)n * block, 0, block);
	if (gcry_cipher_setiv(o->hd, x, block) ||
	    gcry_cipher_decrypt(o->hd, s, (size_t)n * block, x + block, (size_t)n * block))
		return -EIO;
	if (n > 1)
		mb->xor_in(s, x + block, (n - 1) * block);
	return 0;
}

static int rest(void *key, const uint8_t *from, uint8_t *p, uint32_t n)
{
	struct gcry_own *o = key;

	return gcry_cipher_setiv(o->hd, from, o->block) || gcry_cipher_encrypt(o->hd, p, n, NULL, 0) ? -EIO : 0;
}

static const struct crypt_lanes lanes_8 = {.block = 8, .ecb = ecb, .rest = rest};
static const struct crypt_lanes lanes_16 = {.block = 16, .ecb = ecb, .rest = rest};

static void gcry_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	struct gcry_own *o = own;

	(void)mb;
	for (unsigned i = 0; i < n; i++) {
		if (gcry_cipher_setiv(o->hd, iv, o->block) || gcry_cipher_decrypt(o->hd, v[i]->p, v[i]->n, NULL, 0))
			crypt_refuse(&v[i], 1);
		else
			crypt_crc_strip(v[i]);
	}
}

static void gcry_seal(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	struct gcry_own *o = own;

	crypt_lanes_seal(mb, o, v, n, o->block == 8 ? &lanes_8 : &lanes_16,
			 ((const struct gcry *)v[0]->crypt->sched)->y0);
}

static int gcry_init(struct crypt *c, const uint8_t *key, int algo, unsigned key_len)
{
	struct gcry *s = (struct gcry *)c->sched;
	gcry_cipher_hd_t hd;
	int rc = crypt_gcry_open(&hd, algo, GCRY_CIPHER_MODE_ECB, key, key_len);

	if (rc)
		return rc;
	memcpy(s->key, key, key_len);
	if (gcry_cipher_encrypt(hd, s->y0, gcry_cipher_get_algo_blklen(algo), iv, gcry_cipher_get_algo_blklen(algo)))
		rc = -ENOTSUP;
	gcry_cipher_close(hd);
	return rc;
}

static int gcry_attach(const struct crypt *c, struct gcry_own *o, int algo, unsigned key_len)
{
	o->block = (uint32_t)gcry_cipher_get_algo_blklen(algo);
	return crypt_gcry_open(&o->hd, algo, GCRY_CIPHER_MODE_CFB, ((const struct gcry *)c->sched)->key, key_len);
}

static void gcry_detach(void *own)
{
	gcry_cipher_close(((struct gcry_own *)own)->hd);
}

#define CFB_GCRY(name, algo, key_len, mark)                                             \
	static int name##_init(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN])       \
	{                                                                               \
		return gcry_init(c, key, algo, key_len);                                \
	}                                                                               \
	static int name##_attach(struct crypt_mb *mb, const struct crypt *c, void *own) \
	{                                                                               \
		(void)mb;                                                               \
		return gcry_attach(c, own, algo, key_len);                              \
	}                                                                               \
	const struct crypt_ops crypt_##name = {                                         \
		.head = CRYPT_HEAD_LEN,                                                 \
		.nonce = CRYPT_NONCE_SECRET,                                            \
		mark,                                                                   \
		.one_key = true,                                                        \
		.size = sizeof(struct gcry),                                            \
		.own = sizeof(struct gcry_own),                                         \
		.init = name##_init,                                                    \
		.attach = name##_attach,                                                \
		.detach = gcry_detach,                                                  \
		.open = gcry_open,                                                      \
		.seal = gcry_seal,                                                      \
	}

CFB_GCRY(twofish, GCRY_CIPHER_TWOFISH, 32, CRYPT_MARK_CFB16);
CFB_GCRY(sm4, GCRY_CIPHER_SM4, 16, CRYPT_MARK_CFB16);
CFB_GCRY(blowfish, GCRY_CIPHER_BLOWFISH, 32, CRYPT_MARK_CFB8);
CFB_GCRY(cast5, GCRY_CIPHER_CAST5, 16, CRYPT_MARK_CFB8);
CFB_GCRY(des3, GCRY_CIPHER_3DES, 24, CRYPT_MARK_CFB8);
