/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

#define MANY 5000

static uint8_t (*nonces(const uint8_t seed[32], unsigned worker, unsigned side))[CRYPT_NONCE_LEN]
{
	uint8_t(*all)[CRYPT_NONCE_LEN] = calloc(MANY, sizeof(*all));
	struct crypt_mb *mb;

	cr_assert_not_null(all);
	cr_assert_eq(crypt_mb_create(&mb, seed, 0, worker, 0), 0);
	for (unsigned i = 0; i < MANY; i++)
		memcpy(all[i], crypt_nonce(&mb->nonces, mb->mgr, side), sizeof(all[i]));
	crypt_mb_destroy(mb);
	return all;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, CRYPT_NONCE_LEN);
}

/* The counters 0, 1, ... beside side and worker, under AES-256 of the seed, by another library. */
Test(crypt_nonce, is_the_counter_encrypted)
{
	uint8_t seed[32];
	uint8_t(*all)[CRYPT_NONCE_LEN];
	gcry_cipher_hd_t hd;

	for (unsigned i = 0; i < 32; i++)
		seed[i] = (uint8_t)(i * 9 + 1);
	all = nonces(seed, 5, CRYPT_SIDE_SERVER);
	cr_assert_eq(crypt_gcrypt_up(), 0);
	cr_assert_eq(gcry_cipher_open(&hd, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_ECB, 0), 0);
	cr_assert_eq(gcry_cipher_setkey(hd, seed, 32), 0);
	for (unsigned i = 0; i < MANY; i++) {
		uint8_t block[CRYPT_NONCE_LEN] = {0};

		le64_put(block, i);
		block[8] = CRYPT_SIDE_SERVER;
		block[9] = 5;
		cr_assert_eq(gcry_cipher_encrypt(hd, block, 16, NULL, 0), 0);
		cr_assert_arr_eq(all[i], block, 16, "nonce %u", i);
	}
	gcry_cipher_close(hd);
	free(all);
}

/* All workers of a process have one seed. */
Test(crypt_nonce, unique_over_refills_workers_and_sides)
{
	enum { SETS = 4 };
	const uint8_t seed[32] = {1};
	uint8_t(*all)[CRYPT_NONCE_LEN] = calloc(SETS * MANY, sizeof(*all));

	for (unsigned i = 0; i < SETS; i++) {
		uint8_t(*one)[CRYPT_NONCE_LEN] = nonces(seed, i / 2, i % 2 ? CRYPT_SIDE_SERVER : CRYPT_SIDE_CLIENT);

		memcpy(all + (size_t)i * MANY, one, MANY * sizeof(*one));
		free(one);
	}
	qsort(all, SETS * MANY, sizeof(*all), compare);
	for (unsigned i = 1; i < SETS * MANY; i++)
		cr_assert_neq(memcmp(all[i - 1], all[i], sizeof(*all)), 0);
	free(all);
}

