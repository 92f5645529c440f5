/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "frame.h"

#define ROOM 4096

static struct net_tbl *tbl;
static struct net_hop hop;

static void setup(void)
{
	tbl = net_tbl_alloc(ROOM, ROOM, ROOM);
	cr_assert_not_null(tbl);
	tbl->n_dev = 3;
	for (unsigned i = 0; i < 3; i++)
		tbl->dev[i].mac[5] = (uint8_t)(i + 1);
}

static void teardown(void)
{
	net_tbl_free(tbl);
}

TestSuite(table, .init = setup, .fini = teardown);

static struct net_route *route(const char *prefix, unsigned plen, const char *via, unsigned dev)
{
	struct net_route *r = &tbl->route[tbl->n_route++];

	*r = (struct net_route){.prefix = addr_of(prefix), .dev = (uint16_t)dev};
	r->plen = (uint8_t)(addr_is_v4(&r->prefix) ? 96 + plen : plen);
	if (via)
		r->via = addr_of(via);
	return r;
}

static void local(const char *text, unsigned plen, unsigned dev)
{
	struct net_local *l = &tbl->local[tbl->n_local++];

	*l = (struct net_local){.addr = addr_of(text), .dev = (uint16_t)dev};
	l->plen = (uint8_t)(addr_is_v4(&l->addr) ? 96 + plen : plen);
}

static void neigh(const char *text, unsigned dev, uint8_t mac)
{
	tbl->neigh[tbl->n_neigh++] =
		(struct net_neigh){.addr = addr_of(text), .dev = (uint16_t)dev, .mac = {2, [5] = mac}};
}

static int resolve(const char *dst, const char *from)
{
	struct addr d = addr_of(dst), l = {{0}};

	memset(&hop, 0xee, sizeof(hop));
	if (from)
		l = addr_of(from);
	return net_resolve(tbl, &d, from ? &l : NULL, &hop);
}

static void expect(const char *dst, const char *via, const char *src, unsigned dev)
{
	struct addr v = addr_of(via), s = addr_of(src);
	char got[ADDR_STRLEN];

	cr_assert_eq(resolve(dst, NULL), 0, "%s", dst);
	cr_assert(addr_eq(&hop.via, &v), "%s goes via %s", dst, addr_str(&hop.via, got));
	cr_assert(addr_eq(&hop.src, &s), "%s is spoken to from %s", dst, addr_str(&hop.src, got));
	cr_assert_eq(hop.dev, dev);
}

Test(table, longest_prefix)
{
	route("0.0.0.0", 0, "192.0.2.254", 0);
	route("192.0.2.0", 24, NULL, 0);
	route("10.0.0.0", 8, "192.0.2.253", 0);
	route("10.1.0.0", 16, "198.51.100.254", 1);
	route("10.1.2.3", 32, "192.0.2.7", 0);
	route("198.51.100.0", 24, NULL, 1);
	route("::", 0, "fe80::1", 0);
	route("2001:db8::", 32, "2001:db8:1::fe", 1);
	route("fe80::", 64, NULL, 0);
	local("192.0.2.1", 24, 0);
	local("198.51.100.1", 24, 1);
	local("2001:db8:1::1", 64, 1);
	local("2001:db8::1", 64, 0);
	local("fe80::99", 64, 0);
	net_tbl_sort(tbl);

	expect("8.8.8.8", "192.0.2.254", "192.0.2.1", 0);
	expect("192.0.2.9", "192.0.2.9", "192.0.2.1", 0);
	expect("10.9.9.9", "192.0.2.253", "192.0.2.1", 0);
	expect("10.1.9.9", "198.51.100.254", "198.51.100.1", 1);
	expect("10.1.2.3", "192.0.2.7", "192.0.2.1", 0);
	expect("10.1.2.2", "198.51.100.254", "198.51.100.1", 1);
	expect("2001:db8:7::7", "2001:db8:1::fe", "2001:db8:1::1", 1);
	expect("2a00::1", "fe80::1", "2001:db8::1", 0); /* not from the link-local address, though the router has one */
	expect("fe80::7", "fe80::7", "fe80::99", 0);
}

