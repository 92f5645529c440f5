/* SPDX-License-Identifier: MIT */

/* The exception path: what the TAP looks like to the kernel, frames both ways, and that nothing stays behind. */

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "ctl_int.h"
#include "lab.h"
#include "net.h"

#define SOON 60000 /* ms: a guard against hanging */

static struct lab lab;
static struct net_local addrs[2];
static struct addr gateways[2];

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 2, 64, 64);
	lab_port(&lab, 0, true, "kg-wan0");
	cr_assert_eq(addr_parse("192.0.2.1", &addrs[0].addr), 0);
	addrs[0].plen = 120;
	cr_assert_eq(addr_parse("2001:db8::1", &addrs[1].addr), 0);
	addrs[1].plen = 64;
	cr_assert_eq(addr_parse("192.0.2.254", &gateways[0]), 0);
	cr_assert_eq(addr_parse("2001:db8::fe", &gateways[1]), 0);
	lab.ports[0].addresses = addrs;
	lab.ports[0].n_addresses = 2;
	lab.ports[0].gateway = gateways;
	lab.ports[0].n_gateway = 2;
	lab.ports[0].mtu = 1450;
}

static void teardown(void)
{
	lab_stop(&lab);
}

static void has(const char *cmd, const char *text)
{
	char line[512];

	lab_read(line, sizeof(line), "%s", cmd);
	cr_assert(strstr(line, text), "%s: %s: no \"%s\"", cmd, line, text);
}

Test(tap, configured, .init = setup, .fini = teardown)
{
	const struct net_tbl *t;

	lab_start(&lab);
	has("ip -o link show kg-wan0", "mtu 1450");
	has("ip -o link show kg-wan0", "02:00:00:00:00:00");
	has("ip -o link show kg-wan0", ",UP");
	has("ip -o -4 addr show kg-wan0", "192.0.2.1/24 brd 192.0.2.255");
	has("ip -o -6 addr show kg-wan0 scope global", "2001:db8::1/64");
	lab_sh("! ip -6 addr show kg-wan0 | grep -q tentative");
	has("ip route show default", "via 192.0.2.254 dev kg-wan0");
	has("ip -6 route show default", "via 2001:db8::fe dev kg-wan0");
	t = atomic_load(&lab.borders[0]->tbl);
	cr_assert(t->dev[0].exclusive);
	cr_assert(t->dev[0].up);
	cr_assert_eq(t->dev[0].mtu, 1450);
	cr_assert_eq(memcmp(t->dev[0].mac, lab.devs[0].mac, 6), 0);
	cr_assert(net_is_local(t, &addrs[0].addr));
	cr_assert(net_is_local(t, &addrs[1].addr));
	ctl_destroy(lab.ctl);
	lab.ctl = NULL;
	cr_assert_eq(if_nametoindex("kg-wan0"), 0);
}

/* The host has default routes already: they stay the kernel's first choice, and ours stand beside them. */
Test(tap, beside_other_defaults, .init = setup, .fini = teardown)
{
	struct net_hop hop;
	struct addr far = addr_v4(0x08080808);

	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip addr add 10.0.0.1/24 dev ot0; ip route add default via 10.0.0.254");
	lab_start(&lab);
	has("ip route get 8.8.8.8", "via 10.0.0.254");
	has("ip route show default dev kg-wan0", "via 192.0.2.254");
	cr_assert_eq(net_resolve(atomic_load(&lab.borders[0]->tbl), &far, NULL, &hop), 0);
	cr_assert(addr_eq(&hop.via, &gateways[0]));
}

/* A gateway outside of the port's prefix is reached on link. */
Test(tap, gateway_elsewhere, .init = setup, .fini = teardown)
{
	cr_assert_eq(addr_parse("100.64.0.1", &gateways[0]), 0);
	lab_start(&lab);
	has("ip route show default", "via 100.64.0.1 dev kg-wan0");
}

/* The interface has the carrier of the port's link, also when it is made anew. */
Test(tap, carrier, .init = setup, .fini = teardown)
{
	char why[256];

	lab_start(&lab);
	has("ip -o link show kg-wan0", "LOWER_UP");
	tap_carrier(lab.ctl, 0, false);
	has("ip -o link show kg-wan0", "NO-CARRIER");
	cr_assert_eq(tap_again(lab.ctl, 0, why, sizeof(why)), 0, "%s", why);
	has("ip -o link show kg-wan0", "NO-CARRIER");
	tap_carrier(lab.ctl, 0, true);
	has("ip -o link show kg-wan0", "LOWER_UP");
	tap_carrier(lab.ctl, 1, false); /* has no TAP */
}

static struct rte_mbuf *injected(void)
{
	void *m;

