/* SPDX-License-Identifier: MIT */

/*
 * The burst forms against the serial reference, bit for bit, on every instruction set that this machine has: every
 * length, many batch sizes, all ciphers and several keys side by side in one burst, and a canary around every packet.
 */

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

#define EXTRA	 9
#define KEYS	 (EXTRA + CRYPT_LINES) /* most */
#define LENGTHS	 1502		       /* 0..1500 and 2048 */
#define MAX_LEN	 2048
#define MAX_SIZE 256
#define BEFORE	 160 /* where a packet's room starts, plus its alignment */
#define BUF	 2560
#define CANARY	 0xa5

/* Several keys of ciphers whose packets share lanes or must be told apart, then every cipher there is. */
static const char *ciphers[KEYS] = {"aes", "aes-128", "aes",	     "twofish", "blowfish",
				    "sm4", "tea",     "aes-128-gcm", "salsa20"};
static unsigned keys;

struct golden {
	uint8_t *datagram; /* head, payload, tail */
	uint8_t nonce[CRYPT_NONCE_LEN];
};

static struct crypt *key_of[KEYS];
static struct crypt_ref *ref_of[KEYS];
static struct golden golden[KEYS][LENGTHS];
static uint8_t payload[KEYS][MAX_LEN];

static uint32_t rng_state;

static uint32_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	return rng_state ^= rng_state << 5;
}

static unsigned length(unsigned i)
{
	return i < LENGTHS - 1 ? i : MAX_LEN;
}

/* Every key's datagram of every length, by the reference. */
static void up(void)
{
	rng_state = 20240611;
	for (keys = EXTRA; crypt_name(keys - EXTRA); keys++)
		ciphers[keys] = crypt_name(keys - EXTRA);
	for (unsigned k = 0; k < keys; k++) {
		uint8_t key[CRYPT_KEY_LEN];
		uint16_t head;

		for (unsigned i = 0; i < sizeof(key); i++)
			key[i] = (uint8_t)rng();
		for (unsigned i = 0; i < MAX_LEN; i++)
			payload[k][i] = (uint8_t)(rng() >> 8);
		cr_assert_eq(crypt_create(&key_of[k], ciphers[k], key), 0);
		cr_assert_eq(crypt_ref_create(&ref_of[k], crypt_line_find(ciphers[k]), key), 0);
		head = crypt_head(key_of[k]);
		for (unsigned i = 0; i < LENGTHS; i++) {
			struct golden *g = &golden[k][i];

			g->datagram = malloc(head + length(i) + crypt_tail(key_of[k]) + 1);
			memcpy(g->datagram + head, payload[k], length(i));
			for (unsigned b = 0; b < sizeof(g->nonce); b++)
				g->nonce[b] = (uint8_t)rng();
			cr_assert_eq(crypt_ref_seal(ref_of[k], g->datagram, length(i), g->nonce), 0);
		}
	}
}

static void down(void)
{
	for (unsigned k = 0; k < keys; k++) {
		crypt_destroy(key_of[k]);
		crypt_ref_destroy(ref_of[k]);
		for (unsigned i = 0; i < LENGTHS; i++)
			free(golden[k][i].datagram);
	}
}

TestSuite(crypt_burst, .init = up, .fini = down);

struct slot {
	unsigned key, len, at; /* which golden datagram, and where its head starts in buf */
	uint8_t buf[BUF];
};

static struct slot slot[MAX_SIZE];
static struct pkt v[MAX_SIZE];
static uint8_t nonces[MAX_SIZE][CRYPT_NONCE_LEN];
static uint8_t image[BUF];

static void put(unsigned i, unsigned key, unsigned len)
{
	struct slot *s = &slot[i];

	s->key = key;
	s->len = len;
	s->at = BEFORE + rng() % 64;
	memset(s->buf, CANARY, BUF);
	memcpy(s->buf + s->at + crypt_head(key_of[key]), payload[key], length(len));
	memcpy(nonces[i], golden[key][len].nonce, CRYPT_NONCE_LEN);
	v[i] = (struct pkt){.p = s->buf + s->at + crypt_head(key_of[key]),
			    .n = (uint16_t)length(len),
			    .crypt = key_of[key],
			    .own = s,
			    .tunnel = (uint16_t)i};
}

static void check_sealed(unsigned i)
{
	struct slot *s = &slot[i];
	unsigned n = crypt_head(key_of[s->key]) + length(s->len) + crypt_tail(key_of[s->key]);

	memset(image, CANARY, BUF);
	memcpy(image + s->at, golden[s->key][s->len].datagram, n);
	if (v[i].p != s->buf + s->at || v[i].n != n || v[i].own != s || v[i].tunnel != i || memcmp(s->buf, image, BUF))
		cr_assert_fail("sealing %s, %u bytes, packet %u", ciphers[s->key], length(s->len), i);
}

