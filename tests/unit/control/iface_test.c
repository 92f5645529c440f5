/* SPDX-License-Identifier: MIT */

/* Ports whose interface goes, comes, gets another name, or is found by its routes: the test plays workers and devices.
 */

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "lab.h"
#include "net.h"

#define SOON 30000 /* ms: a limit, not a figure */

static struct lab lab;
static unsigned n_open, n_close, n_refused;
static bool refuse;
static char opened[IF_NAMESIZE];

static const struct net_tbl *tbl(void)
{
	return atomic_load(&lab.borders[0]->tbl);
}

static int on_open(void *ctx, unsigned port, const char *ifname, char *why, size_t why_n)
{
	cr_assert_eq(ctx, &lab);
	cr_assert_not(lab.devs[port].started);
	cr_assert(!tbl() || tbl()->dev[port].closed, "workers may be looking at it");
	if (refuse) {
		snprintf(why, why_n, "port wan0: the driver refused");
		n_refused++;
		return -EPERM;
	}
	n_open++;
	snprintf(opened, sizeof(opened), "%s", ifname);
	lab.devs[port].started = true;
	lab.devs[port].ifindex = (int)if_nametoindex(ifname);
	return 0;
}

static void on_close(void *ctx, unsigned port)
{
	cr_assert_eq(ctx, &lab);
	n_close++;
	for (unsigned w = 0; w < lab.conf.n_workers; w++)
		cr_assert(atomic_load(&lab.borders[w]->adopted) >= tbl()->gen, "a worker may be looking at it");
	lab.devs[port].started = false;
	lab.devs[port].ifindex = 0;
}

static void make(const char *name, const char *peer)
{
	lab_sh("ip link add %s type veth peer name %s; ip link set %s up; ip link set %s up", name, peer, name, peer);
}

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 2, 64, 64);
	make("ve0", "ve1");
	lab_port(&lab, 0, false, "ve0");
	lab.ports[0].base = "ve0";
	lab.devs[0].started = true;
	lab.devs[0].ifindex = (int)if_nametoindex("ve0");
	lab.conf.port_open = on_open;
	lab.conf.port_close = on_close;
	lab.conf.ctx = &lab;
}

static void teardown(void)
{
	lab_stop(&lab);
}

static bool local(const char *s)
{
	struct addr a;

	cr_assert_eq(addr_parse(s, &a), 0);
	return net_is_local(tbl(), &a);
}

/* Turns in which only worker 0, or none, adopts what was published. */
static void turns(unsigned n, bool first)
{
	while (n--) {
		if (first)
			atomic_store(&lab.borders[0]->adopted, tbl()->gen);
		ctl_turn(lab.ctl, 5);
	}
}

/* The device is closed when every worker has adopted the snapshot that says so, and not before. */
Test(iface, closed_when_nobody_looks, .init = setup, .fini = teardown)
{
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_start(&lab);
	cr_assert(local("192.0.2.1") && tbl()->dev[0].up && !tbl()->dev[0].closed);
	lab_turn(&lab, 0);
	lab_sh("ip link del ve0");
	for (unsigned i = 0; i < 1000 && !tbl()->dev[0].closed; i++)
		turns(1, false);
	cr_assert(tbl()->dev[0].closed && !tbl()->dev[0].up && !local("192.0.2.1"));
	cr_assert(lab_logged(&lab, "port wan0: interface ve0 has gone"));
	turns(20, false);
	cr_assert_eq(n_close, 0);
	turns(20, true);
	cr_assert_eq(n_close, 0);
	cr_assert(lab_until(&lab, SOON, n_close == 1));
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "re-connecting: port wan0: no interface ve0")));
	make("ve0", "ve1");
	lab_sh("ip addr add 192.0.2.2/24 dev ve0");
	cr_assert(
		lab_until(&lab, SOON, n_open == 1 && !tbl()->dev[0].closed && tbl()->dev[0].up && local("192.0.2.2")));
	cr_assert_str_eq(opened, "ve0");
	cr_assert_eq(n_close, 1);
	cr_assert(lab_logged(&lab, "port wan0: interface ve0 is there, and served from now on"));
	cr_assert_eq(ctl_stats(lab.ctl)->ports_closed, 1);
	cr_assert_eq(ctl_stats(lab.ctl)->ports_opened, 1);
}

