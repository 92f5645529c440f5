/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "capture.h"

#define RING 4096

static const char *const ports[] = {"wan0", "wan1"};
static const char *const tunnels[] = {"a", "b"};
static const struct capture_names names = {.port = ports, .n_ports = 2, .tunnel = tunnels};
static const struct capture_clock at = {.tsc = 1000000, .ns = 5000000000, .hz = 1000000000};

static struct capture_want all = {.tunnel = -1, .any_peer = true, .snaplen = CAPTURE_LONGEST};
static struct flow_key key;
static struct capture *cap;
static uint8_t block[CAPTURE_BLOCK];

static void up(void)
{
	addr_parse("192.0.2.9", &key.peer);
	addr_parse("198.51.100.1", &key.local);
	key.peer_port = 4321;
	key.local_port = 4000;
}

static void down(void)
{
	capture_destroy(cap);
	cap = NULL;
}

TestSuite(capture, .init = up, .fini = down);

static void make(const struct capture_want *w, unsigned workers)
{
	cr_assert_eq(capture_create(&cap, w, &names, workers, RING), 0);
}

static uint32_t u32(unsigned off)
{
	uint32_t v;

	memcpy(&v, block + off, 4);
	return v;
}

static uint64_t ns(void)
{
	return (uint64_t)u32(12) << 32 | u32(16);
}

/* The next packet; the length of its block. */
static size_t next(void)
{
	return capture_block(cap, &at, block, sizeof(block));
}

#define DATA (block + 28)

Test(capture, whose)
{
	struct capture_want w = all;
	struct capture_of of = {.key = &key, .session = 7, .tunnel = 1};
	struct flow_key other = key;

	make(&w, 1);
	cr_expect(capture_wants(cap, &of));
	down();
	w.tunnel = 0;
	make(&w, 1);
	cr_expect_not(capture_wants(cap, &of), "another tunnel's");
	down();
	w.tunnel = 1;
	w.n_sessions = 2;
	w.session[0] = 5;
	w.session[1] = 7;
	make(&w, 1);
	cr_expect(capture_wants(cap, &of));
	of.session = 6;
	cr_expect_not(capture_wants(cap, &of), "another session's");
	of.session = 0;
	cr_expect_not(capture_wants(cap, &of), "nobody's");
	down();
	w.n_sessions = 0;
	w.any_peer = false;
	w.peer = key.peer;
	w.peer_port = 4321;
	make(&w, 1);
	cr_expect(capture_wants(cap, &of));
	of.key = &other;
	other.peer_port++;
	cr_expect_not(capture_wants(cap, &of), "another port");
	other = key;
	other.peer.b[15]++;
	cr_expect_not(capture_wants(cap, &of), "another address");
}

Test(capture, frames)
{
	struct capture_of of = {.key = &key, .session = 7, .tunnel = 1, .port = 1, .tsc = at.tsc - 3000};
	struct capture_want w = all;

	w.snaplen = 20;
	make(&w, 1);
	cr_expect_eq(next(), 0);
	capture_put(cap, 0, &of, (const uint8_t *)"twenty bytes and some more", 26);
	cr_assert_gt(next(), 0);
	cr_expect_eq(u32(8), 1, "interface");
	cr_expect_eq(ns(), at.ns - 3000);
	cr_expect_eq(u32(20), 20);
	cr_expect_eq(u32(24), 26);
	cr_expect_eq(memcmp(DATA, "twenty bytes and som", 20), 0);
	cr_expect_not_null(memmem(block, u32(4), "tunnel b, session 7", 19));
	of.session = 0;
	of.tsc = at.tsc + 500; /* another CPU's clock */
	capture_put(cap, 0, &of, (const uint8_t *)"x", 1);
	next();
	cr_expect_eq(ns(), at.ns + 500);
	cr_expect_null(memmem(block, u32(4), "session", 7));
	cr_expect_eq(capture_taken(cap), 2);
}

/* A tag that was taken off is where it was. */
Test(capture, tag)
{
	struct capture_of of = {.key = &key, .tag = 0x6064, .tagged = true};

	make(&all, 1);
	capture_put(cap, 0, &of, (const uint8_t *)"DDDDDDSSSSSS\x08\x00rest", 18);
	next();
	cr_expect_eq(u32(20), 22);
	cr_expect_eq(u32(24), 22);
	cr_expect_eq(memcmp(DATA, "DDDDDDSSSSSS\x81\x00\x60\x64\x08\x00rest", 22), 0);
}

/* What two workers have taken comes in order of time. */
Test(capture, order)
{
	static const unsigned when[2][3] = {{10, 40, 50}, {20, 30, 60}};
	struct capture_of of = {.key = &key};

	make(&all, 2);
	for (unsigned w = 0; w < 2; w++)
		for (unsigned i = 0; i < 3; i++) {
			uint8_t c = (uint8_t)when[w][i];

			of.tsc = when[w][i];
			capture_put(cap, w, &of, &c, 1);
		}
	for (unsigned i = 1; i <= 6; i++) {
		cr_assert_gt(next(), 0);
		cr_expect_eq(DATA[0], 10 * i);
	}
	cr_expect_eq(next(), 0);
}