/* A port whose link is down is no way while another leads to the peer: the costlier route, or the wider one. */
Test(table, dead_port)
{
	struct net_route *r;

	for (unsigned i = 0; i < 3; i++)
		tbl->dev[i].up = true;
	route("10.0.0.0", 8, "192.0.2.254", 0);
	route("10.0.0.0", 8, "198.51.100.254", 1)->metric = 100;
	route("10.0.0.0", 8, "203.0.113.254", 2)->metric = 200;
	route("10.1.0.0", 16, "192.0.2.253", 0);
	route("0.0.0.0", 0, "203.0.113.254", 2);
	route("172.16.0.0", 12, "192.0.2.252", 0);
	r = route("172.16.0.0", 12, NULL, 0);
	r->flags = NET_ROUTE_UNREACHABLE;
	r->metric = 100;
	local("192.0.2.1", 24, 0);
	local("198.51.100.1", 24, 1);
	local("203.0.113.1", 24, 2);
	net_tbl_sort(tbl);
	expect("10.2.0.1", "192.0.2.254", "192.0.2.1", 0);
	tbl->dev[0].up = false;
	expect("10.2.0.1", "198.51.100.254", "198.51.100.1", 1);
	expect("10.1.0.1", "198.51.100.254", "198.51.100.1", 1);
	tbl->dev[1].up = false;
	expect("10.2.0.1", "203.0.113.254", "203.0.113.1", 2);
	/* None is left: the first is it, as ever. */
	tbl->dev[2].up = false;
	expect("10.2.0.1", "192.0.2.254", "192.0.2.1", 0);
	expect("10.1.0.1", "192.0.2.253", "192.0.2.1", 0);
	/* What is forbidden, or leads elsewhere, is no way round either, and hides what is behind it. */
	tbl->dev[1].up = tbl->dev[2].up = true;
	expect("172.16.0.1", "192.0.2.252", "192.0.2.1", 0);
}

Test(table, no_route)
{
	struct net_route *r;

	local("192.0.2.1", 24, 0);
	net_tbl_sort(tbl);
	cr_assert_eq(resolve("192.0.2.2", NULL), -ENETUNREACH, "an empty table");

	route("::", 0, "fe80::1", 0);
	net_tbl_sort(tbl);
	cr_assert_eq(resolve("192.0.2.2", NULL), -ENETUNREACH, "an IPv6 default route is none for IPv4");
	cr_assert_eq(resolve("2001:db8::2", NULL), -EADDRNOTAVAIL);

	route("0.0.0.0", 0, "192.0.2.254", 0);
	r = route("10.0.0.0", 8, NULL, 0);
	r->flags = NET_ROUTE_UNREACHABLE;
	net_tbl_sort(tbl);
	cr_assert_eq(resolve("10.0.0.1", NULL), -ENETUNREACH);
	cr_assert_eq(resolve("11.0.0.1", NULL), 0);
	route("12.0.0.0", 8, NULL, 1);
	net_tbl_sort(tbl);
	/* That port has no address: another's speaks for it, as the kernel has it with unnumbered interfaces. */
	expect("12.0.0.1", "12.0.0.1", "192.0.2.1", 1);
}

Test(table, metric)
{
	route("10.0.0.0", 8, "192.0.2.3", 0)->metric = 300;
	route("10.0.0.0", 8, "192.0.2.1", 0)->metric = 100;
	route("10.0.0.0", 8, "192.0.2.2", 0)->metric = 200;
	route("10.0.0.0", 9, "192.0.2.9", 0)->metric = 900;
	local("192.0.2.100", 24, 0);
	net_tbl_sort(tbl);
	expect("10.200.0.1", "192.0.2.1", "192.0.2.100", 0);
	expect("10.1.0.1", "192.0.2.9", "192.0.2.100", 0);	      /* length goes before metric */
	route("10.0.0.0", 8, NULL, 0)->flags = NET_ROUTE_UNREACHABLE; /* metric 0 */
	net_tbl_sort(tbl);
	cr_assert_eq(resolve("10.200.0.1", NULL), -ENETUNREACH);
}

