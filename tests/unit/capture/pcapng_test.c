/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "pcapng.h"

static uint8_t buf[512];

static void is(size_t n, const void *want, size_t want_n)
{
	cr_assert_eq(n, want_n, "%zu bytes, not %zu", n, want_n);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(buf[i], ((const uint8_t *)want)[i], "byte %zu: %02x, not %02x", i, buf[i],
			     ((const uint8_t *)want)[i]);
}

/* Little-endian, as the machines are that this is tested on: the bytes of the format's description. */
Test(pcapng, section)
{
	static const uint8_t want[] = {
		0x0a, 0x0d, 0x0d, 0x0a, 44,   0,    0,	  0,		      /* type, length */
		0x4d, 0x3c, 0x2b, 0x1a, 1,    0,    0,	  0,		      /* byte order, version */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,		      /* section length */
		4,    0,    5,	  0,	'a',  'p',  'p',  ' ',	'1', 0, 0, 0, /* application */
		0,    0,    0,	  0,	44,   0,    0,	  0,
	};

	is(pcapng_section(buf, sizeof(buf), "app 1"), want, sizeof(want));
}

Test(pcapng, iface)
{
	static const uint8_t want[] = {
		1, 0, 0, 0, 52,	 0,   0,   0,	1,   0,	  0, 0, 96, 0, 0, 0,		 /* Ethernet, snaplen 96 */
		2, 0, 4, 0, 'w', 'a', 'n', '0',						 /* name */
		3, 0, 6, 0, 'f', 'r', 'a', 'm', 'e', 's', 0, 0, 9,  0, 1, 0, 9, 0, 0, 0, /* ns */
		0, 0, 0, 0, 52,	 0,   0,   0,
	};

	is(pcapng_iface(buf, sizeof(buf), "wan0", "frames", 96), want, sizeof(want));
}

Test(pcapng, packet)
{
	static const uint8_t want[] = {
		6,    0,    0,	  0,	60,   0,    0,	  0,	3, 0, 0, 0, /* interface */
		0x04, 0x03, 0x02, 0x01, 0x08, 0x07, 0x06, 0x05,		    /* time, the higher half first */
		5,    0,    0,	  0,	90,   0,    0,	  0,		    /* bytes here, and in all */
		1,    2,    3,	  4,	5,    0,    0,	  0,	1, 0, 2, 0, 'h', 'i', 0, 0, /* comment */
		2,    0,    4,	  0,	2,    0,    0,	  0,				    /* outbound */
		0,    0,    0,	  0,	60,   0,    0,	  0,
	};
	struct pcapng_pkt k = {
		.iface = 3,
		.ns = 0x0102030405060708,
		.p = (const uint8_t *)"\1\2\3\4\5",
		.n = 5,
		.whole = 90,
		.out = true,
		.comment = "hi",
	};

	is(pcapng_packet(buf, sizeof(buf), &k), want, sizeof(want));
	k.out = false;
	pcapng_packet(buf, sizeof(buf), &k);
	cr_expect_eq(buf[48], 1, "inbound");
	k.comment = NULL;
	cr_expect_eq(pcapng_packet(buf, sizeof(buf), &k), 52);
}

Test(pcapng, stats)
{
	static const uint8_t want[] = {
		5, 0, 0, 0, 52, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
		9, 0, 0, 0, 4,	0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, /* taken */
		5, 0, 8, 0, 2,	0, 0, 0, 0, 0, 0, 0,		 /* lost */
		0, 0, 0, 0, 52, 0, 0, 0,
	};

	is(pcapng_stats(buf, sizeof(buf), 1, 9, 7, 2), want, sizeof(want));
}

/* A block is written whole or not at all, and never behind its room. */
Test(pcapng, room)
{
	struct pcapng_pkt k = {.p = (const uint8_t *)"123456789", .n = 9, .whole = 9, .comment = "abc"};
	size_t full = pcapng_packet(buf, sizeof(buf), &k);

	cr_assert_leq(full, 9 + 3 + PCAPNG_PACKET_MORE);
	for (size_t room = 0; room < full; room++) {
		memset(buf, 0xee, sizeof(buf));
		cr_assert_eq(pcapng_packet(buf, room, &k), 0, "room %zu", room);
		for (size_t i = room; i < sizeof(buf); i++)
			cr_assert_eq(buf[i], 0xee, "byte %zu of %zu", i, room);
	}
	cr_assert_eq(pcapng_packet(buf, full, &k), full);
}
