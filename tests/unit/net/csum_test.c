/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frame.h"
#include "le.h"

#define MAX_N 1600

static uint16_t big(uint16_t as_in_memory)
{
	return be16_get(&as_in_memory);
}

/* Every length and every start within a cache line's worth of alignments, against the bytewise sum. */
Test(csum, every_length_and_alignment)
{
	uint64_t seed = 1;
	uint8_t *area = malloc(MAX_N + 64);

	for (unsigned i = 0; i < MAX_N + 64; i++)
		area[i] = (uint8_t)rnd(&seed);
	for (unsigned n = 0; n <= MAX_N; n++) {
		const uint8_t *p = area + n % 37;

		cr_assert_eq(big(net_sum_fold(net_sum(p, n, 0))), ref_csum(p, n), "n %u", n);
	}
	for (unsigned at = 0; at < 64; at++) {
		for (unsigned n = 0; n <= 200; n++)
			cr_assert_eq(big(net_sum_fold(net_sum(area + at, n, 0))), ref_csum(area + at, n), "at %u n %u",
				     at, n);
	}
	free(area);
}

/* n bytes that end where nothing can be read any more, or begin where it could not before. */
static void in_a_corner(uint8_t *page, size_t size, unsigned n)
{
	cr_assert_eq(big(net_sum_fold(net_sum(page + size - n, n, 0))), ref_csum(page + size - n, n), "n %u", n);
	cr_assert_eq(big(net_sum_fold(net_sum(page, n, 0))), ref_csum(page, n), "n %u", n);
}

/* Pages on both sides that a byte read beyond would hit; and with a heap block of that size a sanitizer sees it too. */
Test(csum, reads_nothing_beyond)
{
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *area = mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *page = area + size;

	cr_assert_neq(area, MAP_FAILED);
	cr_assert_eq(mprotect(page, size, PROT_READ | PROT_WRITE), 0);
	memset(page, 0xa5, size);
	for (unsigned n = 0; n <= 400; n++) {
		uint8_t *p = malloc(n ? n : 1);

		memset(p, 0xa5, n);
		cr_assert_eq(big(net_sum_fold(net_sum(p, n, 0))), ref_csum(p, n));
		free(p);
		in_a_corner(page, size, n);
	}
	munmap(area, 3 * size);
	cr_assert_eq(net_sum(area, 0, 77), 77);
	cr_assert_eq(net_sum(NULL, 0, 77), 77);
}

/* All ones is where carries are lost, all zeroes where one appears from nowhere. */
Test(csum, extremes)
{
	static uint8_t p[65536];

	cr_assert_eq(net_sum_fold(net_sum(p, sizeof(p), 0)), 0xffff);
	memset(p, 0xff, sizeof(p));
	for (unsigned n = 2; n <= sizeof(p); n = n * 3 / 2 + 1)
		cr_assert_eq(big(net_sum_fold(net_sum(p, n, 0))), ref_csum(p, n), "n %u", n);
	cr_assert_eq(net_sum_fold(0), 0xffff);
	cr_assert_eq(net_sum_fold(0xffff), 0);
	cr_assert_eq(net_sum_fold(0x10000), 0xfffe);
	cr_assert_eq(net_sum_fold(UINT64_MAX), 0);
	cr_assert_eq(net_sum_fold(0xffffffff00000000), 0);
	cr_assert_eq(net_sum_fold(0x1ffffffff), 0xfffe);
}

Test(csum, in_pieces)
{
	uint64_t seed = 2;
	uint8_t p[MAX_N];

	for (unsigned i = 0; i < MAX_N; i++)
		p[i] = (uint8_t)rnd(&seed);
	for (unsigned round = 0; round < 2000; round++) {
		unsigned n = (unsigned)(rnd(&seed) % MAX_N), a = (unsigned)(rnd(&seed) % (n + 1)) & ~1u;
		uint64_t sum = net_sum(p + a, n - a, net_sum(p, a, 0));

		cr_assert_eq(big(net_sum_fold(sum)), ref_csum(p, n), "n %u a %u", n, a);
	}
}

/* The header of RFC 1071's companion examples: a real IPv4 header whose checksum is known to be b861. */
Test(csum, known_header)
{
	static const uint8_t ip[20] = {0x45, 0, 0,   0x73, 0, 0, 0x40, 0,   0x40, 0x11,
				       0,    0, 192, 168,  0, 1, 192,  168, 0,	  199};

	cr_assert_eq(big(net_sum_fold(net_sum(ip, sizeof(ip), 0))), 0xb861);
}
