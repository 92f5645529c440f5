/* SPDX-License-Identifier: MIT */

/* The mirror against the kernel's tables, changed with `ip`; TAPs; what neighbours in use cause. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "lab.h"
#include "net.h"

#define SOON 60000 /* ms: nothing here takes as long, on any machine */

static struct lab lab;

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 2, 64, 64);
	lab_sh("ip link add ve0 address 02:00:00:00:aa:00 type veth peer name ve1 address 02:00:00:00:aa:01");
	lab_sh("echo 0 > /proc/sys/net/ipv6/conf/ve0/accept_dad; ip link set ve0 up; ip link set ve1 up");
	lab_port(&lab, 0, false, "ve0");
}

static void teardown(void)
{
	lab_stop(&lab);
}

static struct addr ip(const char *s)
{
	struct addr a;

	cr_assert_eq(addr_parse(s, &a), 0);
	return a;
}

static const struct net_tbl *tbl(void)
{
	return atomic_load(&lab.borders[0]->tbl);
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

static bool goes(const char *dst, const char *via)
{
	struct addr v = ip(via);
	struct net_hop hop;

	return resolve(dst, &hop) == 0 && addr_eq(&hop.via, &v);
}

static bool resolved(const char *dst, const char *mac)
{
	struct net_hop hop;
	char text[32];

	if (resolve(dst, &hop) || !hop.resolved)
		return false;
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", hop.mac[0], hop.mac[1], hop.mac[2], hop.mac[3],
		 hop.mac[4], hop.mac[5]);
	return strcmp(text, mac) == 0;
}

Test(nl, first_snapshot, .init = setup, .fini = teardown)
{
	const struct addr own = ip("192.0.2.1");
	struct net_hop hop;

	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip addr add 2001:db8::1/64 dev ve0 nodad");
	lab_sh("ip route add default via 192.0.2.254; ip route add 198.51.100.0/24 via 192.0.2.253");
	lab_sh("ip neigh add 192.0.2.254 lladdr 02:11:22:33:44:55 dev ve0");
	lab_start(&lab);
	cr_assert_neq(tbl()->gen, 0);
	cr_assert_eq(tbl(), atomic_load(&lab.borders[1]->tbl));
	cr_assert_eq(tbl()->n_dev, 1);
	cr_assert_eq(memcmp(tbl()->dev[0].mac, "\x02\0\0\0\xaa\0", 6), 0);
	cr_assert_eq(tbl()->dev[0].mtu, 1500);
	cr_assert(tbl()->dev[0].up);
	cr_assert_not(tbl()->dev[0].exclusive);
	cr_assert(local("192.0.2.1"));
	cr_assert(local("2001:db8::1"));
	cr_assert_not(local("127.0.0.1"));
	cr_assert(goes("203.0.113.9", "192.0.2.254"));
	cr_assert(goes("198.51.100.7", "192.0.2.253"));
	cr_assert(goes("192.0.2.77", "192.0.2.77"));
	cr_assert(goes("2001:db8::77", "2001:db8::77"));
	cr_assert(resolved("203.0.113.9", "02:11:22:33:44:55"));
	cr_assert_eq(resolve("2001:db9::1", &hop), -ENETUNREACH);
	cr_assert_eq(resolve("203.0.113.9", &hop), 0);
	cr_assert(addr_eq(&hop.src, &own));
}

