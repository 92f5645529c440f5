/* SPDX-License-Identifier: MIT */

/*
 * What the burst forms are checked against: the packet layouts and modes exactly as wire.md 2.2 to 2.6 tell them, one
 * packet at a time, with nothing shared with the fast forms but the layout's numbers and libgcrypt's block ciphers.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

struct crypt_ref {
	const struct crypt_line *line;
	gcry_cipher_hd_t hd; /* NULL: fn needs none */
	uint8_t key[CRYPT_KEY_LEN];
};

static uint32_t crc_bitwise(const uint8_t *p, uint32_t n)
{
	uint32_t crc = ~0u;

	for (uint32_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

int crypt_ref_cfb(struct crypt_ref *r, uint8_t *p, uint32_t n, bool seal)
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;

	if (gcry_cipher_setiv(r->hd, iv, gcry_cipher_get_algo_blklen(r->line->ref.algo)))
		return -EIO;
	if (seal ? gcry_cipher_encrypt(r->hd, p, n, NULL, 0) : gcry_cipher_decrypt(r->hd, p, n, NULL, 0))
		return -EIO;
	return 0;
}

int crypt_ref_create(struct crypt_ref **out, const struct crypt_line *line, const uint8_t key[CRYPT_KEY_LEN])
{
	struct crypt_ref *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->line = line;
	memcpy(r->key, key, sizeof(r->key));
	if (line->ref.algo) {
		rc = crypt_gcry_open(&r->hd, line->ref.algo, line->ref.mode, key, line->ref.key_len);
		if (rc) {
			crypt_ref_destroy(r);
			return rc;
		}
	}
	*out = r;
	return 0;
}

void crypt_ref_destroy(struct crypt_ref *r)
{
	if (!r)
		return;
	gcry_cipher_close(r->hd);
	explicit_bzero(r, sizeof(*r));
	free(r);
}

int crypt_ref_seal(struct crypt_ref *r, uint8_t *p, uint32_t n, const uint8_t *nonce)
{
	const struct crypt_ops *ops = r->line->ops;

	if (!ops->head)
		return 0;
	memcpy(p, nonce, ops->nonce == CRYPT_NONCE_COUNTED ? CRYPT_GCM_NONCE : CRYPT_NONCE_LEN);
	if (!ops->tail)
		le32_put(p + CRYPT_CRC_OFF, crc_bitwise(p + CRYPT_HEAD_LEN, n));
	return r->line->ref.fn ? r->line->ref.fn(r, p, ops->head + n + ops->tail, true) : 0;
}

int crypt_ref_open(struct crypt_ref *r, uint8_t *p, uint32_t n)
{
	const struct crypt_ops *ops = r->line->ops;
	int rc;

	if (!ops->head)
		return 0;
	if (n < (uint32_t)ops->head + ops->tail)
		return -EMSGSIZE;
	rc = r->line->ref.fn ? r->line->ref.fn(r, p, n, false) : 0;
	if (rc)
		return rc;
	if (!ops->tail && le32_get(p + CRYPT_CRC_OFF) != crc_bitwise(p + CRYPT_HEAD_LEN, n - CRYPT_HEAD_LEN))
		return -EBADMSG;
	return 0;
}