Test(table, source)
{
	struct addr any4 = addr_of("0.0.0.0"), dst = addr_of("8.8.8.8"), want = addr_of("203.0.113.1");

	route("0.0.0.0", 0, "203.0.113.254", 0);
	route("9.0.0.0", 8, "203.0.113.254", 0)->src = addr_of("192.0.2.77");
	local("192.0.2.1", 24, 0);
	local("203.0.113.1", 24, 0);
	local("203.0.113.2", 24, 0);
	local("198.51.100.1", 24, 1);
	local("2001:db8::1", 64, 0);
	net_tbl_sort(tbl);

	expect("8.8.8.8", "203.0.113.254", "203.0.113.1", 0);
	expect("9.9.9.9", "203.0.113.254", "192.0.2.77", 0);
	cr_assert_eq(net_resolve(tbl, &dst, &any4, &hop), 0);
	cr_assert(addr_eq(&hop.src, &want));

	cr_assert_eq(resolve("9.9.9.9", "198.51.100.1"), 0);
	want = addr_of("198.51.100.1");
	cr_assert(addr_eq(&hop.src, &want), "an address in use is kept, on whatever port it is");
	cr_assert_eq(resolve("9.9.9.9", "198.51.100.9"), 0);
	want = addr_of("192.0.2.77");
	cr_assert(addr_eq(&hop.src, &want), "one that is gone is not");
	cr_assert_eq(resolve("9.9.9.9", "2001:db8::1"), 0);
	cr_assert(addr_eq(&hop.src, &want), "nor one of the other family");
}

static int resolve_in(unsigned zone, const char *dst, const char *from)
{
	struct addr d = addr_of(dst), l = {{0}};

	memset(&hop, 0xee, sizeof(hop));
	if (from)
		l = addr_of(from);
	return net_resolve_in(tbl, zone, &d, from ? &l : NULL, 0, &hop);
}

/* A link-local neighbour is on the link that the zone says; everything else goes as without one. */
Test(table, zone)
{
	const struct addr peer = addr_of("fe80::5"), router = addr_of("fe80::fe"), ours = addr_of("fe80::1"),
			  second = addr_of("fe80::2"), far = addr_of("2001:db8::1");

	route("fe80::", 64, NULL, 0);
	route("fe80::", 64, NULL, 1);
	route("::", 0, "fe80::fe", 1);
	local("fe80::1", 64, 0);
	local("fe80::2", 64, 1);
	local("2001:db8::1", 64, 1);
	neigh("fe80::5", 0, 5);
	neigh("fe80::5", 1, 6);
	net_tbl_sort(tbl);
	for (unsigned zone = 1; zone <= 2; zone++) {
		cr_assert_eq(resolve_in(zone, "fe80::5", NULL), 0);
		cr_expect_eq(hop.dev, zone - 1);
		cr_expect(addr_eq(&hop.via, &peer));
		cr_expect(addr_eq(&hop.src, zone == 1 ? &ours : &second));
		cr_expect(hop.resolved && hop.mac[5] == 4 + zone);
	}
	cr_assert_eq(resolve_in(1, "fe80::5", "fe80::2"), 0);
	cr_expect(addr_eq(&hop.src, &second), "the address in use");
	cr_assert_eq(resolve_in(2, "fe80::5", "fe80::77"), 0);
	cr_expect(addr_eq(&hop.src, &second), "one that is gone");
	cr_assert_eq(resolve_in(1, "2001:db8:9::1", NULL), 0);
	cr_expect_eq(hop.dev, 1);
	cr_expect(addr_eq(&hop.via, &router) && addr_eq(&hop.src, &far));
	cr_assert_eq(resolve_in(3, "fe80::5", NULL), -EADDRNOTAVAIL);
	cr_assert_eq(resolve_in(4, "fe80::5", NULL), -ENETUNREACH);
}

