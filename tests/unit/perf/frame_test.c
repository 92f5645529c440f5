/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "frame.h"

/* What the emulator does to frames: ports and bits, and nothing beside them. */

TestSuite(perf_frame);

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t sum16(const uint8_t *p, uint32_t n)
{
	uint32_t s = 0;

	for (uint32_t i = 0; i + 1 < n; i += 2)
		s += be16(p + i);
	return s + (n & 1 ? (uint32_t)p[n - 1] << 8 : 0);
}

/* Of a UDP datagram with its addresses: 0xffff when it is right. */
static uint16_t udp_sum(const uint8_t *f, bool six)
{
	const uint8_t *udp = f + 14 + (six ? 40 : 20);
	uint32_t n = be16(udp + 4), s = 17 + n + sum16(f + 14 + (six ? 8 : 12), six ? 32 : 8) + sum16(udp, n);

	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

/* A UDP frame from port 3000 to 4000 with n bytes; how long it is. */
static uint32_t make(uint8_t *f, bool six, uint32_t n)
{
	uint32_t at = 14 + (six ? 40 : 20);
	uint16_t check;

	memset(f, 0, at + 8);
	f[12] = six ? 0x86 : 8;
	f[13] = six ? 0xdd : 0;
	f[14] = six ? 0x60 : 0x45;
	f[14 + (six ? 6 : 9)] = 17;
	for (unsigned i = 0; i < (six ? 32u : 8u); i++)
		f[14 + (six ? 8 : 12) + i] = (uint8_t)(10 + 7 * i);
	f[at] = 3000 >> 8;
	f[at + 1] = 3000 & 255;
	f[at + 2] = 4000 >> 8;
	f[at + 3] = 4000 & 255;
	f[at + 4] = (uint8_t)((8 + n) >> 8);
	f[at + 5] = (uint8_t)(8 + n);
	for (uint32_t i = 0; i < n; i++)
		f[at + 8 + i] = (uint8_t)(i * 31 + n);
	check = (uint16_t)~udp_sum(f, six);
	f[at + 6] = (uint8_t)(check >> 8);
	f[at + 7] = (uint8_t)check;
	return at + 8 + n;
}

Test(perf_frame, nat)
{
	for (int six = 0; six < 2; six++) {
		for (uint32_t n = 0; n < 300; n++) {
			uint8_t f[400], was[400];
			uint32_t len = make(f, six, n), at = 14 + (six ? 40 : 20);

			memcpy(was, f, len);
			frame_nat(f, len, true, (uint16_t)(1 + n * 211));
			cr_assert_eq(be16(f + at), 3000 ^ (uint16_t)(1 + n * 211));
			cr_assert_eq(be16(f + at + 2), 4000);
			cr_assert_eq(udp_sum(f, six), 0xffff, "%d, %u", six, n);
			frame_nat(f, len, true, (uint16_t)(1 + n * 211));
			cr_assert_eq(memcmp(f, was, len), 0, "twice is not at all");
			frame_nat(f, len, false, 5);
			cr_assert_eq(be16(f + at + 2), 4000 ^ 5);
			cr_assert_eq(be16(f + at), 3000);
			cr_assert_eq(udp_sum(f, six), 0xffff);
		}
	}
}

/* No checksum stays none; what is no UDP, or a later fragment of it, or cut short, is left alone. */
Test(perf_frame, nat_leaves_alone)
{
	uint8_t f[400], was[400];
	uint32_t len = make(f, false, 100);

	f[40] = f[41] = 0;
	frame_nat(f, len, true, 5);
	cr_assert_eq(be16(f + 34), 3000 ^ 5);
	cr_assert_eq(be16(f + 40), 0);
	for (unsigned k = 0; k < 4; k++) {
		len = make(f, false, 100);
		if (k == 0)
			f[23] = 6;
		else if (k == 1)
			f[21] = 1;
		else if (k == 2)
			f[12] = 9;
		else
			len = 41;
		memcpy(was, f, sizeof(f));
		frame_nat(f, len, true, 5);
		cr_assert_not(frame_spoil(f, len, 12345));
		cr_assert_eq(memcmp(f, was, sizeof(f)), 0, "%u", k);
	}
}

Test(perf_frame, spoil)
{
	for (uint64_t dice = 0; dice < 100000; dice += 37) {
		uint8_t f[400], was[400];
		uint32_t len = make(f, dice & 1, 1 + (uint32_t)dice % 200), bits = 0;

		memcpy(was, f, len);
		cr_assert(frame_spoil(f, len, dice));
		for (uint32_t i = 0; i < len; i++)
			bits += (uint32_t)__builtin_popcount(f[i] ^ was[i]);
		cr_assert_eq(bits, 1);
		cr_assert_eq(memcmp(f, was, 14 + (dice & 1 ? 40 : 20) + 8), 0);
	}
	cr_assert_not(frame_spoil((uint8_t[64]){0}, 64, 1));
}

Test(perf_frame, link)
{
	uint8_t f[400];

	make(f, false, 20);
	cr_assert_not(frame_is_link(f, 62));
	f[12] = 8;
	f[13] = 6;
	cr_assert(frame_is_link(f, 42));
	cr_assert_not(frame_is_link(f, 13));
	make(f, true, 20);
	cr_assert_not(frame_is_link(f, 82));
	f[20] = 58;
	f[54] = 135;
	cr_assert(frame_is_link(f, 82));
	f[54] = 128;
	cr_assert_not(frame_is_link(f, 82), "an echo is weather's");
}
