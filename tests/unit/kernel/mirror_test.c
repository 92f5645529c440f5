/* SPDX-License-Identifier: MIT */

/* What of the kernel's tables must not come into the mirror: addresses in doubt, routes and neighbours of no use. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <criterion/criterion.h>

#include "kern.h"
#include "net.h"

#define SOON 5000

static struct kern k;

static void setup(void)
{
	lab_enter();
	kern_init(&k);
	lab_sh("ip link add ve0 address 02:00:00:00:aa:00 type veth peer name ve1 address 02:00:00:00:aa:01");
	lab_sh("ip link set ve0 up; ip link set ve1 up");
	kern_port(&k, 0, "ve0");
}

static void teardown(void)
{
	kern_stop(&k);
}

TestSuite(mirror, .init = setup, .fini = teardown);

static struct addr ip(const char *s)
{
	struct addr a;

	cr_assert_eq(addr_parse(s, &a), 0);
	return a;
}

static const struct net_tbl *tbl(void)
{
	return k.nl.tbl;
}

static bool local(const char *s)
{
	struct addr a = ip(s);

	return net_is_local(tbl(), &a);
}

static int resolve(const char *dst, struct net_hop *hop)
{
	struct addr a = ip(dst);

	return net_resolve(tbl(), &a, NULL, hop);
}

static bool known(const char *dst)
{
	struct net_hop hop;

	return resolve(dst, &hop) == 0 && hop.resolved;
}

/* ---- addresses ---- */

/* While the kernel checks whether somebody else has an address, it is not ours: with a thousand probes, for long. */
Test(mirror, tentative_address)
{
	lab_sh("echo 1000 > /proc/sys/net/ipv6/conf/ve0/dad_transmits");
	kern_start(&k);
	lab_sh("ip -6 addr add 2001:db8::1/64 dev ve0; ip -6 addr add 2001:db8::2/64 dev ve0 nodad");
	lab_sh("ip -6 addr show dev ve0 | grep '2001:db8::1/64' | grep -q tentative");
	cr_assert(kern_until(&k, SOON, local("2001:db8::2")));
	cr_assert_not(local("2001:db8::1"), "a tentative address is used");
	lab_sh("ip -6 addr del 2001:db8::1/64 dev ve0; ip -6 addr add 2001:db8::1/64 dev ve0 nodad");
	cr_assert(kern_until(&k, SOON, local("2001:db8::1")));
}

/* Somebody has it: it never becomes ours. */
Test(mirror, duplicate_address)
{
	lab_sh("ip -6 addr add 2001:db8::1/64 dev ve1 nodad");
	lab_sh("ip -6 addr add 2001:db8::1/64 dev ve0");
	for (unsigned i = 0; i < 600; i++) {
		char line[256];

		lab_read(line, sizeof(line), "ip -6 addr show dev ve0 | grep '2001:db8::1/64'");
		if (strstr(line, "dadfailed"))
			break;
		lab_sh("sleep 0.1");
	}
	lab_sh("ip -6 addr show dev ve0 | grep '2001:db8::1/64' | grep -q dadfailed");
	kern_start(&k);
	lab_sh("ip -6 addr add 2001:db8::2/64 dev ve0 nodad");
	cr_assert(kern_until(&k, SOON, local("2001:db8::2")));
	cr_assert_not(local("2001:db8::1"), "an address that another host has is used");
}

/* On a point-to-point interface the address is ours, not the one at its other end. */
Test(mirror, peer_address)
{
	lab_sh("ip addr add 192.0.2.1 peer 192.0.2.2/32 dev ve0");
	kern_start(&k);
	cr_assert(local("192.0.2.1"));
	cr_assert_not(local("192.0.2.2"));
}

/* Of the loopback's addresses those that belong to the host as a whole, and no other interface's. */
Test(mirror, addresses_elsewhere)
{
	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip addr add 10.0.0.1/24 dev ot0");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip addr add 203.0.113.1/32 dev lo");
	kern_start(&k);
	cr_assert(local("192.0.2.1"));
	cr_assert(local("203.0.113.1"));
	cr_assert_not(local("10.0.0.1"));
	cr_assert_not(local("127.0.0.1"));
}

/* ---- routes ---- */

/* Tables that rules lead to are not the main one. */
Test(mirror, routes_of_other_tables)
{
	struct net_hop hop;

	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_sh("ip route add 198.51.100.0/24 via 192.0.2.254 table 100");
	lab_sh("ip route add 203.0.113.0/24 via 192.0.2.254");
	kern_start(&k);
	cr_assert_eq(resolve("203.0.113.1", &hop), 0);
	cr_assert_eq(resolve("198.51.100.1", &hop), -ENETUNREACH);
}

