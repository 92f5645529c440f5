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
	bool have_table;
	uint8_t table[CRYPT_XOR_LEN];
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

int crypt_ref_gcm(struct crypt_ref *r, uint8_t *p, uint32_t n, bool seal)
{
	uint8_t *data = p + CRYPT_GCM_NONCE, *tag = p + n - CRYPT_GCM_TAG;
	uint32_t len = n - CRYPT_GCM_NONCE - CRYPT_GCM_TAG;

	if (gcry_cipher_reset(r->hd) || gcry_cipher_setiv(r->hd, p, CRYPT_GCM_NONCE))
		return -EIO;
	if (seal) {
		if (gcry_cipher_final(r->hd) || gcry_cipher_encrypt(r->hd, data, len, NULL, 0) ||
		    gcry_cipher_gettag(r->hd, tag, CRYPT_GCM_TAG))
			return -EIO;
		return 0;
	}
	if (gcry_cipher_final(r->hd) || gcry_cipher_decrypt(r->hd, data, len, NULL, 0))
		return -EIO;
	return gcry_cipher_checktag(r->hd, tag, CRYPT_GCM_TAG) ? -EBADMSG : 0;
}

static inline uint32_t rotl(uint32_t x, unsigned by)
{
	return x << by | x >> (32 - by);
}

/* y[b], y[c], y[d], y[a] in turn, as the specification has it. */
static void salsa_quarter(uint32_t *y, unsigned a, unsigned b, unsigned c, unsigned d)
{
	y[b] ^= rotl(y[a] + y[d], 7);
	y[c] ^= rotl(y[b] + y[a], 9);
	y[d] ^= rotl(y[c] + y[b], 13);
	y[a] ^= rotl(y[d] + y[c], 18);
}

static void salsa_block(const uint8_t key[CRYPT_KEY_LEN], const uint8_t nonce[8], uint64_t count, uint8_t out[64])
{
	const uint8_t *sigma = (const uint8_t *)"expand 32-byte k";
	uint32_t x[16], y[16];

	for (unsigned i = 0; i < 4; i++) {
		x[5 * i] = le32_get(sigma + 4 * i);
		x[1 + i] = le32_get(key + 4 * i);
		x[11 + i] = le32_get(key + 16 + 4 * i);
	}
	x[6] = le32_get(nonce);
	x[7] = le32_get(nonce + 4);
	x[8] = (uint32_t)count;
	x[9] = (uint32_t)(count >> 32);
	memcpy(y, x, sizeof(y));
	for (unsigned round = 0; round < 20; round += 2) {
		for (unsigned i = 0; i < 4; i++)
			salsa_quarter(y, 5 * i, (5 * i + 4) % 16, (5 * i + 8) % 16, (5 * i + 12) % 16);
		for (unsigned i = 0; i < 4; i++)
			salsa_quarter(y, 5 * i, 4 * i + (i + 1) % 4, 4 * i + (i + 2) % 4, 4 * i + (i + 3) % 4);
	}
	for (unsigned i = 0; i < 16; i++)
		le32_put(out + 4 * i, x[i] + y[i]);
}

int crypt_ref_salsa20(struct crypt_ref *r, uint8_t *p, uint32_t n, bool seal)
{
	uint8_t stream[64];

	(void)seal;
	for (uint32_t i = 0; i < n - CRYPT_SALSA_NONCE; i++) {
		if (i % 64 == 0)
			salsa_block(r->key, p, i / 64, stream);
		p[CRYPT_SALSA_NONCE + i] ^= stream[i % 64];
	}
	return 0;
}

int crypt_ref_table(struct crypt_ref *r, uint8_t *p, uint32_t n, bool seal)
{
	(void)seal;
	if (!r->have_table &&
	    crypt_pbkdf2(r->key, sizeof(r->key), CRYPT_XOR_SALT, CRYPT_XOR_ROUNDS, r->table, sizeof(r->table)))
		return -EIO;
	r->have_table = true;
	for (uint32_t i = 0; i < n && i < sizeof(r->table); i++)
		p[i] ^= r->table[i];
	return 0;
}

static void tea_block(const uint8_t *key, uint8_t *p)
{
	uint32_t v0 = be32_get(p), v1 = be32_get(p + 4), sum = 0;

	for (unsigned cycle = 0; cycle < CRYPT_TEA_CYCLES; cycle++) {
		sum += CRYPT_TEA_DELTA;
		v0 += ((v1 << 4) + be32_get(key)) ^ (v1 + sum) ^ ((v1 >> 5) + be32_get(key + 4));
		v1 += ((v0 << 4) + be32_get(key + 8)) ^ (v0 + sum) ^ ((v0 >> 5) + be32_get(key + 12));
	}
	be32_put(p, v0);
	be32_put(p + 4, v1);
}

static void xtea_block(const uint8_t *key, uint8_t *p)
{
	uint32_t v0 = be32_get(p), v1 = be32_get(p + 4), sum = 0;

	for (unsigned cycle = 0; cycle < CRYPT_XTEA_CYCLES; cycle++) {
		v0 += (((v1 << 4) ^ (v1 >> 5)) + v1) ^ (sum + be32_get(key + 4 * (sum & 3)));
		sum += CRYPT_TEA_DELTA;
		v1 += (((v0 << 4) ^ (v0 >> 5)) + v0) ^ (sum + be32_get(key + 4 * (sum >> 11 & 3)));
	}
	be32_put(p, v0);
	be32_put(p + 4, v1);
}

static int cfb_8(const uint8_t *key, uint8_t *p, uint32_t n, bool seal, void (*block)(const uint8_t *key, uint8_t *p))
{
	uint8_t s[CRYPT_BLOCK] = CRYPT_IV;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t in = p[i];

		if (i % 8 == 0)
			block(key, s);
		p[i] ^= s[i % 8];
		s[i % 8] = seal ? p[i] : in;
	}
	return 0;
}

int crypt_ref_tea(struct crypt_ref *r, uint8_t *p, uint32_t n, bool seal)
{
	return cfb_8(r->key, p, n, seal, tea_block);
}

int crypt_ref_xtea(struct crypt_ref *r, uint8_t *p, uint32_t n, bool seal)
{
	return cfb_8(r->key, p, n, seal, xtea_block);
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
