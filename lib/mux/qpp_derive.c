/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <gcrypt.h>
#include <stdio.h>
#include <string.h>

#include "le.h"
#include "qpp_int.h"
#include "vault.h"

/* Pads and the generator's start from the key: wire.md section 7, set-up only. */

#define SALT_SEED    "___QUANTUM_PERMUTATION_PAD_SEED_DERIVE___"
#define SALT_SHUFFLE "___QUANTUM_PERMUTATION_PAD_SHUFFLE_SALT___"
#define SALT_PRNG    "___QUANTUM_PERMUTATION_PAD_PRNG_SALT___"
#define SELECTOR     "PERMUTATION_MATRIX_SELECTOR"
#define ROUNDS_SEED  1024 /* of a chunk */
#define ROUNDS	     128
#define KEY	     32
#define CHUNKS	     7 /* ceil(211 / 32): 211 bytes number the permutations of 256 */

/* What the shuffles of all pads have in common. */
struct maker {
	uint8_t chunk[CHUNKS][KEY];
	gcry_cipher_hd_t aes[CHUNKS];
};

static int is_kept(const void *p)
{
	(void)p;
	return 1;
}

static int gcrypt_up(void)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return 0;
	if (!gcry_check_version("1.8.0"))
		return -ENOTSUP;
	gcry_set_allocation_handler(vault_get, vault_get, is_kept, vault_resize, vault_put); /* as in crypt */
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	return 0;
}

static int to_errno(gcry_error_t err)
{
	if (!err)
		return 0;
	return gcry_err_code_to_errno(gcry_err_code(err)) == ENOMEM ? -ENOMEM : -ENOTSUP;
}

static int pbkdf2(const void *pass, size_t n, const char *salt, unsigned rounds, uint8_t out[KEY])
{
	return to_errno(
		gcry_kdf_derive(n ? pass : "", n, GCRY_KDF_PBKDF2, GCRY_MD_SHA1, salt, strlen(salt), rounds, KEY, out));
}

static int hmac(const void *key, size_t n, const char *text, uint8_t out[KEY])
{
	gcry_buffer_t v[2] = {
		{.data = (void *)(n ? key : ""), .len = n},
		{.data = (void *)text, .len = strlen(text)},
	};

	return to_errno(gcry_md_hash_buffers(GCRY_MD_SHA256, GCRY_MD_FLAG_HMAC, out, v, 2));
}

/* The i-th chunk: of the seed's bytes, read in a circle. */
static int chunk_make(struct maker *m, unsigned i, const uint8_t *seed, uint32_t n)
{
	uint8_t key[KEY];
	int ret;

	for (unsigned k = 0; k < KEY; k++)
		key[k] = seed[(i * KEY + k) % n];
	ret = pbkdf2(key, KEY, SALT_SEED, ROUNDS_SEED, m->chunk[i]);
	if (ret)
		return ret;
	ret = pbkdf2(m->chunk[i], KEY, SALT_SHUFFLE, ROUNDS, key);
	if (ret)
		return ret;
	ret = to_errno(gcry_cipher_open(&m->aes[i], GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_ECB, 0));
	if (ret == 0)
		ret = to_errno(gcry_cipher_setkey(m->aes[i], key, KEY));
	explicit_bzero(key, sizeof(key));
	return ret;
}

static void maker_down(struct maker *m)
{
	for (unsigned i = 0; i < CHUNKS; i++)
		gcry_cipher_close(m->aes[i]);
	explicit_bzero(m, sizeof(*m));
}

static int maker_up(struct maker *m, const char *key, uint32_t n)
{
	uint8_t longer[KEY];
	const uint8_t *seed = (const uint8_t *)key;
	int ret = 0;

	memset(m, 0, sizeof(*m));
	if (n < KEY) {
		ret = pbkdf2(key, n, SALT_SEED, ROUNDS, longer);
		seed = longer;
		n = KEY;
	}
	for (unsigned i = 0; i < CHUNKS && ret == 0; i++)
		ret = chunk_make(m, i, seed, n);
	explicit_bzero(longer, sizeof(longer));
	return ret;
}

/* h, 256 bits and big-endian, modulo n. */
static uint32_t big_mod(const uint8_t h[KEY], uint32_t n)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < KEY; i++)
		r = (r << 8 | h[i]) % n;
	return (uint32_t)r;
}

static int shuffle(const struct maker *m, uint8_t h[KEY], uint8_t pad[256])
{
	for (unsigned i = 0; i < 256; i++)
		pad[i] = (uint8_t)i;
	for (uint32_t i = 255; i > 0; i--) {
		uint8_t was = pad[i];
		uint32_t j;

		for (unsigned a = 0; a < CHUNKS; a++) {
			int ret = to_errno(gcry_cipher_encrypt(m->aes[a], h, KEY, NULL, 0));

			if (ret)
				return ret;
		}
		j = big_mod(h, i + 1);
		pad[i] = pad[j];
		pad[j] = was;
	}
	return 0;
}

static int pad_make(const struct maker *m, uint32_t p, struct qpp_pads *q)
{
	char name[sizeof("QPP_") + 32] = "QPP_";
	unsigned digits = p ? 32u - (unsigned)__builtin_clz(p) : 1;
	uint8_t h[KEY];
	int ret;

	for (unsigned i = 0; i < digits; i++)
		name[4 + i] = p >> (digits - 1 - i) & 1 ? '1' : '0';
	ret = hmac(m->chunk[p % CHUNKS], KEY, name, h);
	if (ret == 0)
		ret = shuffle(m, h, q->pad[p]);
	for (unsigned i = 0; i < 256; i++)
		q->inverse[p][q->pad[p][i]] = (uint8_t)i;
	explicit_bzero(h, sizeof(h));
	return ret;
}

static int start_make(struct qpp_pads *q, const char *key, uint32_t n)
{
	uint8_t selector[KEY], s[KEY] = {};
	int ret = hmac(key, n, SELECTOR, selector);

	if (ret == 0)
		ret = pbkdf2(selector, KEY, SALT_PRNG, ROUNDS, s);
	for (unsigned i = 0; i < 4; i++)
		q->start.s[i] = le64_get(s + 8 * i);
	q->start.used = 8;
	explicit_bzero(selector, sizeof(selector));
	explicit_bzero(s, sizeof(s));
	return ret;
}

int qpp_derive(struct qpp_pads **out, const char *key, uint32_t key_len, unsigned count)
{
	struct qpp_pads *q = vault_get(sizeof(*q) + 2 * count * sizeof(q->pad[0]));
	struct maker m;
	int ret;

	if (!q)
		return -ENOMEM;
	q->count = count;
	q->recip = UINT32_MAX / count + 1;
	q->inverse = q->pad + count;
	ret = gcrypt_up();
	if (ret)
		goto fail;
	ret = maker_up(&m, key, key_len);
	for (uint32_t p = 0; p < count && ret == 0; p++)
		ret = pad_make(&m, p, q);
	maker_down(&m);
	if (ret == 0)
		ret = start_make(q, key, key_len);
	if (ret)
		goto fail;
	*out = q;
	return 0;
fail:
	qpp_pads_destroy(q);
	return ret;
}
