/* SPDX-License-Identifier: MIT */

/* What a worker has of its own of each cipher: found, missing, gone, and apart from the other workers'. */

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "crypt_int.h"

#define MANY 100
#define LEN  200

static struct crypt_mb *mb_new(void)
{
	const uint8_t seed[32] = {3};
	struct crypt_mb *mb;

	cr_assert_eq(crypt_mb_create(&mb, seed, 1, 0, 0), 0);
	return mb;
}

static struct crypt *crypt_new(const char *name, unsigned n)
{
	uint8_t key[CRYPT_KEY_LEN] = {(uint8_t)(n + 1), (uint8_t)(n >> 8)};
	struct crypt *c;

	cr_assert_eq(crypt_create(&c, name, key), 0);
	return c;
}

static uint8_t buf[CRYPT_MAX_HEAD + LEN + CRYPT_MAX_TAIL];

/* Seals with one worker and opens with another. */
static uint8_t over(struct crypt_mb *from, const struct crypt *a, struct crypt_mb *to, const struct crypt *b)
{
	struct pkt k = {.p = buf + CRYPT_MAX_HEAD, .n = LEN, .crypt = a};

	memset(buf, 0x5a, sizeof(buf));
	crypt_seal_burst(from, &k, 1);
	k.crypt = b;
	crypt_open_burst(to, &k, 1);
	if (k.verdict != VERDICT_OK)
		return k.verdict;
	cr_assert_eq(k.n, LEN);
	for (unsigned i = 0; i < LEN; i++)
		cr_assert_eq(k.p[i], 0x5a);
	return VERDICT_OK;
}

Test(crypt_own, many_ciphers_come_and_go)
{
	static const char *const names[] = {"twofish", "aes-128-gcm", "salsa20", "sm4", "cast5"};
	struct crypt_mb *mb = mb_new(), *all = mb_new();
	struct crypt *c[MANY];

	for (unsigned i = 0; i < MANY; i++) {
		c[i] = crypt_new(names[i % 5], i);
		cr_assert_eq(crypt_mb_attach(mb, c[i]), 0);
		cr_assert_eq(crypt_mb_attach(all, c[i]), 0);
	}
	for (unsigned i = 0; i < MANY; i++) {
		cr_assert_eq(over(all, c[i], mb, c[i]), VERDICT_OK);
		cr_assert_eq(over(all, c[i], mb, c[(i + 5) % MANY]), DROP_CRYPT_BAD, "another key");
	}
	/* Taking some away leaves the others to be found. */
	for (unsigned i = 0; i < MANY; i++) {
		crypt_mb_detach(mb, c[i * 37 % MANY]);
		for (unsigned j = 0; j < MANY; j++)
			cr_assert_eq(over(all, c[j * 37 % MANY], mb, c[j * 37 % MANY]),
				     j <= i ? DROP_CRYPT_BAD : VERDICT_OK);
	}
	cr_assert_eq(mb->owns.n, 0);
	for (unsigned i = 0; i < MANY; i++)
		cr_assert_eq(crypt_mb_attach(mb, c[i]), 0);
	for (unsigned i = 0; i < MANY; i++)
		cr_assert_eq(over(all, c[i], mb, c[i]), VERDICT_OK);
	crypt_mb_destroy(mb);
	for (unsigned i = 0; i < MANY; i++)
		crypt_destroy(c[i]);
	crypt_mb_destroy(all);
}

/* Nothing may leave in clear, nor be taken for opened. */
Test(crypt_own, not_attached_is_zeros_and_refused)
{
	for (unsigned i = 0; crypt_name(i); i++) {
		struct crypt *c = crypt_new(crypt_name(i), i);
		struct crypt_mb *mb = mb_new();
		struct pkt k = {.p = buf + CRYPT_MAX_HEAD, .n = LEN, .crypt = c};

		if (!c->ops->own) {
			cr_assert_eq(crypt_mb_attach(mb, c), 0);
			cr_assert_eq(mb->owns.n, 0);
			crypt_mb_detach(mb, c);
		} else {
			memset(buf, 0x5a, sizeof(buf));
			crypt_seal_burst(mb, &k, 1);
			cr_assert_eq(k.n, crypt_head(c) + LEN + crypt_tail(c));
			for (unsigned b = 0; b < k.n; b++)
				cr_assert_eq(k.p[b], 0);
			crypt_open_burst(mb, &k, 1);
			cr_assert_eq(k.verdict, DROP_CRYPT_BAD);
		}
		crypt_mb_destroy(mb);
		crypt_destroy(c);
	}
}

