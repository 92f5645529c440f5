/* SPDX-License-Identifier: MIT */

/* Ports' links: of a device that is asked, which the test plays, and of one whose interface the kernel has. */

#include <net/if.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "lab.h"
#include "net.h"

#define SOON 60000 /* ms: a guard against hanging */

static struct lab lab;
static struct port_link dev[2];
static unsigned asked[2], slow; /* seconds that an answer takes */

static const struct net_tbl *tbl(void)
{
	return atomic_load(&lab.borders[0]->tbl);
}

static void on_link(void *ctx, unsigned port, struct port_link *l)
{
	cr_assert_eq(ctx, &lab);
	cr_assert(lab.devs[port].started);
	cr_assert_eq(lab.devs[port].ifindex, 0, "its interface shows it");
	asked[port]++;
	sleep(slow);
	*l = dev[port];
}

static void exclusive(unsigned i, const char *ifname)
{
	lab_port(&lab, i, true, ifname);
	lab.devs[i].started = true;
	lab.ports[i].base = "";
	dev[i] = (struct port_link){.told = true, .up = true, .full = true, .mbps = 10000};
}

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 1, 64, 64);
	exclusive(0, "kg-wan0");
	lab.conf.port_link = on_link;
	lab.conf.ctx = &lab;
}

static void teardown(void)
{
	lab_stop(&lab);
}

TestSuite(link, .init = setup, .fini = teardown);

static bool carrier(const char *ifname)
{
	char line[512];

	lab_read(line, sizeof(line), "ip -o link show %s", ifname);
	cr_assert_neq(strstr(line, "LOWER_UP") != NULL, strstr(line, "NO-CARRIER") != NULL, "%s", line);
	return strstr(line, "LOWER_UP") != NULL;
}

/* Down and up again, at another speed: told, and by the carrier, and the snapshot has it. */
Test(link, of_the_device)
{
	struct ctl_port_now now;

	lab_start(&lab);
	cr_assert(tbl()->dev[0].up && carrier("kg-wan0"));
	now = ctl_port_now(lab.ctl, 0);
	cr_assert(now.open && now.link.told && now.link.up && now.link.mbps == 10000 && now.changes == 0);
	cr_assert_not(lab_logged(&lab, "link is"));
	dev[0] = (struct port_link){.told = true};
	cr_assert(lab_until(&lab, SOON, !tbl()->dev[0].up));
	cr_assert_not(tbl()->dev[0].closed);
	cr_assert_not(carrier("kg-wan0"));
	cr_assert(lab_logged(&lab, "port wan0: link is down"));
	dev[0] = (struct port_link){.told = true, .up = true, .full = true, .mbps = 1000};
	cr_assert(lab_until(&lab, SOON, tbl()->dev[0].up));
	cr_assert(carrier("kg-wan0"));
	cr_assert(lab_logged(&lab, "port wan0: link is up, 1000 Mb/s, full duplex"));
	now = ctl_port_now(lab.ctl, 0);
	cr_assert(now.link.up && now.link.mbps == 1000 && now.changes == 2);
}

/* A driver that waits for its PHY is asked seldom; yet a cable is not out for minutes before anybody looks. */
Test(link, slow_answer)
{
	lab_start(&lab);
	slow = 1;
	cr_assert(lab_until(&lab, SOON, asked[0] >= 2));
	slow = 0;
	dev[0] = (struct port_link){.told = true};
	cr_assert(lab_until(&lab, SOON, !tbl()->dev[0].up));
}

/* There is none at the start, as while two ends settle on a speed. */
Test(link, comes_later)
{
	dev[0] = (struct port_link){.told = true};
	lab_start(&lab);
	cr_assert(!tbl()->dev[0].up && !carrier("kg-wan0"));
	cr_assert(lab_logged(&lab, "port wan0: link is down"));
	dev[0] = (struct port_link){.told = true, .up = true, .mbps = 100};
	cr_assert(lab_until(&lab, SOON, tbl()->dev[0].up && carrier("kg-wan0")));
	cr_assert(lab_logged(&lab, "port wan0: link is up, 100 Mb/s, half duplex"));
}

/* A TAP that somebody removes comes back as the link is. */
Test(link, tap_made_again)
{
	unsigned before;

	lab_start(&lab);
	dev[0].up = false;
	cr_assert(lab_until(&lab, SOON, !tbl()->dev[0].up));
	before = if_nametoindex("kg-wan0");
	lab_sh("ip link del kg-wan0");
	cr_assert(lab_until(&lab, SOON, if_nametoindex("kg-wan0") && if_nametoindex("kg-wan0") != before));
	cr_assert(lab_until(&lab, SOON, !carrier("kg-wan0")));
	cr_assert_not(tbl()->dev[0].up);
}

/* An interface of the kernel's that the device stands on, and nobody asks the driver: its carrier is the TAP's. */
Test(link, of_the_interface)
{
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	exclusive(1, "kg-wan1");
	lab.devs[1].ifindex = (int)if_nametoindex("ve0");
	lab.ports[1].base = "ve0";
	lab_start(&lab);
	cr_assert(tbl()->dev[1].up && carrier("kg-wan1"));
	lab_sh("ip link set ve1 down");
	cr_assert(lab_until(&lab, SOON, !tbl()->dev[1].up && !carrier("kg-wan1")));
	cr_assert(lab_logged(&lab, "port wan1: link is down"));
	cr_assert(tbl()->dev[0].up && carrier("kg-wan0"));
	lab_sh("ip link set ve1 up");
	cr_assert(lab_until(&lab, SOON, tbl()->dev[1].up && carrier("kg-wan1")));
	cr_assert(lab_logged(&lab, "port wan1: link is up"));
	cr_assert_eq(ctl_port_now(lab.ctl, 1).changes, 2);
	cr_assert_not(ctl_port_now(lab.ctl, 1).link.told);
	cr_assert(asked[0] > 0 && asked[1] == 0);
}

