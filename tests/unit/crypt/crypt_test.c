/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "crypt_int.h"

static const uint8_t seed[32] = {3}, key[CRYPT_KEY_LEN] = {1, 2, 3};

Test(crypt_crypt, names_and_growth)
{
	static const struct {
		const char *name;
		uint16_t head, tail;
	} want[] = {{"aes", 20, 0},	{"aes-128", 20, 0},  {"aes-192", 20, 0}, {"aes-128-gcm", 12, 16},
		    {"salsa20", 20, 0}, {"blowfish", 20, 0}, {"twofish", 20, 0}, {"cast5", 20, 0},
		    {"3des", 20, 0},	{"tea", 20, 0},	     {"xtea", 20, 0},	 {"xor", 20, 0},
		    {"sm4", 20, 0},	{"none", 20, 0},     {"null", 0, 0}};
	unsigned n = sizeof(want) / sizeof(want[0]);

	for (unsigned i = 0; i < n; i++) {
		struct crypt *c;

		cr_assert_str_eq(crypt_name(i), want[i].name);
		cr_assert_eq(crypt_create(&c, crypt_name(i), key), 0);
		cr_assert_eq(crypt_head(c), want[i].head);
		cr_assert_eq(crypt_tail(c), want[i].tail);
		cr_assert_leq(crypt_head(c), CRYPT_MAX_HEAD);
		cr_assert_leq(crypt_tail(c), CRYPT_MAX_TAIL);
		crypt_destroy(c);
	}
	cr_assert_null(crypt_name(n));
	cr_assert_null(crypt_name(~0u));
}

/* kcptun takes any unknown name for aes-256; a misspelt cipher is refused here. */
Test(crypt_crypt, unknown_name)
{
	static const char *const names[] = {"", "AES", "aes-256", "aes ", "rot13", "aes-12"};
	struct crypt *c;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cr_assert_eq(crypt_create(&c, names[i], key), -ENOENT, "%s", names[i]);
		cr_assert_eq(crypt_selftest(names[i]), -ENOENT);
	}
	crypt_destroy(NULL);
	crypt_mb_destroy(NULL);
}

Test(crypt_crypt, selftest_passes_on_every_instruction_set)
{
	unsigned ran = 0;

	for (unsigned i = 0; crypt_name(i); i++)
		cr_assert_eq(crypt_selftest(crypt_name(i)), 0, "%s", crypt_name(i));
	for (unsigned a = 0; a < CRYPT_ARCH_COUNT; a++) {
		struct crypt_mb *mb;
		int rc = crypt_mb_create_arch(&mb, seed, 0, 0, 0, a);

		if (rc) {
			cr_assert_eq(rc, -ENOTSUP);
			continue;
		}
		for (unsigned i = 0; crypt_name(i); i++)
			cr_assert_eq(crypt_selftest_mb(mb, &crypt_lines[i]), 0, "%s on %s", crypt_name(i),
				     crypt_arch_name(a));
		crypt_mb_destroy(mb);
		ran++;
	}
	cr_assert_geq(ran, 2);
}

static void xor_but_the_last(uint8_t *p, const uint8_t *stream, uint32_t n)
{
	crypt_xor_form(0)(p, stream, n);
	p[n - 1] ^= n > 1000; /* right for the known answer, wrong for long packets */
}

static void xor_not(uint8_t *p, const uint8_t *stream, uint32_t n)
{
	(void)p;
	(void)stream;
	(void)n;
}

Test(crypt_crypt, selftest_fails_on_a_wrong_machine)
{
	struct crypt_mb *mb;

	cr_assert_eq(crypt_mb_create(&mb, seed, 0, 0, 0), 0);
	mb->xor_in = xor_but_the_last;
	cr_assert_eq(crypt_selftest_mb(mb, crypt_line_find("aes")), -EBADMSG);
	mb->xor_in = xor_not;
	cr_assert_eq(crypt_selftest_mb(mb, crypt_line_find("aes-192")), -EBADMSG);
	cr_assert_eq(crypt_selftest_mb(mb, crypt_line_find("none")), 0, "does not use it");
	crypt_mb_destroy(mb);
}

/* What people are told is what a worker takes. */
Test(crypt_crypt, form_is_what_a_worker_runs)
{
	struct crypt_mb *mb;

	for (unsigned i = 0; crypt_name(i); i++)
		cr_expect(crypt_form(crypt_name(i)), "%s", crypt_name(i));
	cr_expect_null(crypt_form("rot13"));
	cr_assert_eq(crypt_mb_create(&mb, seed, 0, 0, 0), 0);
	cr_expect_eq(mb->cfb != NULL, !strcmp(crypt_form("aes-192"), "vector AES and AVX-512"), "%s",
		     crypt_form("aes-192"));
	cr_expect_eq(mb->salsa != NULL, !strcmp(crypt_form("salsa20"), "AVX-512"), "%s", crypt_form("salsa20"));
	cr_expect_eq(mb->tea == crypt_tea_form(2), !strcmp(crypt_form("xtea"), "AVX-512"), "%s", crypt_form("xtea"));
	cr_expect_eq(mb->xor_in == crypt_xor_form(0), !strcmp(crypt_form("xor"), "plain C"), "%s", crypt_form("xor"));
	cr_expect(strstr(crypt_form("aes-128-gcm"), "IPsec-MB"), "%s", crypt_form("aes-128-gcm"));
	cr_expect_str_eq(crypt_form("twofish"), "libgcrypt");
	crypt_mb_destroy(mb);
}