/* Attached anew, the second key counts, be it at the address of the first. */
Test(crypt_own, attached_twice)
{
	struct crypt_mb *mb = mb_new(), *other = mb_new();
	struct crypt *c = crypt_new("blowfish", 1), *d = crypt_new("blowfish", 2);

	cr_assert_eq(crypt_mb_attach(mb, c), 0);
	memcpy(c, d, sizeof(*d) + d->ops->size);
	cr_assert_eq(crypt_mb_attach(mb, c), 0);
	cr_assert_eq(crypt_mb_attach(other, d), 0);
	cr_assert_eq(mb->owns.n, 1);
	cr_assert_eq(over(mb, c, other, d), VERDICT_OK);
	crypt_mb_destroy(mb);
	crypt_mb_destroy(other);
	crypt_destroy(c);
	crypt_destroy(d);
}

/* libgcrypt would refuse these keys; kcptun takes them, and so do we.  The parity bits of DES count for nothing. */
Test(crypt_own, weak_keys)
{
	static const uint8_t keys[][CRYPT_KEY_LEN] = {
		{0},
		{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		{0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 9, 9, 9, 9, 9, 9, 9, 9, 0xe0, 0xe0, 0xe0, 0xe0, 0xf1},
	};
	static const char *const names[] = {"3des", "blowfish", "cast5", "twofish", "sm4"};

	for (unsigned i = 0; i < 15; i++) {
		const char *name = names[i % 5];
		struct crypt_mb *mb = mb_new();
		struct crypt_ref *r;
		struct crypt *c;

		cr_assert_eq(crypt_create(&c, name, keys[i / 5]), 0, "%s", name);
		cr_assert_eq(crypt_mb_attach(mb, c), 0);
		cr_assert_eq(crypt_ref_create(&r, crypt_line_find(name), keys[i / 5]), 0);
		cr_assert_eq(over(mb, c, mb, c), VERDICT_OK, "%s", name);
		memset(buf, 0, sizeof(buf));
		cr_assert_eq(crypt_ref_seal(r, buf, LEN, keys[2]), 0);
		cr_assert_eq(crypt_ref_open(r, buf, CRYPT_HEAD_LEN + LEN), 0);
		if (i == 5 || i == 0) {
			struct crypt *p;
			uint8_t key[CRYPT_KEY_LEN];

			for (unsigned k = 0; k < sizeof(key); k++)
				key[k] = keys[i / 5][k] ^ 1;
			cr_assert_eq(crypt_create(&p, name, key), 0);
			cr_assert_eq(crypt_mb_attach(mb, p), 0);
			cr_assert_eq(over(mb, c, mb, p), VERDICT_OK, "parity");
			crypt_mb_detach(mb, p);
			crypt_destroy(p);
		}
		crypt_ref_destroy(r);
		crypt_mb_destroy(mb);
		crypt_destroy(c);
	}
}

/* ---- two workers at once ---- */

#define BURST  32
#define ROUNDS 60

struct pair {
	struct crypt *c[CRYPT_LINES];
	unsigned n, bad[2];
};

struct worker {
	struct pair *pair;
	unsigned id;
};

/* Criterion's assertions are for the test's own thread. */
static void *work(void *arg)
{
	struct worker *w = arg;
	const uint8_t seed[32] = {(uint8_t)(w->id + 1)};
	static uint8_t room[2][BURST][CRYPT_MAX_HEAD + LEN + CRYPT_MAX_TAIL];
	struct pkt v[BURST];
	struct crypt_mb *mb;

	if (crypt_mb_create(&mb, seed, 1, w->id, 0)) {
		w->pair->bad[w->id]++;
		return NULL;
	}
	for (unsigned i = 0; i < w->pair->n; i++)
		w->pair->bad[w->id] += crypt_mb_attach(mb, w->pair->c[i]) != 0;
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned i = 0; i < BURST; i++) {
			uint8_t *p = room[w->id][i] + CRYPT_MAX_HEAD;

			memset(p, (int)(r + i), LEN);
			v[i] = (struct pkt){.p = p, .n = LEN, .crypt = w->pair->c[(r + i / 4) % w->pair->n]};
		}
		crypt_seal_burst(mb, v, BURST);
		crypt_open_burst(mb, v, BURST);
		for (unsigned i = 0; i < BURST; i++)
			w->pair->bad[w->id] += v[i].verdict != VERDICT_OK || v[i].n != LEN ||
					       v[i].p[0] != (uint8_t)(r + i) || memcmp(v[i].p, v[i].p + 1, LEN - 1);
	}
	crypt_mb_destroy(mb);
	return NULL;
}

Test(crypt_own, two_workers_share_ciphers)
{
	struct pair pair = {0};
	struct worker w[2] = {{&pair, 0}, {&pair, 1}};
	pthread_t t[2];

	for (; crypt_name(pair.n); pair.n++)
		pair.c[pair.n] = crypt_new(crypt_name(pair.n), pair.n);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, work, &w[i]), 0);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		cr_assert_eq(pair.bad[i], 0);
	}
	for (unsigned i = 0; i < pair.n; i++)
		crypt_destroy(pair.c[i]);
}