Test(nl, follows_changes, .init = setup, .fini = teardown)
{
	lab_start(&lab);
	cr_assert_not(local("192.0.2.1"));
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	cr_assert(lab_until(&lab, SOON, local("192.0.2.1")));
	lab_sh("ip -6 addr add 2001:db8::1/64 dev ve0 nodad");
	cr_assert(lab_until(&lab, SOON, local("2001:db8::1")));
	lab_sh("ip route add default via 192.0.2.254");
	cr_assert(lab_until(&lab, SOON, goes("203.0.113.9", "192.0.2.254")));
	lab_sh("ip route replace default via 192.0.2.253");
	cr_assert(lab_until(&lab, SOON, goes("203.0.113.9", "192.0.2.253")));
	lab_sh("ip -6 route add 2001:db8:1::/48 via fe80::1 dev ve0");
	cr_assert(lab_until(&lab, SOON, goes("2001:db8:1::5", "fe80::1")));
	lab_sh("ip neigh replace 192.0.2.253 lladdr 02:11:22:33:44:55 dev ve0");
	cr_assert(lab_until(&lab, SOON, resolved("203.0.113.9", "02:11:22:33:44:55")));
	lab_sh("ip neigh replace 192.0.2.253 lladdr 02:11:22:33:44:66 dev ve0");
	cr_assert(lab_until(&lab, SOON, resolved("203.0.113.9", "02:11:22:33:44:66")));
	lab_sh("ip neigh del 192.0.2.253 dev ve0");
	cr_assert(lab_until(&lab, SOON, !resolved("203.0.113.9", "02:11:22:33:44:66")));
	/* IPv4 routes vanish with the address, without a message of their own. */
	lab_sh("ip addr del 192.0.2.1/24 dev ve0");
	cr_assert(lab_until(&lab, SOON, !local("192.0.2.1")));
	cr_assert(lab_until(&lab, SOON, !goes("203.0.113.9", "192.0.2.253")));
	lab_sh("ip link set ve0 down");
	cr_assert(lab_until(&lab, SOON, !tbl()->dev[0].up));
	lab_sh("ip link set ve0 up mtu 1400");
	cr_assert(lab_until(&lab, SOON, tbl()->dev[0].up && tbl()->dev[0].mtu == 1400));
}

/* The interface goes and comes back under another index. */
Test(nl, interface_made_anew, .init = setup, .fini = teardown)
{
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_start(&lab);
	cr_assert(local("192.0.2.1"));
	lab_sh("ip link del ve0");
	cr_assert(lab_until(&lab, SOON, !local("192.0.2.1")));
	cr_assert(lab_until(&lab, SOON, !tbl()->dev[0].up));
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip addr add 192.0.2.2/24 dev ve0");
	cr_assert(lab_until(&lab, SOON, local("192.0.2.2") && tbl()->dev[0].up));
}

Test(nl, routes_elsewhere, .init = setup, .fini = teardown)
{
	struct net_hop hop;

	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip addr add 10.0.0.1/24 dev ot0; ip addr add 192.0.2.1/24 dev ve0");
	lab_sh("ip addr add 203.0.113.1/32 dev lo");
	lab_sh("ip route add default via 10.0.0.254; ip route add 198.51.100.0/24 via 192.0.2.254");
	lab_sh("ip route add 198.51.100.128/25 via 10.0.0.254; ip route add blackhole 198.51.100.8/32");
	lab_start(&lab);
	cr_assert_eq(resolve("8.8.8.8", &hop), -ENETUNREACH);
	cr_assert(goes("198.51.100.7", "192.0.2.254"));
	cr_assert_eq(resolve("198.51.100.8", &hop), -ENETUNREACH);
	cr_assert_eq(resolve("198.51.100.200", &hop), -ENETUNREACH);
	cr_assert_eq(resolve("10.0.0.9", &hop), -ENETUNREACH);
	cr_assert_not(local("10.0.0.1"));
	cr_assert(local("203.0.113.1"));
	/* Our default route serves the gateway although the host's own has a better metric. */
	lab_sh("ip route add default via 192.0.2.254 metric 50");
	cr_assert(lab_until(&lab, SOON, goes("8.8.8.8", "192.0.2.254")));
	/* Of several next hops, one of ours. */
	lab_sh("ip route add 100.64.0.0/10 nexthop via 10.0.0.254 nexthop via 192.0.2.253 nexthop via 192.0.2.252");
	cr_assert(lab_until(&lab, SOON, goes("100.64.1.1", "192.0.2.253")));
}

