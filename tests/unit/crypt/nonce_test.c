/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

#define MANY 5000

static uint8_t (*nonces(const uint8_t seed[32]))[CRYPT_NONCE_LEN]
{
	uint8_t(*all)[CRYPT_NONCE_LEN] = calloc(MANY, sizeof(*all));
	struct crypt_mb *mb;

	cr_assert_not_null(all);
	cr_assert_eq(crypt_mb_create(&mb, seed, 0, 0), 0);
	for (unsigned i = 0; i < MANY; i++)
		memcpy(all[i], crypt_nonce(&mb->nonces, mb->mgr), sizeof(all[i]));
	crypt_mb_destroy(mb);
	return all;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, CRYPT_NONCE_LEN);
}

/* The counters 0, 1, ... under AES-256 of the seed, by another library. */
Test(crypt_nonce, is_the_counter_encrypted)
{
	uint8_t seed[32];
	uint8_t(*all)[CRYPT_NONCE_LEN];
	gcry_cipher_hd_t hd;

	for (unsigned i = 0; i < 32; i++)
		seed[i] = (uint8_t)(i * 9 + 1);
	all = nonces(seed);
	cr_assert_eq(crypt_gcrypt_up(), 0);
	cr_assert_eq(gcry_cipher_open(&hd, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_ECB, 0), 0);
	cr_assert_eq(gcry_cipher_setkey(hd, seed, 32), 0);
	for (unsigned i = 0; i < MANY; i++) {
		uint8_t block[CRYPT_NONCE_LEN] = {0};

		le64_put(block, i);
		cr_assert_eq(gcry_cipher_encrypt(hd, block, 16, NULL, 0), 0);
		cr_assert_arr_eq(all[i], block, 16, "nonce %u", i);
	}
	gcry_cipher_close(hd);
	free(all);
}

Test(crypt_nonce, unique_over_refills_and_workers)
{
	uint8_t seed[2][32] = {{1}, {2}};
	uint8_t(*all)[CRYPT_NONCE_LEN] = calloc(2 * MANY, sizeof(*all));

	for (unsigned w = 0; w < 2; w++) {
		uint8_t(*one)[CRYPT_NONCE_LEN] = nonces(seed[w]);

		memcpy(all + w * MANY, one, MANY * sizeof(*one));
		free(one);
	}
	qsort(all, 2 * MANY, sizeof(*all), compare);
	for (unsigned i = 1; i < 2 * MANY; i++)
		cr_assert_neq(memcmp(all[i - 1], all[i], sizeof(*all)), 0);
	free(all);
}

/* What the burst puts on the wire is the generator's sequence, across burst borders and refills. */
Test(crypt_nonce, seal_uses_each_once)
{
	static uint8_t buf[700][64];
	static struct pkt v[700];
	const uint8_t seed[32] = {7}, key[CRYPT_KEY_LEN] = {0};
	uint8_t(*all)[CRYPT_NONCE_LEN] = nonces(seed);
	struct crypt_mb *mb;
	struct crypt *none;

	cr_assert_eq(crypt_mb_create(&mb, seed, 0, 0), 0);
	cr_assert_eq(crypt_create(&none, "none", key), 0);
	for (unsigned i = 0; i < 700; i++)
		v[i] = (struct pkt){.p = buf[i] + CRYPT_HEAD_LEN, .n = 30, .crypt = none};
	for (unsigned i = 0, step = 1; i < 700; i += step, step = step * 2 % 211) {
		step = step < 700 - i ? step : 700 - i;
		crypt_seal_burst(mb, v + i, step);
	}
	for (unsigned i = 0; i < 700; i++)
		cr_assert_arr_eq(buf[i], all[i], CRYPT_NONCE_LEN, "packet %u", i);
	crypt_destroy(none);
	crypt_mb_destroy(mb);
	free(all);
}