Test(table, neighbours)
{
	static const uint8_t one[6] = {2, [5] = 1}, two[6] = {2, [5] = 2}, none[6];

	route("192.0.2.0", 24, NULL, 0);
	route("198.51.100.0", 24, "192.0.2.7", 1);
	local("192.0.2.1", 24, 0);
	local("192.0.2.1", 24, 1);
	neigh("192.0.2.9", 0, 9);
	neigh("192.0.2.7", 1, 2);
	neigh("192.0.2.7", 0, 1);
	neigh("192.0.2.5", 2, 5);
	net_tbl_sort(tbl);

	cr_assert_eq(resolve("192.0.2.7", NULL), 0);
	cr_assert(hop.resolved && memcmp(hop.mac, one, 6) == 0);
	cr_assert_eq(resolve("198.51.100.3", NULL), 0);
	cr_assert(hop.resolved && memcmp(hop.mac, two, 6) == 0, "the same next hop on another port");
	cr_assert_eq(resolve("192.0.2.5", NULL), 0);
	cr_assert(!hop.resolved && memcmp(hop.mac, none, 6) == 0, "known on another port only");
}

/* IPv4 by an IPv6 next hop (RFC 5549). */
Test(table, next_hop_of_the_other_family)
{
	route("0.0.0.0", 0, "fe80::1", 0);
	local("192.0.2.1", 32, 0);
	neigh("fe80::1", 0, 1);
	net_tbl_sort(tbl);
	expect("8.8.8.8", "fe80::1", "192.0.2.1", 0);
	cr_assert(hop.resolved);
}

Test(table, loopback_needs_no_route_nor_neighbour)
{
	static const uint8_t none[6];

	memset(tbl->dev[2].mac, 0, 6);
	local("127.0.0.1", 8, 2);
	local("::1", 128, 2);
	local("192.0.2.1", 24, 0);
	route("0.0.0.0", 0, NULL, 0)->flags = NET_ROUTE_UNREACHABLE;
	net_tbl_sort(tbl);
	expect("127.0.0.1", "127.0.0.1", "127.0.0.1", 2);
	cr_assert(hop.resolved && memcmp(hop.mac, none, 6) == 0);
	expect("127.4.5.6", "127.4.5.6", "127.0.0.1", 2);
	expect("::1", "::1", "::1", 2);
	cr_assert(hop.resolved);
	cr_assert_eq(resolve("192.0.2.2", NULL), -ENETUNREACH);
}

Test(table, is_local)
{
	uint64_t seed = 7;
	struct addr a;

	for (unsigned n = 0; n < 300; n++) {
		tbl->n_local = n;
		for (unsigned i = 0; i < n; i++)
			tbl->local[i] =
				(struct net_local){.addr = addr_v4(2 * (uint32_t)(rnd(&seed) % (n * 2))), .plen = 128};
		net_tbl_sort(tbl);
		for (unsigned v = 0; v < 4 * n + 2; v++) {
			bool want = false;

			a = addr_v4(v);
			for (unsigned i = 0; i < n; i++)
				want |= addr_eq(&tbl->local[i].addr, &a);
			cr_assert_eq(net_is_local(tbl, &a), want);
		}
	}
}

static bool bits_equal(const struct addr *a, const struct addr *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if ((a->b[i / 8] ^ b->b[i / 8]) >> (7 - i % 8) & 1)
			return false;
	}
	return true;
}

/* The plain reference: look at every route, bit by bit. */
static const struct net_route *ref_lookup(const struct addr *dst)
{
	const struct net_route *best = NULL;

	for (unsigned i = 0; i < tbl->n_route; i++) {
		const struct net_route *r = &tbl->route[i];

		if (!bits_equal(&r->prefix, dst, r->plen) || (addr_is_v4(dst) && r->plen < 96))
			continue;
		if (!best || r->plen > best->plen || (r->plen == best->plen && r->metric < best->metric))
			best = r;
	}
	return best;
}

/* Addresses out of few bits, so that prefixes meet. */
static struct addr small_addr(uint64_t *seed)
{
	struct addr a = {{0x20, 1}};
	uint64_t r = rnd(seed);

	if (r & 1)
		a = addr_v4(0);
	a.b[12] = (uint8_t)((r >> 8) & 3);
	a.b[13] = (uint8_t)(r >> 16);
	a.b[14] = (uint8_t)((r >> 24) & 0x81);
	a.b[15] = (uint8_t)((r >> 32) & 7);
	return a;
}