/* Replaced snapshots stay until both workers have left them, and no more than a few wait. */
Test(nl, old_snapshots_wait_for_workers, .init = setup, .fini = teardown)
{
	const struct net_tbl *held;
	uint64_t gen;

	lab_start(&lab);
	lab_turn(&lab, 0);
	held = tbl();
	gen = held->gen;
	for (unsigned i = 0; i < 30; i++) {
		lab_sh("ip addr add 192.0.2.%u/24 dev ve0", i + 1);
		for (uint64_t end = lab_ms() + 30; lab_ms() < end;)
			ctl_turn(lab.ctl, 5);
	}
	cr_assert_eq(held->gen, gen, "still readable: the sanitizer would tell");
	cr_assert_leq(tbl()->gen, gen + 9);
	cr_assert(lab_until(&lab, SOON, local("192.0.2.30")));
}

/* Nothing changes: no snapshots, however often neighbours turn stale and fresh again. */
Test(nl, no_change_no_snapshot, .init = setup, .fini = teardown)
{
	uint64_t snapshots;

	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_sh("ip neigh add 192.0.2.9 lladdr 02:11:22:33:44:55 nud reachable dev ve0");
	lab_start(&lab);
	do { /* what the setup above still causes is over when nothing has come for a while */
		snapshots = ctl_stats(lab.ctl)->snapshots;
	} while (lab_until(&lab, 500, ctl_stats(lab.ctl)->snapshots != snapshots));
	for (unsigned i = 0; i < 5; i++) {
		lab_sh("ip neigh replace 192.0.2.9 lladdr 02:11:22:33:44:55 nud %s dev ve0",
		       i % 2 ? "reachable" : "stale");
		(void)lab_until(&lab, 20, false);
	}
	cr_assert_eq(ctl_stats(lab.ctl)->snapshots, snapshots);
}

/* Thousands of events overflow the socket; the mirror is right in the end. */
Test(nl, overrun, .init = setup, .fini = teardown)
{
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_start(&lab);
	lab_sh("for a in $(seq 0 31); do for b in $(seq 0 127); do echo route add 10.$a.$b.0/24 via 192.0.2.254; done; "
	       "done | ip -batch -");
	lab_sh("ip route add 10.99.0.0/16 via 192.0.2.253");
	cr_assert(lab_until(&lab, SOON, goes("10.99.1.1", "192.0.2.253") && goes("10.31.127.9", "192.0.2.254")));
	cr_assert_geq(tbl()->routes.n_route, 4096);
	lab_sh("ip route flush root 10.0.0.0/8");
	cr_assert(lab_until(&lab, SOON, !goes("10.99.1.1", "192.0.2.253")));
	cr_assert_lt(tbl()->routes.n_route, 20);
}

/* A thread that waits for its CPU, or serves others between two buffers, has not read: it may read again soon. */
Test(nl, reading_costs_its_own_time, .init = setup, .fini = teardown)
{
	uint64_t paused = 0, from;

	lab_sh("ip addr add 192.0.2.1/16 dev ve0");
	lab_sh("for a in $(seq 0 7); do for b in $(seq 0 255); do echo neigh add 192.0.$a.$b lladdr 02:11:22:33:44:55 "
	       "dev "
	       "ve0; done; done | ip -force -batch - || true");
	lab_start(&lab);
	lab_sh("ip neigh add 192.0.99.1 lladdr 02:11:22:33:44:66 dev ve0");
	for (; !resolved("192.0.99.1", "02:11:22:33:44:66"); paused += 300) {
		usleep(300000);
		lab_turn(&lab, 0);
	}
	cr_assert_geq(paused, 600, "the table was read in one turn");
	lab_sh("ip neigh del 192.0.99.1 dev ve0");
	from = lab_ms();
	cr_assert(lab_until(&lab, SOON, !resolved("192.0.99.1", "02:11:22:33:44:66")));
	cr_assert_lt(lab_ms() - from, 3 * paused, "quiet for %llu ms after %llu ms of pauses",
		     (unsigned long long)(lab_ms() - from), (unsigned long long)paused);
}