/* The source that a route prefers, and of two routes the one with the lower metric. */
Test(mirror, source_and_metric)
{
	struct addr want = ip("192.0.2.9"), near = ip("192.0.2.253");
	struct net_hop hop;

	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip addr add 192.0.2.9/24 dev ve0");
	lab_sh("ip route add 198.51.100.0/24 via 192.0.2.254 src 192.0.2.9");
	lab_sh("ip route add 203.0.113.0/24 via 192.0.2.254 metric 200");
	lab_sh("ip route add 203.0.113.0/24 via 192.0.2.253 metric 100");
	kern_start(&k);
	cr_assert_eq(resolve("198.51.100.1", &hop), 0);
	cr_assert(addr_eq(&hop.src, &want));
	cr_assert_eq(resolve("203.0.113.1", &hop), 0);
	cr_assert(addr_eq(&hop.via, &near));
}

/* IPv4 over an IPv6 neighbour. */
Test(mirror, via_of_the_other_family)
{
	struct addr via = ip("fe80::254");
	struct net_hop hop;

	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add 198.51.100.0/24 via inet6 fe80::254 dev ve0");
	kern_start(&k);
	cr_assert_eq(resolve("198.51.100.1", &hop), 0);
	cr_assert(addr_eq(&hop.via, &via));
}

/* Of several next hops one that works: not the one whose interface is down. */
Test(mirror, dead_next_hop)
{
	struct net_hop hop;

	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip addr add 10.0.0.1/24 dev ot0");
	lab_sh("ip route add 198.51.100.0/24 nexthop via 192.0.2.254 nexthop via 10.0.0.254");
	kern_port(&k, 1, "ot0");
	kern_start(&k);
	cr_assert_eq(resolve("198.51.100.1", &hop), 0);
	cr_assert_eq(hop.dev, 0);
	lab_sh("ip link set ve0 down; ip route show 198.51.100.0/24 | grep -q dead");
	cr_assert(kern_until(&k, SOON, resolve("198.51.100.1", &hop) == 0 && hop.dev == 1));
}

/* Likewise where the interface is up and has no carrier; while there is no other, it is that one still. */
Test(mirror, next_hop_without_carrier)
{
	struct net_hop hop;

	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip addr add 10.0.0.1/24 dev ot0");
	lab_sh("ip route add 198.51.100.0/24 nexthop via 192.0.2.254 nexthop via 10.0.0.254");
	kern_port(&k, 1, "ot0");
	kern_start(&k);
	cr_assert_eq(resolve("198.51.100.1", &hop), 0);
	cr_assert_eq(hop.dev, 0);
	/* The kernel notices a carrier that goes by and by, up to a second later. */
	lab_sh("ip link set ve1 down; for i in $(seq 600); do ip route show 198.51.100.0/24 | grep -q linkdown && exit "
	       "0;"
	       " sleep 0.1; done; exit 1");
	cr_assert(kern_until(&k, SOON, resolve("198.51.100.1", &hop) == 0 && hop.dev == 1));
	lab_sh("ip link set ot1 down");
	cr_assert(kern_until(&k, SOON, resolve("198.51.100.1", &hop) == 0 && hop.dev == 0));
}

/* Of two routes the cheaper leaves by a port without a carrier, and of its network's prefix there is a wider one. */
Test(mirror, route_round_a_dead_port)
{
	struct net_hop hop;

	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip addr add 10.0.0.1/24 dev ot0");
	lab_sh("ip route add 198.51.100.0/24 via 192.0.2.254 metric 10");
	lab_sh("ip route add 198.51.100.0/24 via 10.0.0.254 metric 20; ip route add default via 10.0.0.253");
	kern_port(&k, 1, "ot0");
	kern_start(&k);
	cr_assert(resolve("198.51.100.1", &hop) == 0 && hop.dev == 0);
	cr_assert(resolve("192.0.2.9", &hop) == 0 && hop.dev == 0);
	lab_sh("ip link set ve1 down");
	cr_assert(kern_until(&k, SOON, resolve("198.51.100.1", &hop) == 0 && hop.dev == 1));
	cr_assert(resolve("192.0.2.9", &hop) == 0 && hop.dev == 1);
	lab_sh("ip link set ve1 up");
	cr_assert(kern_until(&k, SOON, resolve("198.51.100.1", &hop) == 0 && hop.dev == 0));
}

/* ---- sources ---- */

static bool speaks(const char *dst, const char *src)
{
	struct addr want = ip(src);
	struct net_hop hop;

	return resolve(dst, &hop) == 0 && addr_eq(&hop.src, &want);
}