static void check_opened(unsigned i)
{
	struct slot *s = &slot[i];
	uint16_t head = crypt_head(key_of[s->key]);
	uint8_t *data = s->buf + s->at + head;

	/* What is left of head and tail is nobody's; all else must be the payload or untouched. */
	memset(image, CANARY, BUF);
	memcpy(image + s->at, s->buf + s->at, head);
	memcpy(image + s->at + head + length(s->len), data + length(s->len), crypt_tail(key_of[s->key]));
	memcpy(image + s->at + head, payload[s->key], length(s->len));
	if (v[i].verdict != VERDICT_OK || v[i].p != data || v[i].n != length(s->len) || memcmp(s->buf, image, BUF))
		cr_assert_fail("opening %s, %u bytes, packet %u", ciphers[s->key], length(s->len), i);
}

static void both_ways(struct crypt_mb *mb, unsigned n)
{
	crypt_seal_given(mb, v, n, nonces[0]);
	for (unsigned i = 0; i < n; i++)
		check_sealed(i);
	crypt_open_burst(mb, v, n);
	for (unsigned i = 0; i < n; i++)
		check_opened(i);
}

/* Every length in bursts of `size`; key_or_any picks one key, or all at random when it is `keys`. */
static void sweep(struct crypt_mb *mb, unsigned size, unsigned key_or_any, bool shuffled)
{
	static unsigned order[LENGTHS];

	for (unsigned i = 0; i < LENGTHS; i++) {
		unsigned j = shuffled ? rng() % (i + 1) : i;

		order[i] = order[j];
		order[j] = i;
	}
	for (unsigned done = 0; done < LENGTHS; done += size) {
		for (unsigned i = 0; i < size; i++)
			put(i, key_or_any < keys ? key_or_any : rng() % keys, order[(done + i) % LENGTHS]);
		both_ways(mb, size);
	}
}

static void attach_all(struct crypt_mb *mb)
{
	for (unsigned k = 0; k < keys; k++)
		cr_assert_eq(crypt_mb_attach(mb, key_of[k]), 0);
}

static void on(enum crypt_arch arch, unsigned step)
{
	const uint8_t seed[32] = {9};
	struct crypt_mb *mb;
	int rc = crypt_mb_create_arch(&mb, seed, 0, 0, 0, arch);

	if (rc) {
		cr_assert_eq(rc, -ENOTSUP);
		cr_skip_test("this machine or library has no %s", crypt_arch_name(arch));
	}
	attach_all(mb);
	for (unsigned size = 1; size <= 40; size += step)
		sweep(mb, size, keys, true);
	for (unsigned key = 0; key < keys; key++)
		sweep(mb, 32, key, false);
	sweep(mb, 37, 0, false); /* lanes of sixteen, and a rest */
	sweep(mb, 256, keys, true);
	crypt_mb_destroy(mb);
}

Test(crypt_burst, soft)
{
	on(CRYPT_ARCH_SOFT, 13);
}

Test(crypt_burst, sse)
{
	on(CRYPT_ARCH_SSE, 3);
}

Test(crypt_burst, avx)
{
	on(CRYPT_ARCH_AVX, 3);
}

Test(crypt_burst, avx2)
{
	on(CRYPT_ARCH_AVX2, 3);
}

Test(crypt_burst, avx2_vaes)
{
	on(CRYPT_ARCH_AVX2_VAES, 3);
}

Test(crypt_burst, avx512)
{
	on(CRYPT_ARCH_AVX512, 3);
}

Test(crypt_burst, avx512_vaes)
{
	on(CRYPT_ARCH_AVX512_VAES, 3);
}

static struct crypt_mb *mb_auto(void)
{
	const uint8_t seed[32] = {4};
	struct crypt_mb *mb;

	cr_assert_eq(crypt_mb_create(&mb, seed, 0, 0, 0), 0);
	attach_all(mb);
	return mb;
}

/* Through the public calls alone: nonces of its own, which the reference then opens. */
Test(crypt_burst, reference_opens_what_the_burst_sealed)
{
	struct crypt_mb *mb = mb_auto();

	for (unsigned i = 0; i < MAX_SIZE; i++)
		put(i, i % keys, i * 5);
	crypt_seal_burst(mb, v, MAX_SIZE);
	for (unsigned i = 0; i < MAX_SIZE; i++) {
		uint16_t head = crypt_head(key_of[i % keys]);

		cr_assert_eq(v[i].n, head + i * 5 + crypt_tail(key_of[i % keys]));
		cr_assert_eq(crypt_ref_open(ref_of[i % keys], v[i].p, v[i].n), 0);
		cr_assert_arr_eq(v[i].p + head, payload[i % keys], i * 5);
	}
	crypt_mb_destroy(mb);
}

