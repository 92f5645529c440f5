/* SPDX-License-Identifier: MIT */

/* Which interface the kernel would take. */

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "ns.h"
#include "route.h"

static void expect(const char *dst, const char *ifname)
{
	char got[16] = "";
	struct addr a;

	if (dst)
		cr_assert_eq(addr_parse(dst, &a), 0);
	cr_expect_eq(route_iface(dst ? &a : NULL, got, sizeof(got)), 0, "%s", dst ? dst : "default");
	cr_expect_str_eq(got, ifname, "%s: %s", dst ? dst : "default", got);
}

static int error_of(const char *dst)
{
	char got[16] = "";
	struct addr a;

	if (dst)
		cr_assert_eq(addr_parse(dst, &a), 0);
	return route_iface(dst ? &a : NULL, got, sizeof(got));
}

Test(route, nothing_but_lo)
{
	lab_enter();
	expect("127.0.0.1", "lo");
	expect("127.9.8.7", "lo");
	expect("::1", "lo");
	cr_expect_eq(error_of(NULL), -ENETUNREACH);
	cr_expect_eq(error_of("192.0.2.1"), -ENETUNREACH);
	cr_expect_eq(error_of("2001:db8::1"), -ENETUNREACH);
}

Test(route, by_destination_and_default)
{
	char small[3];

	lab_enter();
	lab_sh("ip link add ve0 type veth peer name ve1; ip link add ve2 type veth peer name ve3");
	lab_sh("for i in 0 1 2 3; do ip link set ve$i up; done");
	lab_sh("ip address add 10.1.0.2/24 dev ve0; ip address add 10.2.0.2/24 dev ve2");
	lab_sh("ip address add 2001:db8:1::2/64 dev ve0 nodad; ip address add 2001:db8:2::2/64 dev ve2 nodad");
	expect("10.1.0.9", "ve0");
	expect("10.2.0.9", "ve2");
	expect("10.2.0.2", "lo"); /* our own */
	expect("2001:db8:1::9", "ve0");
	cr_expect_eq(error_of(NULL), -ENETUNREACH);
	lab_sh("ip -6 route add default via 2001:db8:1::1 dev ve0");
	expect(NULL, "ve0");
	lab_sh("ip route add default via 10.1.0.1 dev ve0 metric 20");
	lab_sh("ip route add default via 10.2.0.1 dev ve2 metric 10");
	lab_sh("ip route add default via 10.1.0.1 dev ve0 table 77");
	expect(NULL, "ve2");
	expect("192.0.2.1", "ve2");
	lab_sh("ip route add 192.0.2.0/24 via 10.1.0.1 dev ve0");
	expect("192.0.2.1", "ve0");
	lab_sh("ip route add unreachable 198.51.100.0/24");
	cr_expect_eq(error_of("198.51.100.1"), -ENETUNREACH);
	cr_expect_eq(route_iface(NULL, small, sizeof(small)), -ENOSPC);
}

Test(route, several_next_hops)
{
	lab_enter();
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip address add 10.1.0.2/24 dev ve0");
	lab_sh("ip route add default nexthop via 10.1.0.1 dev ve0 nexthop via 10.1.0.3 dev ve0");
	expect(NULL, "ve0");
}