/* Deleted and made again between two readings: one is another than the other, by its index. */
Test(iface, made_anew_at_once, .init = setup, .fini = teardown)
{
	lab_start(&lab);
	for (unsigned i = 1; i <= 3; i++) {
		lab_sh("ip link del ve0; ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 "
		       "up");
		cr_assert(lab_until(&lab, SOON, n_open == i && n_close == i && !tbl()->dev[0].closed));
		cr_assert_eq(lab.devs[0].ifindex, (int)if_nametoindex("ve0"));
		cr_assert(lab_until(&lab, SOON, tbl()->dev[0].up));
	}
}

/* What the driver refuses is tried again, and told once. */
Test(iface, refused, .init = setup, .fini = teardown)
{
	lab_start(&lab);
	refuse = true;
	lab_sh("ip link del ve0; ip link add ve0 type veth peer name ve1");
	cr_assert(lab_until(&lab, SOON, n_refused >= 2));
	cr_assert(lab_logged(&lab, "re-connecting: port wan0: port wan0: the driver refused"));
	cr_assert(tbl()->dev[0].closed);
	refuse = false;
	cr_assert(lab_until(&lab, SOON, n_open == 1 && !tbl()->dev[0].closed));
}

/* Another name is no other interface; made anew, either name will do. */
Test(iface, renamed, .init = setup, .fini = teardown)
{
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	lab_start(&lab);
	lab_sh("ip link set ve0 down; ip link set ve0 name wan7; ip link set wan7 up");
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "port wan0: interface ve0 is called wan7 now")));
	cr_assert(lab_until(&lab, SOON, tbl()->dev[0].up && local("192.0.2.1")));
	/* Another interface of the old name is not ours while ours is there. */
	make("ve0", "ve9");
	lab_sh("ip addr add 192.0.2.3/24 dev ve0");
	for (unsigned i = 0; i < 20; i++)
		lab_turn(&lab, 5);
	cr_assert(!local("192.0.2.3") && n_close == 0 && n_open == 0);
	lab_sh("ip link del ve0; ip link del wan7");
	cr_assert(lab_until(&lab, SOON, n_close == 1));
	make("wan7", "ve1");
	cr_assert(lab_until(&lab, SOON, n_open == 1));
	cr_assert_str_eq(opened, "wan7");
	lab_sh("ip link del wan7");
	cr_assert(lab_until(&lab, SOON, n_close == 2));
	make("ve0", "ve1");
	cr_assert(lab_until(&lab, SOON, n_open == 2));
	cr_assert_str_eq(opened, "ve0");
}

/* Not there at the start: nothing is opened before it is. */
Test(iface, comes_later, .init = setup, .fini = teardown)
{
	lab_sh("ip link del ve0");
	lab.devs[0] = (struct port){0};
	lab_start(&lab);
	cr_assert(tbl()->dev[0].closed);
	cr_assert(lab_logged(&lab, "re-connecting: port wan0: no interface ve0"));
	make("ve0", "ve1");
	cr_assert(lab_until(&lab, SOON, n_open == 1 && !tbl()->dev[0].closed && tbl()->dev[0].up));
}

/* A device that makes its own interface needs none to be there: it is opened again at once. */
Test(iface, made_by_the_driver, .init = setup, .fini = teardown)
{
	lab.ports[0].base = "";
	lab_start(&lab);
	lab_sh("ip link del ve0");
	cr_assert(lab_until(&lab, SOON, n_close == 1 && n_open == 1 && !tbl()->dev[0].closed));
	cr_assert_str_eq(opened, "");
}

/* ---- found by its routes ---- */

static void sought(enum ctl_seek how, const char *host)
{
	lab.ports[0].base = "";
	lab.ports[0].ifname = "";
	lab.ports[0].seek = how;
	lab.ports[0].seek_host = host;
	lab.devs[0] = (struct port){0};
	lab_start(&lab);
}