/* What the kernel would say of it. */
static bool as_kernel(const char *dst)
{
	char src[ADDR_STRLEN];

	lab_read(src, sizeof(src), "ip route get %s | grep -o 'src [^ ]*' | cut -d' ' -f2", dst);
	return speaks(dst, src);
}

/* IPv4: of the gateway's subnet, or else the first that is not a second one of its subnet, and good everywhere. */
Test(mirror, sources_of_ipv4)
{
	lab_sh("ip addr add 169.254.7.1/16 scope link dev ve0; ip addr add 203.0.113.77/32 dev ve0");
	lab_sh("ip addr add 10.0.0.9/24 dev ve0; ip addr add 10.0.0.2/24 dev ve0; ip addr add 198.51.100.5/32 dev lo");
	lab_sh("ip route add 20.0.0.0/8 via 10.0.0.254; ip route add 30.0.0.0/8 via 172.31.1.1 dev ve0 onlink");
	lab_sh("ip route add 40.0.0.0/8 dev ve0; ip route add 50.0.0.0/8 via 10.0.0.254 src 10.0.0.2");
	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip route add 60.0.0.0/8 dev ot0");
	kern_port(&k, 1, "ot0");
	kern_start(&k);
	cr_expect(speaks("20.0.0.1", "10.0.0.9"), "the subnet's first, not its second");
	cr_expect(speaks("30.0.0.1", "203.0.113.77"), "a public one beside a private subnet");
	cr_expect(speaks("50.0.0.1", "10.0.0.2"));
	cr_expect(as_kernel("20.0.0.1") && as_kernel("30.0.0.1") && as_kernel("40.0.0.1") && as_kernel("50.0.0.1"));
	cr_expect(as_kernel("60.0.0.1"), "a port without an address speaks with the host's");
}

/* IPv6: RFC 6724. */
Test(mirror, sources_of_ipv6)
{
	lab_sh("ip addr add fd00::1/64 dev ve0 nodad; ip addr add 2001:db8:1::1/64 dev ve0 nodad");
	lab_sh("ip addr add 2001:db8:2::1/64 dev ve0 nodad preferred_lft 0; ip addr add 2001:db8:3::1/64 dev lo nodad");
	lab_sh("ip -6 route add default via fe80::99 dev ve0");
	kern_start(&k);
	cr_expect(speaks("2001:db8:2::77", "2001:db8:1::1"), "deprecated, however near");
	cr_expect(speaks("fd00:1::1", "fd00::1"), "of the same label");
	cr_expect(as_kernel("2001:db8:2::77") && as_kernel("2001:db8:1::77") && as_kernel("2600::1") &&
		  as_kernel("fd00:1::1") && as_kernel("fd00::77"));
	lab_sh("ip addr change 2001:db8:2::1/64 dev ve0 nodad preferred_lft forever");
	cr_expect(kern_until(&k, SOON, speaks("2001:db8:2::77", "2001:db8:2::1")));
	cr_expect(as_kernel("2001:db8:2::77"));
}

/* ---- what is not followed ---- */

Test(mirror, rules_are_told)
{
	char first[NL_RULE_TEXT];
	const struct nl_vec *v = &k.nl.table[NL_RULE];

	kern_start(&k);
	cr_assert(v->n == 0 && k.nl.rules_gen == 0, "those that every kernel has");
	cr_assert_eq(nl_rules_now(first), 0);
	lab_sh("ip rule add from 192.0.2.9 lookup 100 prio 50; ip -6 rule add to 2001:db8::/32 fwmark 7 blackhole");
	cr_assert(kern_until(&k, SOON, v->n == 2));
	cr_assert_str_eq(nl_rule_text(v->v, first), "50: from 192.0.2.9 lookup 100");
	cr_assert_eq(nl_rules_now(first), 2);
	cr_assert_str_eq(first, "50: from 192.0.2.9 lookup 100");
	cr_assert_str_eq(nl_rule_text((struct nl_rule *)v->v + 1, first),
			 "32765: from all to 2001:db8::/32 ... blackhole");
	lab_sh("ip rule del prio 50; ip -6 rule del prio 32765");
	cr_assert(kern_until(&k, SOON, v->n == 0));
}

/* ---- ports ---- */

/* What the device says of its link counts, whatever the interface's carrier: not every kernel has one for a TAP. */
Test(mirror, device_without_link)
{
	kern_start(&k);
	cr_assert(tbl()->dev[0].up);
	k.no_link = true;
	nl_again(&k.nl);
	cr_assert(kern_until(&k, SOON, !tbl()->dev[0].up));
	k.no_link = false;
	nl_again(&k.nl);
	cr_assert(kern_until(&k, SOON, tbl()->dev[0].up));
}