static void note_neigh(const char *a, uint16_t dev)
{
	struct note n = {.type = NOTE_NEIGH, .key = {.peer = ip(a), .dev = dev}};

	border_note(lab.borders[1], &n);
}

/* A worker's question makes the kernel ask. */
Test(nl, neighbour_wanted, .init = setup, .fini = teardown)
{
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_sh("ip -6 addr add 2001:db8::1/64 dev ve0 nodad");
	lab_start(&lab);
	note_neigh("2001:db8::2", 0);
	note_neigh("192.0.2.7", 0);
	note_neigh("192.0.2.8", 7); /* no such port: ignored */
	cr_assert(lab_until(&lab, SOON, system("ip neigh show dev ve0 | grep -q '^192.0.2.7 '") == 0));
	cr_assert(lab_until(&lab, SOON, system("ip neigh show dev ve0 | grep -q '^2001:db8::2 '") == 0));
	lab_sh("! ip neigh show | grep -q '^192.0.2.8 '");
}

/* A stale neighbour that a route leads over is verified without any worker's asking. */
Test(nl, gateway_kept_fresh, .init = setup, .fini = teardown)
{
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add default via 192.0.2.254");
	lab_sh("ip neigh add 192.0.2.254 lladdr 02:00:00:00:aa:01 nud stale dev ve0");
	lab_sh("ip neigh add 192.0.2.200 lladdr 02:00:00:00:aa:01 nud stale dev ve0");
	lab_start(&lab);
	cr_assert(lab_until(&lab, SOON, system("ip neigh show 192.0.2.254 | grep -q STALE") != 0));
	lab_sh("ip neigh show 192.0.2.200 | grep -q STALE");
}

static void expect_lo(const char *want)
{
	static const char *const keys[] = {"route_localnet", "accept_local"};
	char text[8];

	for (unsigned i = 0; i < 2; i++) {
		lab_read(text, sizeof(text), "cat /proc/sys/net/ipv4/conf/lo/%s", keys[i]);
		cr_assert_str_eq(text, want);
		lab_read(text, sizeof(text), "cat /proc/sys/net/ipv4/conf/all/%s", keys[i]);
		cr_assert_str_eq(text, "0", "no other interface is touched");
	}
}

/* On loopback every address of the host is ours, by lo; IPv4 input is told to let our frames in where that is asked
 * for, while we run. */
Test(nl, loopback_port, .init = setup)
{
	const char *const ours[] = {"127.0.0.1", "127.9.9.9", "::1", "192.0.2.1", "2001:db8::1"};

	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip -6 addr add 2001:db8::1/64 dev ve0 nodad");
	lab_sh("ip route add default via 192.0.2.254");
	lab_port(&lab, 0, false, "lo");
	lab.ports[0].local_peers = true;
	lab.conf.lo_dir = "/tmp";
	lab_start(&lab);
	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		cr_assert(local(ours[i]), "%s", ours[i]);
		cr_assert(resolved(ours[i], "00:00:00:00:00:00"), "%s", ours[i]);
	}
	cr_assert_not(local("192.0.2.2"));
	cr_assert_not(goes("192.0.2.2", "192.0.2.2"), "ve0 is not ours");
	expect_lo("1");
	cr_assert(lab_logged(&lab, "port wan0: net.ipv4.conf.lo.accept_local is on now"));
	lab_stop(&lab);
	expect_lo("0");
}

/* With lo and another port, the host's own addresses are reached by lo, its neighbours by the other. */
Test(nl, loopback_beside_another, .init = setup)
{
	struct net_hop hop;

	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_port(&lab, 1, false, "lo");
	lab_start(&lab);
	cr_assert_eq(resolve("192.0.2.1", &hop), 0);
	cr_assert_eq(hop.dev, 1);
	cr_assert_eq(hop.src.b[15], 1);
	cr_assert_eq(resolve("192.0.2.2", &hop), 0);
	cr_assert_eq(hop.dev, 0);
	cr_assert_eq(hop.src.b[12], 192);
	lab_stop(&lab);
}