Test(iface, by_the_route, .init = setup, .fini = teardown)
{
	sought(CTL_SEEK_ROUTE, "198.51.100.7");
	cr_assert_not(ctl_seeking(lab.ctl));
	cr_assert(lab_logged(&lab, "re-connecting: port wan0: the kernel has no route to 198.51.100.7"));
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add default via 192.0.2.254");
	cr_assert(lab_until(&lab, SOON, n_open == 1 && !tbl()->dev[0].closed && local("192.0.2.1")));
	cr_assert_str_eq(opened, "ve0");
	/* Gone, it may be another one next time. */
	lab_sh("ip link del ve0");
	cr_assert(lab_until(&lab, SOON, n_close == 1));
	make("usb0", "ve1");
	lab_sh("ip addr add 192.0.2.1/24 dev usb0; ip route add default via 192.0.2.254");
	cr_assert(lab_until(&lab, SOON, n_open == 2 && !tbl()->dev[0].closed && local("192.0.2.1")));
	cr_assert_str_eq(opened, "usb0");
}

Test(iface, by_the_default_route, .init = setup, .fini = teardown)
{
	sought(CTL_SEEK_DEFAULT, "");
	cr_assert(lab_logged(&lab, "re-connecting: port wan0: the kernel has no default route"));
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add default via 192.0.2.254");
	cr_assert(lab_until(&lab, SOON, n_open == 1));
	cr_assert_str_eq(opened, "ve0");
}

/* The route to an address of our own leaves by loopback; the interface that has it is meant. */
Test(iface, by_its_address, .init = setup, .fini = teardown)
{
	sought(CTL_SEEK_OWNER, "192.0.2.1");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0");
	cr_assert(lab_until(&lab, SOON, n_open == 1));
	cr_assert_str_eq(opened, "ve0");
}

/* A name that cannot be resolved holds nothing up, and its answer may come when all has ended. */
Test(iface, by_a_name, .init = setup, .fini = teardown)
{
	sought(CTL_SEEK_ROUTE, "no.such.name.invalid");
	for (unsigned i = 0; i < 50; i++)
		lab_turn(&lab, 5);
	cr_assert_eq(n_open, 0);
	cr_assert(tbl()->dev[0].closed);
}

/* ---- the TAP of an exclusive port ---- */

Test(iface, tap_removed, .init = setup, .fini = teardown)
{
	static struct net_local addr = {.plen = 120};
	char line[512];

	cr_assert_eq(addr_parse("192.0.2.1", &addr.addr), 0);
	lab_port(&lab, 0, true, "kg-wan0");
	lab.devs[0].started = true;
	lab.ports[0].base = "";
	lab.ports[0].addresses = &addr;
	lab.ports[0].n_addresses = 1;
	lab_start(&lab);
	cr_assert(local("192.0.2.1") && tbl()->dev[0].up);
	for (unsigned i = 0; i < 2; i++) {
		int before = (int)if_nametoindex("kg-wan0");

		lab_sh("ip link del kg-wan0");
		cr_assert(lab_until(&lab, SOON, if_nametoindex("kg-wan0") && (int)if_nametoindex("kg-wan0") != before));
		cr_assert(lab_until(&lab, SOON, local("192.0.2.1") && tbl()->dev[0].up));
		lab_read(line, sizeof(line), "ip -o link show kg-wan0");
		cr_assert(strstr(line, "02:00:00:00:00:00"), "%s", line);
	}
	cr_assert(lab_logged(&lab, "port wan0: its interface kg-wan0 has been removed: making it again"));
	/* Its name is taken by then: tried again. */
	lab_sh("ip link set kg-wan0 down; ip link set kg-wan0 name kg-x; ip link add kg-wan0 type veth peer name ve5");
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "interface kg-wan0 is called kg-x now")));
	lab_sh("ip link del kg-x");
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "interface kg-wan0 exists already")));
	lab_sh("ip link del kg-wan0");
	cr_assert(lab_until(&lab, SOON, local("192.0.2.1") && tbl()->dev[0].up));
	cr_assert(n_close == 0 && n_open == 0);
}