/* An interface that is up, and at whose other end nobody is: it does not carry anything. */
Test(mirror, no_carrier)
{
	kern_start(&k);
	cr_assert(tbl()->dev[0].up);
	lab_sh("ip link set ve1 down");
	cr_assert(kern_until(&k, SOON, !tbl()->dev[0].up));
	lab_sh("ip link show ve0 | grep -q '[<,]UP[,>]'");
	lab_sh("ip link set ve1 up");
	cr_assert(kern_until(&k, SOON, tbl()->dev[0].up));
}

/* ---- events ---- */

static void without_ipv6(void)
{
	lab_sh("echo 1 > /proc/sys/net/ipv6/conf/ve0/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/ve1/disable_ipv6");
}

/* IPv4 routes go with their interface, and nobody says so but the interface itself. */
Test(mirror, routes_of_a_dead_interface)
{
	struct net_hop hop;

	without_ipv6();
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add 198.51.100.0/24 via 192.0.2.254");
	kern_start(&k);
	cr_assert_eq(resolve("198.51.100.1", &hop), 0);
	lab_sh("ip link set ve0 down");
	cr_assert(kern_until(&k, SOON, resolve("198.51.100.1", &hop) == -ENETUNREACH));
}

/* So many events of one kind that the one of another kind behind them is lost: all tables are read again. */
Test(mirror, lost_events)
{
	struct net_hop hop;
	int size = 65536;

	without_ipv6();
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	kern_start(&k);
	cr_assert_eq(setsockopt(nl_fd(&k.nl), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	(void)kern_until(&k, 300, false);
	lab_sh("for a in $(seq 0 63); do for b in $(seq 0 127); do echo route add 10.$a.$b.0/24 via 192.0.2.254; done; "
	       "done | ip -batch -");
	lab_sh("ip addr add 203.0.113.1/32 dev ve0");
	cr_assert(kern_until(&k, 60000, local("203.0.113.1") && tbl()->routes.n_route == 8192 + 1));
	cr_assert_eq(resolve("10.63.127.9", &hop), 0);
	cr_assert(kern_until(&k, 60000, k.nl.routes.stats.reads > 1), "so many fit, and none was lost");
}

/* ---- snapshots ---- */

/* Turns in which the worker adopts nothing, until a snapshot newer than `gen` is there. */
static void wait_for_newer(uint64_t gen)
{
	for (uint64_t end = lab_ms() + SOON; tbl()->gen == gen && lab_ms() < end;)
		kern_turn(&k, 2);
	cr_assert_gt(tbl()->gen, gen);
}

/* A replaced snapshot is kept for as long as a worker uses it, and freed as soon as none does. */
Test(mirror, replaced_snapshots)
{
	uint64_t gen;

	kern_start(&k);
	kern_adopt(&k);
	gen = tbl()->gen;
	cr_assert_eq(k.nl.n_old, 0);
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	wait_for_newer(gen);
	for (unsigned i = 0; i < 5; i++)
		kern_turn(&k, 2);
	cr_assert_geq(k.nl.n_old, 1, "the worker still uses it");
	/* One step behind the newest: what lies before that may go, that one may not. */
	gen = tbl()->gen;
	kern_adopt(&k);
	kern_adopt(&k);
	cr_assert_eq(k.nl.n_old, 0, "nobody uses it");
	lab_sh("ip addr add 192.0.2.2/24 dev ve0");
	wait_for_newer(gen);
	kern_turn(&k, 0);
	cr_assert_geq(k.nl.n_old, 1);
}

/* ---- neighbours ---- */

/* One that failed has no address to send to, whatever it had before; one that is stale still has. */
Test(mirror, states_of_neighbours)
{
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_sh("ip neigh add 192.0.2.10 lladdr 02:11:22:33:44:10 nud stale dev ve0");
	lab_sh("ip neigh add 192.0.2.11 lladdr 02:11:22:33:44:11 nud permanent dev ve0");
	lab_sh("ip neigh add 192.0.2.12 lladdr 02:11:22:33:44:12 nud failed dev ve0");
	lab_sh("ip neigh add proxy 192.0.2.13 dev ve0");
	kern_start(&k);
	cr_assert(known("192.0.2.10"));
	cr_assert(known("192.0.2.11"));
	cr_assert_not(known("192.0.2.12"), "a neighbour that does not answer");
	cr_assert_not(known("192.0.2.13"));
}
