/* SPDX-License-Identifier: MIT */

/* What a process has sealed, and meets again: at whichever of its workers, but not at the tunnel's other end. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

#define MANY 300 /* more than a burst, and than a pool of nonces */
#define ROOM 256

static const uint8_t key[CRYPT_KEY_LEN] = {1, 2, 3}, seed[32] = {9}, other_seed[32] = {10};

static struct crypt_mb *mb_new(const uint8_t s[32], unsigned worker, enum crypt_arch arch)
{
	struct crypt_mb *mb;

	return crypt_mb_create_arch(&mb, s, 1, worker, 1, arch) ? NULL : mb;
}

static struct crypt *crypt_new(const char *name, enum crypt_side side)
{
	struct crypt *c;

	cr_assert_eq(crypt_create(&c, name, key), 0);
	crypt_set_side(c, side);
	return c;
}

/* Seals MANY of all lengths at `from`, opens them at `to`; how many are taken for reflected.  All of them open. */
static unsigned reflected(struct crypt_mb *from, const struct crypt *a, struct crypt_mb *to, const struct crypt *b)
{
	uint8_t *buf = calloc(MANY, ROOM);
	struct pkt *v = calloc(MANY, sizeof(*v));
	unsigned n = 0;

	cr_assert_eq(crypt_mb_attach(from, a), 0);
	cr_assert_eq(crypt_mb_attach(to, b), 0);
	for (unsigned i = 0; i < MANY; i++)
		v[i] = (struct pkt){.p = buf + (size_t)i * ROOM + 32, .n = (uint16_t)(i % 90), .crypt = a};
	crypt_seal_burst(from, v, MANY);
	for (unsigned i = 0; i < MANY; i++)
		v[i].crypt = b;
	crypt_open_burst(to, v, MANY);
	crypt_reflected(to, v, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		cr_assert(v[i].verdict == VERDICT_OK || v[i].verdict == DROP_REFLECTED);
		n += v[i].verdict == DROP_REFLECTED;
	}
	crypt_mb_detach(from, a);
	crypt_mb_detach(to, b);
	free(v);
	free(buf);
	return n;
}

static void each(const char *name, enum crypt_arch arch)
{
	struct crypt *us = crypt_new(name, CRYPT_SIDE_SERVER), *peer = crypt_new(name, CRYPT_SIDE_CLIENT);
	struct crypt *any = crypt_new(name, CRYPT_SIDE_NONE);
	struct crypt_mb *mb = mb_new(seed, 0, arch), *fellow = mb_new(seed, CRYPT_WORKERS - 1, arch);
	struct crypt_mb *stranger = mb_new(other_seed, 0, arch);
	unsigned all = crypt_knows_own(us) ? MANY : 0;

	cr_expect_eq(reflected(mb, us, mb, us), all, "%s", name);
	cr_expect_eq(reflected(fellow, us, mb, us), all, "%s", name);
	cr_expect_eq(reflected(mb, us, fellow, us), all, "%s", name);
	cr_expect_eq(reflected(mb, peer, mb, us), 0, "%s", name);
	cr_expect_eq(reflected(mb, us, mb, peer), 0, "%s", name);
	cr_expect_eq(reflected(stranger, us, mb, us), 0, "%s", name);
	cr_expect_eq(reflected(mb, any, mb, us), 0, "%s", name);
	cr_expect_eq(reflected(mb, us, mb, any), 0, "%s", name);
	crypt_mb_destroy(stranger);
	crypt_mb_destroy(fellow);
	crypt_mb_destroy(mb);
	crypt_destroy(any);
	crypt_destroy(peer);
	crypt_destroy(us);
}

Test(crypt_reflect, known_at_all_workers_and_not_at_the_other_end)
{
	for (unsigned i = 0; crypt_name(i); i++)
		for (unsigned a = 0; a < CRYPT_ARCH_COUNT; a++) {
			struct crypt_mb *mb = mb_new(seed, 0, (enum crypt_arch)a);

			if (!mb)
				continue; /* not on this CPU */
			crypt_mb_destroy(mb);
			each(crypt_name(i), (enum crypt_arch)a);
		}
}

/* Those of which a block is as long as the nonce, and which make theirs so that nobody can foresee them. */
Test(crypt_reflect, by_those_whose_nonce_nobody_changes)
{
	static const char *const those[] = {"aes", "aes-128", "aes-192", "twofish", "sm4", "none", "xor"};

	for (unsigned i = 0; crypt_name(i); i++) {
		struct crypt *c = crypt_new(crypt_name(i), CRYPT_SIDE_CLIENT), *d;
		bool among = false;

		for (unsigned k = 0; k < sizeof(those) / sizeof(those[0]); k++)
			among |= !strcmp(those[k], crypt_name(i));
		cr_expect_eq(crypt_knows_own(c), among, "%s", crypt_name(i));
		d = crypt_new(crypt_name(i), CRYPT_SIDE_NONE);
		cr_expect_not(crypt_knows_own(d));
		crypt_destroy(d);
		crypt_destroy(c);
	}
}

/* A nonce is one of ours or not whatever its count. */
Test(crypt_reflect, sides_and_workers_have_nonces_of_their_own)
{
	uint8_t block[CRYPT_NONCE_LEN] = {0};

	for (uint64_t high = 0; high < 1u << 20; high++) {
		bool worker = high >> 8 < CRYPT_WORKERS;

		le64_put(block + 8, high);
		cr_assert_eq(crypt_nonce_was(block, CRYPT_SIDE_CLIENT), worker && (high & 0xff) == CRYPT_SIDE_CLIENT);
		cr_assert_eq(crypt_nonce_was(block, CRYPT_SIDE_SERVER), worker && (high & 0xff) == CRYPT_SIDE_SERVER);
	}
}