/* Of two ways the cheaper is by a port that loses its link. */
Test(link, the_other_way)
{
	struct addr far;
	struct net_hop hop;

	cr_assert_eq(addr_parse("198.51.100.7", &far), 0);
	exclusive(1, "kg-wan1");
	lab_start(&lab);
	lab_sh("ip addr add 192.0.2.1/24 dev kg-wan0; ip addr add 203.0.113.1/24 dev kg-wan1");
	lab_sh("ip route add 198.51.100.0/24 via 192.0.2.254 metric 1");
	lab_sh("ip route add 198.51.100.0/24 via 203.0.113.254 metric 2");
	cr_assert(lab_until(&lab, SOON, net_resolve(tbl(), &far, NULL, &hop) == 0 && hop.dev == 0));
	dev[0].up = false;
	cr_assert(lab_until(&lab, SOON, net_resolve(tbl(), &far, NULL, &hop) == 0 && hop.dev == 1));
	dev[1].up = false;
	cr_assert(lab_until(&lab, SOON, net_resolve(tbl(), &far, NULL, &hop) == 0 && hop.dev == 0));
	dev[0].up = true;
	cr_assert(lab_until(&lab, SOON, tbl()->dev[0].up && !tbl()->dev[1].up));
	cr_assert(net_resolve(tbl(), &far, NULL, &hop) == 0 && hop.dev == 0);
}

/* A device that is taken out stops its port only, when no worker looks at it any more; it may come back. */
static unsigned opened, shut;
static bool there;

static int re_open(void *ctx, unsigned port, const char *ifname, char *why, size_t why_n)
{
	cr_assert(ctx == &lab && port == 0 && !ifname[0]);
	if (!there) {
		snprintf(why, why_n, "port wan0: no PCI device at this address");
		return -1;
	}
	opened++;
	lab.devs[0].started = true;
	return 0;
}

static void take_out(void *ctx, unsigned port)
{
	cr_assert(ctx == &lab && port == 0);
	cr_assert(tbl()->dev[0].closed && atomic_load(&lab.borders[0]->adopted) >= tbl()->gen);
	shut++;
	lab.devs[0].started = false;
}

Test(link, device_taken_out)
{
	exclusive(1, "kg-wan1");
	lab.conf.port_open = re_open;
	lab.conf.port_close = take_out;
	lab_start(&lab);
	dev[0].gone = true;
	cr_assert(lab_until(&lab, SOON, shut == 1));
	cr_assert(lab_logged(&lab, "port wan0: its device is being removed"));
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "no PCI device at this address")));
	cr_assert(tbl()->dev[0].closed && !tbl()->dev[0].up && !carrier("kg-wan0"));
	cr_assert(!tbl()->dev[1].closed && tbl()->dev[1].up && carrier("kg-wan1"));
	dev[0].gone = false;
	there = true;
	cr_assert(lab_until(&lab, SOON, opened == 1 && !tbl()->dev[0].closed && tbl()->dev[0].up));
	cr_assert(carrier("kg-wan0"));
	cr_assert(lab_logged(&lab, "port wan0: its device is there, and served from now on"));
	cr_assert_eq(shut, 1);
}

/* Likewise one whose interface the kernel has, as with mlx5: it says nothing of its link, and goes all the same. */
Test(link, device_with_an_interface_taken_out)
{
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab.devs[0].ifindex = (int)if_nametoindex("ve0");
	exclusive(1, "kg-wan1");
	lab.devs[1].ifindex = (int)if_nametoindex("ve1");
	lab.conf.port_open = re_open;
	lab.conf.port_close = take_out;
	lab_start(&lab);
	cr_assert(!tbl()->dev[0].closed && tbl()->dev[0].up && carrier("kg-wan0"));
	atomic_store(&lab.devs[0].gone, true);
	cr_assert(lab_until(&lab, SOON, shut == 1));
	cr_assert(lab_logged(&lab, "port wan0: its device is being removed"));
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "no PCI device at this address")));
	cr_assert(tbl()->dev[0].closed && !tbl()->dev[0].up && !carrier("kg-wan0"));
	cr_assert(!tbl()->dev[1].closed && tbl()->dev[1].up && carrier("kg-wan1"));
	atomic_store(&lab.devs[0].gone, false);
	there = true;
	cr_assert(lab_until(&lab, SOON, opened == 1 && !tbl()->dev[0].closed && tbl()->dev[0].up));
	cr_assert(carrier("kg-wan0"));
	cr_assert_eq(asked[0] + asked[1], 0);
}

/* A port that is away has no link to ask for, and its TAP no carrier. */
static int no_open(void *ctx, unsigned port, const char *ifname, char *why, size_t why_n)
{
	snprintf(why, why_n, "port wan%u: %p: not there: %s", port, ctx, ifname);
	return -1;
}

static void no_close(void *ctx, unsigned port)
{
	cr_assert_fail("port %u of %p", port, ctx);
}

Test(link, of_a_port_that_is_away)
{
	lab.conf.port_open = no_open;
	lab.conf.port_close = no_close;
	lab.devs[0].started = false;
	lab_start(&lab);
	for (unsigned i = 0; i < 20; i++)
		lab_turn(&lab, 5);
	cr_assert_eq(asked[0], 0);
	cr_assert(tbl()->dev[0].closed && !tbl()->dev[0].up && !carrier("kg-wan0"));
	cr_assert_not(lab_logged(&lab, "link is"));
	cr_assert_not(ctl_port_now(lab.ctl, 0).open);
}