	lab_turn(&lab, 5);
	return rte_ring_dequeue(lab.borders[0]->inject, &m) ? NULL : m;
}

/* An ARP request goes in as a worker's punt and the kernel's reply comes out, towards the right DPDK port. */
Test(tap, frames_both_ways, .init = setup, .fini = teardown)
{
	static const uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 9, 9, 9, 9,   9, 8, 6,
					0,    1,    8,	  0,	6,    4,    0, 1, 2, 9, 9,   9, 9, 9,
					192,  0,    2,	  9,	0,    0,    0, 0, 0, 0, 192, 0, 2, 1};
	struct rte_mbuf *m;
	bool replied = false;

	lab.devs[0].id = 5;
	lab_start(&lab);
	m = rte_pktmbuf_alloc(lab.mbufs);
	memcpy(rte_pktmbuf_append(m, sizeof(arp)), arp, sizeof(arp));
	m->port = 5;
	cr_assert_eq(rte_ring_enqueue(lab.borders[1]->punt, m), 0);
	for (uint64_t end = lab_ms() + SOON; !replied && lab_ms() < end;) {
		m = injected();
		if (!m)
			continue;
		cr_assert_eq(m->port, 5);
		const uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

		replied = m->data_len >= 42 && memcmp(p, arp + 6, 6) == 0 && p[12] == 8 && p[13] == 6 && p[21] == 2 &&
			  memcmp(p + 22, lab.devs[0].mac, 6) == 0 && memcmp(p + 28, arp + 38, 4) == 0;
		rte_pktmbuf_free(m);
	}
	cr_assert(replied);
	cr_assert_eq(ctl_stats(lab.ctl)->punted, 1);
	cr_assert_geq(ctl_stats(lab.ctl)->injected, 1);
	cr_assert_eq(ctl_stats(lab.ctl)->punt_errors, 0);
}

Test(tap, frames_for_nobody, .init = setup, .fini = teardown)
{
	static const uint16_t ports[] = {3, 300, RTE_MBUF_PORT_INVALID};

	lab_start(&lab);
	for (unsigned i = 0; i < 3; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(lab.mbufs);

		rte_pktmbuf_append(m, 60);
		m->port = ports[i];
		cr_assert_eq(rte_ring_enqueue(lab.borders[0]->punt, m), 0);
	}
	cr_assert(lab_until(&lab, SOON, ctl_stats(lab.ctl)->punt_errors == 3));
}

/* Without mbufs, and with a full ring, frames are lost and counted, and no turn hangs on them. */
Test(tap, no_room, .init = setup, .fini = teardown)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	static struct rte_mbuf *all[2047];
	void *m;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	lab_start(&lab);
	lab_sh("ip neigh add 192.0.2.7 lladdr 02:09:09:09:09:09 dev kg-wan0");
	to.sin_addr.s_addr = inet_addr("192.0.2.7");
	for (unsigned i = 0; i < 300; i++) {
		cr_assert_eq(sendto(fd, "x", 1, 0, (void *)&to, sizeof(to)), 1);
		lab_turn(&lab, 0);
	}
	cr_assert(lab_until(&lab, SOON, ctl_stats(lab.ctl)->inject_full > 0));
	while (rte_ring_dequeue(lab.borders[0]->inject, &m) == 0)
		rte_pktmbuf_free(m);
	cr_assert_eq(rte_pktmbuf_alloc_bulk(lab.mbufs, all, 2047), 0);
	cr_assert_eq(sendto(fd, "x", 1, 0, (void *)&to, sizeof(to)), 1);
	cr_assert(lab_until(&lab, SOON, ctl_stats(lab.ctl)->inject_no_mbuf > 0));
	rte_pktmbuf_free_bulk(all, 2047);
	close(fd);
}

static void refused(const char *text)
{
	cr_assert_lt(ctl_create(&lab.ctl, &lab.conf, lab.why, sizeof(lab.why)), 0);
	cr_assert(strstr(lab.why, text), "%s", lab.why);
	lab.ctl = NULL;
}

Test(tap, refusals, .init = setup, .fini = teardown)
{
	lab_sh("ip link add kg-wan0 type veth peer name ve1");
	refused("port wan0: interface kg-wan0");
	lab_sh("ip link del kg-wan0");
	addrs[0].plen = 96 + 33;
	refused("port wan0: address 192.0.2.1 on kg-wan0: ");
	cr_assert_eq(if_nametoindex("kg-wan0"), 0);
	addrs[0].plen = 120;
	lab.ports[0].mtu = 5000;
	refused("mtu 5000 needs packet buffers of");
	lab.ports[0].mtu = 1500;
	lab.ports[0].ifname = "a-name-that-is-too-long";
	refused("longer than 15 characters");
}
