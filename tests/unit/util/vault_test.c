/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <criterion/criterion.h>

#include "sanitized.h"
#include "vault.h"

/* Where keys live; each test is a process of its own. */

static bool is_filled(const uint8_t *p, size_t n, uint8_t with)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != with)
			return false;
	return true;
}

/* Blocks of all sizes are zeroed, aligned and apart; given back they are wiped, and serve again. */
Test(vault, blocks)
{
	enum { N = 300 };
	static uint8_t *p[N];
	size_t had;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N; i++) {
			size_t n = (size_t)i * i + 1;

			p[i] = vault_get(n);
			cr_assert_not_null(p[i]);
			cr_assert_eq((uintptr_t)p[i] % 64, 0);
			cr_assert(is_filled(p[i], n, 0), "of %zu", n);
			memset(p[i], (int)(i + 1), n);
		}
		for (unsigned i = 0; i < N; i++)
			cr_assert(is_filled(p[i], (size_t)i * i + 1, (uint8_t)(i + 1)));
		for (unsigned i = 0; i < N; i++)
			vault_put(p[i]);
		if (round == 0)
			had = vault_size();
	}
	cr_expect_eq(vault_size(), had, "what was given back is used again: %zu, then %zu", had, vault_size());
	vault_put(NULL);
	cr_expect_null(vault_get(SIZE_MAX));
}

Test(vault, wiped)
{
	uint8_t *p;

	if (SANITIZED)
		cr_skip_test("under a sanitizer it is malloc's");
	p = vault_get(1000);
	memset(p, 0x5a, 1000);
	vault_put(p);
	cr_expect(is_filled(p, 1000, 0));
}

Test(vault, resized)
{
	uint8_t *p = vault_resize(NULL, 10), *q;

	cr_assert_not_null(p);
	memset(p, 7, 10);
	cr_expect_eq(vault_resize(p, 64), p);
	q = vault_resize(p, 100000);
	cr_assert_not_null(q);
	cr_expect(is_filled(q, 10, 7) && is_filled(q + 64, 100000 - 64, 0));
	if (!SANITIZED)
		cr_expect(is_filled(p, 64, 0), "what was is wiped");
	vault_put(q);
}

/* The flags of the mapping that holds p. */
static bool mapping_says(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[256], word[8];
	bool here = false, says = false;
	uintptr_t from, to;

	cr_assert_not_null(f);
	snprintf(word, sizeof(word), " %s ", flag);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2 && strchr(line, '-') < strchr(line, ' '))
			here = from <= (uintptr_t)p && (uintptr_t)p < to;
		else if (here && !strncmp(line, "VmFlags:", 8))
			says = strstr(line, word) != NULL;
	}
	fclose(f);
	return says;
}

Test(vault, neither_dumped_nor_swapped)
{
	void *small, *large;

	if (SANITIZED)
		cr_skip_test("under a sanitizer it is malloc's");
	small = vault_get(100);
	large = vault_get(300000);
	cr_expect(mapping_says(small, "dd") && mapping_says(large, "dd"));
	cr_expect(vault_unlocked() || (mapping_says(small, "lo") && mapping_says(large, "lo")));
	cr_expect_not(mapping_says(mapping_says, "dd"), "the test sees which are not");
	vault_put(small);
	vault_put(large);
}

/* Who may lock little keeps keys all the same, and is told how much is not locked. */
Test(vault, beyond_the_limit)
{
	struct rlimit none = {0, 0};

	if (SANITIZED)
		cr_skip_test("under a sanitizer it is malloc's");
	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	cr_assert_not_null(vault_get(100));
	cr_expect(vault_unlocked() == 0 || vault_unlocked() == vault_size());
}