/* Any flipped bit of CRC or payload, and the wrong key, is found; one bad packet does not touch its neighbours. */
Test(crypt_burst, bad_packets_among_good)
{
	struct crypt_mb *mb = mb_auto();
	bool spoilt[64];

	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 64; i++)
			put(i, rng() % keys, 1 + rng() % 1400);
		crypt_seal_given(mb, v, 64, nonces[0]);
		for (unsigned i = 0; i < 64; i++) {
			unsigned at = CRYPT_CRC_OFF + rng() % (v[i].n - CRYPT_CRC_OFF > 0 ? v[i].n - CRYPT_CRC_OFF : 1);

			spoilt[i] = crypt_head(key_of[slot[i].key]) && rng() % 3 == 0;
			if (spoilt[i] && slot[i].key % 2)
				v[i].p[at] ^= (uint8_t)(1u << rng() % 8);
			else if (spoilt[i])
				v[i].crypt = key_of[slot[i].key == 0 ? 2 : 0];
		}
		crypt_open_burst(mb, v, 64);
		for (unsigned i = 0; i < 64; i++) {
			if (spoilt[i])
				cr_assert_eq(v[i].verdict, DROP_CRYPT_BAD, "packet %u of round %u", i, round);
			else
				check_opened(i);
		}
	}
	crypt_mb_destroy(mb);
}

Test(crypt_burst, short_packets)
{
	struct crypt_mb *mb = mb_auto();

	for (unsigned k = 0; k < keys; k++) {
		uint16_t head = crypt_head(key_of[k]), least = head + crypt_tail(key_of[k]);

		for (unsigned n = 0; n <= 32; n++) {
			memset(slot[n].buf, CANARY, BUF);
			v[n] = (struct pkt){.p = slot[n].buf + BEFORE, .n = (uint16_t)n, .crypt = key_of[k]};
		}
		crypt_open_burst(mb, v, 33);
		for (unsigned n = 0; n <= 32; n++) {
			if (!head) {
				cr_assert_eq(v[n].verdict, VERDICT_OK);
				continue;
			}
			cr_assert_eq(v[n].verdict, n < least ? DROP_CRYPT_SHORT : DROP_CRYPT_BAD, "%s, %u bytes",
				     ciphers[k], n);
			memset(image, CANARY, BUF);
			cr_assert(n >= least || !memcmp(slot[n].buf, image, BUF));
		}
	}
	crypt_mb_destroy(mb);
}

/* Packets that an earlier room judged are left as they are, even without a key; sealing looks at no verdict. */
Test(crypt_burst, judged_packets_are_left_alone)
{
	struct crypt_mb *mb = mb_auto();
	struct pkt before[64];

	for (unsigned i = 0; i < 64; i++) {
		put(i, i % keys, 100 + i);
		v[i].verdict = i % 3 ? DROP_UDP_LENGTH : VERDICT_OK;
	}
	crypt_seal_given(mb, v, 64, nonces[0]);
	for (unsigned i = 0; i < 64; i++) {
		check_sealed(i);
		v[i].verdict = i % 3 == 1 ? VERDICT_PUNT : i % 3 == 2 ? DROP_NOT_FOR_US : VERDICT_OK;
		if (i % 3)
			v[i].crypt = NULL;
		before[i] = v[i];
	}
	crypt_open_burst(mb, v, 64);
	for (unsigned i = 0; i < 64; i++) {
		if (i % 3 == 0) {
			check_opened(i);
			continue;
		}
		cr_assert_arr_eq(&v[i], &before[i], sizeof(v[i]));
		v[i].crypt = key_of[slot[i].key];
		check_sealed(i);
	}
	crypt_open_burst(mb, v, 0);
	crypt_seal_burst(mb, v, 0);
	crypt_mb_destroy(mb);
}

/* Longer than any packet of ours, and more of them than one turn of scratch holds. */
Test(crypt_burst, huge_packets)
{
	enum { COUNT = 40, LEN = 65000, ROOM = 66000 };
	struct crypt_mb *mb = mb_auto();
	uint8_t *buf = malloc(COUNT * ROOM), *want = malloc(ROOM);

	for (unsigned i = 0; i < COUNT; i++) {
		struct crypt *c = key_of[i % keys];

		memset(buf + i * ROOM, (int)i, ROOM);
		v[i] = (struct pkt){.p = buf + i * ROOM + crypt_head(c), .n = LEN, .crypt = c};
		memset(nonces[i], (int)i, CRYPT_NONCE_LEN);
	}
	crypt_seal_given(mb, v, COUNT, nonces[0]);
	for (unsigned i = 0; i < COUNT; i++) {
		memset(want, (int)i, ROOM);
		cr_assert_eq(crypt_ref_seal(ref_of[i % keys], want, LEN, nonces[i]), 0);
		cr_assert(!memcmp(buf + i * ROOM, want, ROOM), "packet %u, %s", i, ciphers[i % keys]);
	}
	crypt_open_burst(mb, v, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_assert_eq(v[i].verdict, VERDICT_OK);
		cr_assert_eq(v[i].n, LEN);
	}
	free(buf);
	free(want);
	crypt_mb_destroy(mb);
}
