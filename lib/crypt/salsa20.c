/* SPDX-License-Identifier: MIT */

/* salsa20 (wire.md 2.4): the datagram's first 8 bytes stay in clear and are the nonce of a stream over the rest. */

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

static bool stream(gcry_cipher_hd_t hd, const struct pkt *k)
{
	return !gcry_cipher_setiv(hd, k->p, CRYPT_SALSA_NONCE) &&
	       !gcry_cipher_encrypt(hd, k->p + CRYPT_SALSA_NONCE, k->n - CRYPT_SALSA_NONCE, NULL, 0);
}

static void salsa_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	gcry_cipher_hd_t hd = *(gcry_cipher_hd_t *)own;

	(void)mb;
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

	(void)mb;
	for (unsigned i = 0; i < n; i++) {
		crypt_crc_put(v[i]->p, v[i]->n);
		if (!stream(hd, v[i]))
			crypt_blank(&v[i], 1);
	}
}

const struct crypt_ops crypt_salsa20 = {
	.head = CRYPT_HEAD_LEN,
	.nonce = CRYPT_NONCE_SECRET,
	.one_key = true,
	.size = CRYPT_KEY_LEN,
	.own = sizeof(gcry_cipher_hd_t),
	.init = salsa_init,
	.attach = salsa_attach,
	.detach = salsa_detach,
	.open = salsa_open,
	.seal = salsa_seal,
};
