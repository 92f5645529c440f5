/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include <criterion/criterion.h>

#include "addr.h"

static struct addr parsed(const char *s)
{
	struct addr a;

	cr_assert_eq(addr_parse(s, &a), 0, "%s", s);
	return a;
}

Test(addr, text_comes_back_as_it_was)
{
	static const char *const texts[] = {"0.0.0.0", "192.0.2.1",   "255.255.255.255", "::",
					    "::1",     "2001:db8::1", "fe80::a:b:c:d",	 "2001:db8:1:2:3:4:5:6"};
	char buf[ADDR_STRLEN];

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct addr a = parsed(texts[i]);

		cr_assert_str_eq(addr_str(&a, buf), texts[i]);
	}
}

Test(addr, both_forms_of_ipv4_are_one)
{
	struct addr a = addr_v4(0xc0000201), b = parsed("192.0.2.1"), c = parsed("::ffff:192.0.2.1");

	cr_assert(addr_eq(&a, &b) && addr_eq(&a, &c));
	cr_assert(addr_is_v4(&a) && addr_is_v4(&c));
	b = parsed("192.0.2.2");
	cr_assert_not(addr_eq(&a, &b));
	b = parsed("2001:db8::1");
	cr_assert_not(addr_is_v4(&b));
}

Test(addr, any)
{
	struct addr any4 = parsed("0.0.0.0"), any6 = parsed("::"), one4 = parsed("0.0.0.1"), one6 = parsed("::1");

	cr_assert(addr_is_any(&any4) && addr_is_any(&any6));
	cr_assert_not(addr_is_any(&one4) || addr_is_any(&one6));
}

Test(addr, port)
{
	struct addr a4 = parsed("192.0.2.1"), a6 = parsed("2001:db8::1");
	struct addr longest = parsed("2001:db8:1111:2222:3333:4444:5555:6666");
	char buf[ADDR_STRLEN];

	cr_assert_str_eq(addr_port_str(&a4, 65535, buf), "192.0.2.1:65535");
	cr_assert_str_eq(addr_port_str(&a6, 80, buf), "[2001:db8::1]:80");
	cr_assert_str_eq(addr_port_str(&longest, 65535, buf), "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}

Test(addr, refuses_what_is_no_address)
{
	static const char *const bad[] = {"",	       "1.2.3",	 "1.2.3.256", "1.2.3.4:5",	"[::1]",
					  "localhost", "::1%lo", "1.2.3.4 ",  "2001:db8::1::2", ":"};
	struct addr before = addr_v4(7), a = before;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(addr_parse(bad[i], &a), -EINVAL, "\"%s\"", bad[i]);
		cr_assert(addr_eq(&a, &before));
	}
}

Test(addr, zone)
{
	static const char *const bad[] = {"fe80::1%",
					  "fe80::1%a/b",
					  "fe80::1%a%b",
					  "2001:db8::1%eth0",
					  "192.0.2.1%eth0",
					  "%eth0",
					  "fe80::1%sixteen-is-toolong",
					  "fe80:::1%eth0"};
	struct addr a, before = addr_v4(7), want = parsed("fe80::1"), far = parsed("2001:db8::1");
	const char *zone;

	cr_assert_eq(addr_parse_zone("fe80::1%eth0", &a, &zone), 0);
	cr_assert(addr_eq(&a, &want) && addr_needs_zone(&a));
	cr_assert_str_eq(zone, "eth0");
	cr_assert_eq(addr_parse_zone("2001:db8::1", &a, &zone), 0);
	cr_assert(addr_eq(&a, &far) && !addr_needs_zone(&a));
	cr_assert_null(zone);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		a = before;
		cr_assert_eq(addr_parse_zone(bad[i], &a, &zone), -EINVAL, "%s", bad[i]);
		cr_assert(addr_eq(&a, &before));
		cr_assert_null(zone);
	}
}