/* What the burst puts on the wire is the generator's sequence, across burst borders and refills. */
Test(crypt_nonce, seal_uses_each_once)
{
	static uint8_t buf[700][64];
	static struct pkt v[700];
	const uint8_t seed[32] = {7}, key[CRYPT_KEY_LEN] = {0};
	uint8_t(*all)[CRYPT_NONCE_LEN] = nonces(seed, 0, CRYPT_SIDE_NONE);
	struct crypt_mb *mb;
	struct crypt *none;

	cr_assert_eq(crypt_mb_create(&mb, seed, 0, 0, 0), 0);
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

/* ---- counted ---- */

#define STARTS	4
#define WORKERS 3
#define EACH	2000

typedef uint8_t counted[CRYPT_GCM_NONCE];

/* One worker of one start: `many` nonces as they go out, through sealing. */
static void one_start(counted *out, unsigned many, const uint8_t seed[32], uint64_t now_us, unsigned worker,
		      uint32_t pid)
{
	static uint8_t buf[64][64];
	static struct pkt v[64];
	const uint8_t key[CRYPT_KEY_LEN] = {5};
	struct crypt_mb *mb;
	struct crypt *c;

	cr_assert_eq(crypt_mb_create(&mb, seed, now_us, worker, pid), 0);
	cr_assert_eq(crypt_create(&c, "aes-128-gcm", key), 0);
	cr_assert_eq(crypt_mb_attach(mb, c), 0);
	for (unsigned done = 0, n; done < many; done += n) {
		n = many - done < 64 ? many - done : 64;
		for (unsigned i = 0; i < n; i++)
			v[i] = (struct pkt){.p = buf[i] + CRYPT_GCM_NONCE, .n = 20, .crypt = c};
		crypt_seal_burst(mb, v, n);
		for (unsigned i = 0; i < n; i++)
			memcpy(out[done + i], buf[i], CRYPT_GCM_NONCE);
	}
	crypt_mb_destroy(mb);
	crypt_destroy(c);
}

static int compare_counted(const void *a, const void *b)
{
	return memcmp(a, b, CRYPT_GCM_NONCE);
}

/*
 * The worst that can be: the random part is the same at every start and for every worker, and each start follows as
 * soon as the packets of the one before could have been sent.
 */
Test(crypt_nonce, counted_is_unique_over_restarts_and_workers_without_chance)
{
	static counted all[STARTS * WORKERS * EACH];
	const uint8_t seed[32] = {1};
	unsigned n = 0;

	for (unsigned s = 0; s < STARTS; s++) {
		for (unsigned w = 0; w < WORKERS; w++, n += EACH)
			one_start(all + n, EACH, seed, 1700000000000000u + s * (EACH / 32 + 1), w, 77);
	}
	qsort(all, n, sizeof(all[0]), compare_counted);
	for (unsigned i = 1; i < n; i++)
		cr_assert_neq(memcmp(all[i - 1], all[i], sizeof(all[0])), 0);
}

/* The same clock and worker, as after the clock was set back: the random part stands in. */
Test(crypt_nonce, counted_differs_by_seed)
{
	static counted a[EACH], b[EACH];
	const uint8_t seed[2][32] = {{1}, {2}};

	one_start(a, EACH, seed[0], 1700000000000000u, 0, 77);
	one_start(b, EACH, seed[1], 1700000000000000u, 0, 77);
	for (unsigned i = 0; i < EACH; i++) {
		cr_assert_arr_eq(a[i], b[i], 8, "count and worker are not random");
		cr_assert_arr_eq(a[i] + 8, a[0] + 8, 4);
		cr_assert_neq(memcmp(a[i] + 8, b[i] + 8, 4), 0);
	}
}

/* Two processes that start in the same microsecond, with the same random bits even: the process id keeps them apart. */
Test(crypt_nonce, counted_differs_by_process)
{
	static counted a[EACH], b[EACH];
	const uint8_t seed[32] = {1};

	one_start(a, EACH, seed, 1700000000000000u, 0, 4194303);
	one_start(b, EACH, seed, 1700000000000000u, 0, 4194302);
	for (unsigned i = 0; i < EACH; i++) {
		cr_assert_arr_eq(a[i], b[i], 8);
		cr_assert_neq(memcmp(a[i] + 8, b[i] + 8, 4), 0);
	}
}

Test(crypt_nonce, counted_layout)
{
	struct crypt_counted t = {.count = UINT64_MAX, .process = 0x04030201, .worker = 127};
	uint8_t nonce[CRYPT_GCM_NONCE], want[2][CRYPT_GCM_NONCE] = {
						{255, 255, 255, 255, 255, 255, 255, 127, 1, 2, 3, 4},
						{0, 0, 0, 0, 0, 0, 0, 127, 1, 2, 3, 4},
					};
	struct crypt_mb *mb;
	const uint8_t seed[32] = {0};

	for (unsigned i = 0; i < 2; i++) {
		crypt_counted_put(&t, nonce);
		cr_assert_arr_eq(nonce, want[i], sizeof(nonce), "beyond the last the worker stays what it is");
	}
	cr_assert_eq(crypt_mb_create(&mb, seed, 0, CRYPT_WORKERS, 0), -EINVAL);
	cr_assert_eq(crypt_mb_create(&mb, seed, 0, CRYPT_WORKERS - 1, 0), 0);
	crypt_mb_destroy(mb);
}
