/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "acl.h"

/* Who may come: the longest prefix decides (acl.c). */

static struct net_acl_rule rule(const char *text, unsigned plen, bool allow)
{
	struct net_acl_rule r = {.allow = allow};

	cr_assert_eq(addr_parse(text, &r.prefix), 0);
	r.plen = (uint8_t)(plen + (addr_is_v4(&r.prefix) ? 96 : 0));
	return r;
}

static bool lets(const struct net_acl *a, const char *text)
{
	struct addr from;

	cr_assert_eq(addr_parse(text, &from), 0);
	return net_acl_allows(a, &from);
}

Test(net_acl, the_longest_decides)
{
	const struct net_acl_rule v[] = {
		rule("192.0.2.64", 26, false), rule("192.0.2.0", 24, true),	rule("192.0.2.100", 32, true),
		rule("2001:db8::", 32, true),  rule("2001:db8:f::", 48, false), rule("255.255.255.0", 24, true),
	};
	struct net_acl *a;

	cr_assert_eq(net_acl_create(&a, v, 6, false), 0);
	cr_expect(lets(a, "192.0.2.0") && lets(a, "192.0.2.63") && lets(a, "192.0.2.128") && lets(a, "192.0.2.255"));
	cr_expect(!lets(a, "192.0.1.255") && !lets(a, "192.0.3.0") && !lets(a, "0.0.0.0"));
	cr_expect(!lets(a, "192.0.2.64") && !lets(a, "192.0.2.99") && !lets(a, "192.0.2.101") &&
		  !lets(a, "192.0.2.127"));
	cr_expect(lets(a, "192.0.2.100"));
	cr_expect(lets(a, "2001:db8::") && lets(a, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
	cr_expect(!lets(a, "2001:db8:f::1") && lets(a, "2001:db8:10::"));
	cr_expect(!lets(a, "2001:db9::") && !lets(a, "::") && !lets(a, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
	cr_expect(lets(a, "255.255.255.255") && !lets(a, "::1:0:0:0"));
	net_acl_destroy(a);
}

Test(net_acl, everything_and_nothing)
{
	const struct net_acl_rule all[] = {rule("::", 0, false), rule("0.0.0.0", 0, true),
					   rule("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, true)};
	struct net_acl *a;

	cr_assert_eq(net_acl_create(&a, NULL, 0, true), 0);
	cr_expect(lets(a, "::") && lets(a, "10.0.0.1") && lets(a, "ffff::1"));
	net_acl_destroy(a);
	cr_assert_eq(net_acl_create(&a, all, 3, true), 0);
	cr_expect(lets(a, "0.0.0.0") && lets(a, "255.255.255.255") && !lets(a, "::1") && !lets(a, "2001:db8::1"));
	cr_expect(!lets(a, "::fffe:ffff:ffff") && !lets(a, "::1:0:0:0"));
	cr_expect(lets(a, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
	cr_expect(!lets(a, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"));
	net_acl_destroy(a);
}

/* By looking at every rule. */
static bool plainly(const struct net_acl_rule *v, unsigned n, bool otherwise, const struct addr *from)
{
	int best = -1;

	for (unsigned i = 0; i < n; i++) {
		unsigned bit = 0;

		while (bit < v[i].plen && !((from->b[bit / 8] ^ v[i].prefix.b[bit / 8]) & (0x80 >> bit % 8)))
			bit++;
		if (bit == v[i].plen && v[i].plen > best) {
			best = v[i].plen;
			otherwise = v[i].allow;
		}
	}
	return otherwise;
}

/* Few values a byte, so that prefixes hold each other, and addresses lie at their edges. */
static void random_addr(struct addr *a, unsigned *seed)
{
	static const uint8_t some[] = {0, 1, 0x7f, 0x80, 0xff};

	for (unsigned i = 0; i < 16; i++)
		a->b[i] = some[(unsigned)rand_r(seed) % (i < 14 ? 2 : 5)];
}

Test(net_acl, as_each_rule_would_say)
{
	unsigned seed = 7;

	for (unsigned round = 0; round < 2000; round++) {
		struct net_acl_rule v[24];
		unsigned n = (unsigned)rand_r(&seed) % 24, kept = 0;
		struct net_acl *a;

		for (unsigned i = 0; i < n; i++) {
			struct net_acl_rule *r = &v[kept];
			bool known = false;

			*r = (struct net_acl_rule){.plen = (uint8_t)((unsigned)rand_r(&seed) % 129),
						   .allow = rand_r(&seed) & 1};
			random_addr(&r->prefix, &seed);
			for (unsigned bit = r->plen; bit < 128; bit++)
				r->prefix.b[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
			for (unsigned k = 0; k < kept; k++)
				known |= v[k].plen == r->plen && addr_eq(&v[k].prefix, &r->prefix);
			kept += !known;
		}
		cr_assert_eq(net_acl_create(&a, v, kept, round & 1), 0);
		for (unsigned i = 0; i < 200; i++) {
			struct addr from;

			random_addr(&from, &seed);
			cr_assert_eq(net_acl_allows(a, &from), plainly(v, kept, round & 1, &from), "round %u", round);
		}
		net_acl_destroy(a);
	}
}