/* A full ring costs packets, which are counted, and none that it has taken; over its end they are whole. */
Test(capture, full)
{
	struct capture_of of = {.key = &key, .port = 1};
	uint8_t p[600];
	unsigned put = 0, got = 0;

	make(&all, 1);
	for (unsigned round = 0; round < 200; round++) {
		unsigned n = 1 + (round * 37) % sizeof(p), want;

		memset(p, (int)n, n);
		capture_put(cap, 0, &of, p, n);
		put++;
		if (round % 3) /* it is read too slowly */
			continue;
		cr_assert_gt(next(), 0);
		got++;
		want = u32(20);
		for (unsigned i = 0; i < want; i++)
			cr_assert_eq(DATA[i], (uint8_t)want, "byte %u of %u", i, want);
	}
	while (next())
		got++;
	cr_expect_gt(capture_lost(cap), 50);
	cr_expect_eq(capture_taken(cap), got);
	cr_expect_eq(got + capture_lost(cap), put);
}

static const uint8_t *option(const uint8_t *p, unsigned code)
{
	for (; p[0] != code; p += 4 + p[2])
		cr_assert_neq(p[0], 0);
	return p + 4;
}

/* The file's head names the interfaces in the order of their numbers, and its end tells what each has lost. */
Test(capture, head_and_tail)
{
	struct capture_of of = {.key = &key, .port = 1, .plain = true};
	struct capture_want w = all;
	uint8_t big[3000] = {0};
	const uint8_t *name[4], *p = block;
	size_t n;

	w.plain = true;
	make(&w, 1);
	n = capture_head(cap, block, sizeof(block), "app");
	for (unsigned i = 0; i < 4; i++) {
		p = memmem(p, n - (size_t)(p - block), "wan", 3);
		cr_assert_not_null(p);
		name[i] = p++;
	}
	cr_expect_eq(memcmp(name[0], "wan0\0", 5) & memcmp(name[1], "wan0 decrypted", 14), 0);
	cr_expect_eq(memcmp(name[2], "wan1", 4), 0);
	cr_expect_eq(memcmp(name[3], "wan1 decrypted", 14), 0);
	cr_expect_eq(capture_head(cap, block, 100, "app"), 0, "no room");
	capture_put(cap, 0, &of, big, sizeof(big));
	capture_put(cap, 0, &of, big, sizeof(big));
	next();
	cr_expect_eq(u32(8), 3, "interface");
	n = capture_tail(cap, &at, block, sizeof(block));
	cr_assert_eq(n, 4 * 52);
	for (unsigned i = 0; i < 4; i++) {
		p = block + 52 * i + 20;
		cr_expect_eq(option(p, 4)[0], i == 3, "taken of %u", i);
		cr_expect_eq(option(p, 5)[0], i == 3, "lost of %u", i);
	}
}

/* A payload comes as the datagram that it would be, whichever way it went. */
static void dressed(const char *peer, const char *local, bool out, unsigned heads)
{
	struct capture_of of = {.key = &key, .plain = true, .out = out};
	struct capture_want w = all;
	uint8_t payload[300];
	const uint8_t *udp;

	addr_parse(peer, &key.peer);
	addr_parse(local, &key.local);
	key.proto = FLOW_TCP; /* what is in fake TCP is a datagram too */
	w.plain = true;
	w.snaplen = 200;
	make(&w, 1);
	memset(payload, 'p', sizeof(payload));
	capture_put(cap, 0, &of, payload, sizeof(payload));
	cr_assert_gt(next(), 0);
	cr_expect_eq(u32(20), heads + 200);
	cr_expect_eq(u32(24), heads + 300);
	udp = DATA + heads - 8;
	cr_expect_eq(udp[0] << 8 | udp[1], out ? 4000 : 4321);
	cr_expect_eq(udp[2] << 8 | udp[3], out ? 4321 : 4000);
	cr_expect_eq(udp[4] << 8 | udp[5], 308);
	for (unsigned i = 0; i < 200; i++)
		cr_assert_eq(udp[8 + i], 'p');
	down();
}

Test(capture, payloads)
{
	dressed("192.0.2.9", "198.51.100.1", false, 42);
	dressed("192.0.2.9", "198.51.100.1", true, 42);
	dressed("2001:db8::9", "2001:db8::1", false, 62);
	dressed("2001:db8::9", "2001:db8::1", true, 62);
}

/* The longest that there can be fits its block. */
Test(capture, longest)
{
	static uint8_t big[CAPTURE_LONGEST];
	struct capture_of of = {.key = &key, .plain = true, .session = UINT64_MAX};
	struct capture_want w = all;

	w.plain = true;
	cr_assert_eq(capture_create(&cap, &w, &names, 1, 1 << 18), 0);
	capture_put(cap, 0, &of, big, sizeof(big));
	cr_expect_gt(next(), 65000);
	of.plain = false;
	of.tagged = true;
	capture_put(cap, 0, &of, big, sizeof(big));
	cr_expect_gt(next(), 65000);
}