Test(table, random_tables_against_the_plain_scan)
{
	uint64_t seed = 8;
	unsigned hits = 0;

	local("192.0.2.1", 24, 0);
	local("2001:db8::1", 64, 0);
	for (unsigned round = 0; round < 60; round++) {
		unsigned n = (unsigned)(rnd(&seed) % 400);

		tbl->n_route = n;
		for (unsigned i = 0; i < n; i++) {
			struct net_route *r = &tbl->route[i];

			*r = (struct net_route){.prefix = small_addr(&seed), .metric = i}; /* host bits and all */
			r->plen = (uint8_t)(i % 64		     ? 128 - rnd(&seed) % 17
					    : addr_is_v4(&r->prefix) ? 96 + i / 64
								     : i / 8);
			r->via = addr_v4(0x0a000000 + i);
		}
		net_tbl_sort(tbl);
		for (unsigned i = 0; i < 1000; i++) {
			struct addr dst = small_addr(&seed);
			const struct net_route *want = ref_lookup(&dst);
			int rc = net_resolve(tbl, &dst, NULL, &hop);

			cr_assert_eq(rc, want ? 0 : -ENETUNREACH);
			if (want)
				cr_assert(addr_eq(&hop.via, &want->via));
			hits += !rc;
		}
	}
	cr_assert(hits > 1000 && hits < 59000, "%u: both outcomes are met", hits);
}

/* A full table finds each of its own prefixes and neighbours. */
Test(table, big)
{
	for (unsigned i = 0; i < ROOM; i++) {
		tbl->route[i] = (struct net_route){
			.prefix = addr_v4(i * 2654435761u & ~0xffu), .plen = 120, .via = addr_v4(i + 1)};
		tbl->neigh[i] = (struct net_neigh){.addr = addr_v4(i + 1), .mac = {(uint8_t)i, (uint8_t)(i >> 8)}};
	}
	tbl->n_route = tbl->n_neigh = ROOM;
	local("192.0.2.1", 24, 0);
	net_tbl_sort(tbl);
	for (unsigned i = 0; i < ROOM; i++) {
		struct addr dst = addr_v4((i * 2654435761u & ~0xffu) + 5);

		cr_assert_eq(net_resolve(tbl, &dst, NULL, &hop), 0);
		cr_assert(hop.resolved);
		cr_assert_eq(hop.mac[0] + (hop.mac[1] << 8) + 1, hop.via.b[14] * 256 + hop.via.b[15]);
	}
}

/* A port of the kernel's sockets is the way to all that no other is, and goes on with what has begun there. */
Test(table, sockets)
{
	tbl->n_dev = 2;
	tbl->dev[0] = (struct net_dev){.mac = {2, 1}, .up = true};
	tbl->dev[1] = (struct net_dev){.up = true, .sockets = true};
	route("203.0.113.0", 24, "192.0.2.254", 0);
	route("198.18.0.0", 15, NULL, 0)->flags = NET_ROUTE_UNREACHABLE;
	local("192.0.2.1", 24, 0);
	net_tbl_sort(tbl);

	expect("203.0.113.7", "192.0.2.254", "192.0.2.1", 0);
	expect("8.8.8.8", "8.8.8.8", "0.0.0.0", 1);
	cr_assert(hop.resolved, "the kernel knows the next hop");
	expect("198.18.0.1", "198.18.0.1", "0.0.0.0", 1);
	expect("2001:db8::1", "2001:db8::1", "::", 1);
	cr_assert(hop.resolved);

	cr_assert_eq(resolve("203.0.113.7", "192.0.2.1"), 0);
	cr_assert_eq(hop.dev, 0, "an address of the other port");
	cr_assert_eq(resolve("203.0.113.7", "10.0.0.1"), 0);
	cr_assert_eq(hop.dev, 1, "an address of the kernel's");
	cr_assert_eq(resolve("203.0.113.7", "0.0.0.0"), 0);
	cr_assert_eq(hop.dev, 1, "the kernel picks it");
	cr_assert_not(net_is_local(tbl, &(struct addr){{0}}));
}
