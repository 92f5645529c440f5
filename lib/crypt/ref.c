/* SPDX-License-Identifier: MIT */

/*
 * What the burst forms are checked against: the packet layout and the CFB mode exactly as wire.md 2.2 and 2.3 tell
 * them, one packet at a time, with nothing shared with the fast forms but the layout's numbers.
 */

#include <errno.h>
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

struct crypt_ref {
	const struct crypt_line *line;
	gcry_cipher_hd_t hd; /* NULL: nothing is encrypted */
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

int crypt_ref_create(struct crypt_ref **out, const struct crypt_line *line, const uint8_t key[CRYPT_KEY_LEN])
{
	struct crypt_ref *r;
	int rc = crypt_gcrypt_up();

	if (rc)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->line = line;
	if (line->algo != GCRY_CIPHER_NONE) {
		rc = -ENOTSUP;
		if (gcry_cipher_open(&r->hd, line->algo, GCRY_CIPHER_MODE_CFB, 0))
			goto err_open;
		if (gcry_cipher_setkey(r->hd, key, gcry_cipher_get_algo_keylen(line->algo)))
			goto err_key;
	}
	*out = r;
	return 0;

err_key:
	gcry_cipher_close(r->hd);
err_open:
	free(r);
	return rc;
}

void crypt_ref_destroy(struct crypt_ref *r)
{
	if (!r)
		return;
	gcry_cipher_close(r->hd);
	free(r);
}

int crypt_ref_seal(struct crypt_ref *r, uint8_t *p, uint32_t n, const uint8_t *nonce)
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;

	if (!r->line->ops->head)
		return 0;
	memcpy(p, nonce, CRYPT_NONCE_LEN);
	le32_put(p + CRYPT_CRC_OFF, crc_bitwise(p + CRYPT_HEAD_LEN, n));
	if (r->hd && (gcry_cipher_setiv(r->hd, iv, gcry_cipher_get_algo_blklen(r->line->algo)) ||
		      gcry_cipher_encrypt(r->hd, p, n + CRYPT_HEAD_LEN, NULL, 0)))
		return -EIO;
	return 0;
}

int crypt_ref_open(struct crypt_ref *r, uint8_t *p, uint32_t n)
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;

	if (!r->line->ops->head)
		return 0;
	if (n < CRYPT_HEAD_LEN)
		return -EMSGSIZE;
	if (r->hd && (gcry_cipher_setiv(r->hd, iv, gcry_cipher_get_algo_blklen(r->line->algo)) ||
		      gcry_cipher_decrypt(r->hd, p, n, NULL, 0)))
		return -EIO;
	if (le32_get(p + CRYPT_CRC_OFF) != crc_bitwise(p + CRYPT_HEAD_LEN, n - CRYPT_HEAD_LEN))
		return -EBADMSG;
	return 0;
}
