/* SPDX-License-Identifier: MIT */

/* The exception path: what the TAP looks like to the kernel, frames both ways, and that nothing stays behind. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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
	lab.ports[0].vlan = 7;
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
	/* Usable as soon as the kernel has looked at them, on a thread of its own; detecting duplicates takes a second.
	 */
	has("sysctl net.ipv6.conf.kg-wan0.accept_dad", "= 0");
	cr_assert(lab_until(&lab, SOON, system("ip -6 addr show kg-wan0 | grep -q tentative") != 0));
	has("ip route show default", "via 192.0.2.254 dev kg-wan0");
	has("ip -6 route show default", "via 2001:db8::fe dev kg-wan0");
	t = atomic_load(&lab.borders[0]->tbl);
	cr_assert(t->dev[0].exclusive);
	cr_assert(t->dev[0].up);
	cr_assert_eq(t->dev[0].mtu, 1450);
	cr_assert_eq(t->dev[0].vlan, 7);
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
	cr_assert(border_punt(lab.borders[1], 0, m));
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

/*
 * A TCP SYN, or a datagram, to a port on which nobody listens: the kernel answers when its checksum is right, and only
 * then.  Built with the pseudo header's sum in the checksum's place, as a neighbour on the same host leaves it.
 */
static struct rte_mbuf *closed_port(bool v6, bool tcp, uint16_t sport)
{
	static const uint8_t them[6] = {2, 9, 9, 9, 9, 9};
	struct rte_mbuf *m = rte_pktmbuf_alloc(lab.mbufs);
	unsigned ip_n = v6 ? 40 : 20, l4_n = tcp ? 20 : 8;
	uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(14 + ip_n + l4_n)), *ip = p + 14, *l4 = ip + ip_n;
	struct addr from;
	uint16_t sum;

	memset(p, 0, 14 + ip_n + l4_n);
	memcpy(p, lab.devs[0].mac, 6);
	memcpy(p + 6, them, 6);
	memcpy(p + 12, v6 ? "\x86\xdd" : "\x08\x00", 2);
	cr_assert_eq(addr_parse(v6 ? "2001:db8::9" : "192.0.2.9", &from), 0);
	ip[0] = v6 ? 0x60 : 0x45;
	ip[v6 ? 5 : 3] = (uint8_t)(v6 ? l4_n : ip_n + l4_n);
	ip[v6 ? 6 : 9] = tcp ? 6 : 17;
	ip[v6 ? 7 : 8] = 64;
	memcpy(ip + (v6 ? 8 : 12), from.b + (v6 ? 0 : 12), v6 ? 16 : 4);
	memcpy(ip + (v6 ? 24 : 16), addrs[v6].addr.b + (v6 ? 0 : 12), v6 ? 16 : 4);
	if (!v6) {
		sum = net_sum_fold(net_sum(ip, 20, 0));
		memcpy(ip + 10, &sum, 2);
	}
	l4[0] = (uint8_t)(sport >> 8);
	l4[1] = (uint8_t)sport;
	l4[3] = 7;
	if (tcp)
		memcpy(l4 + 12, "\x50\x02\xff\xff", 4);
	else
		l4[5] = 8;
	sum = (uint16_t)~net_sum_fold(
		net_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, (uint64_t)htons(tcp ? 6 : 17) + htons((uint16_t)l4_n)));
	memcpy(l4 + (tcp ? 16 : 6), &sum, 2);
	m->port = 0;
	return m;
}

/* The port that an answer to one of those is for: of a RST its own, of an ICMP error that of the datagram in it. */
static unsigned answered_port(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *ip = p + 14;
	bool v6 = p[12] == 0x86;
	unsigned head = v6 ? 40 : 20;

	if (ip[v6 ? 6 : 9] == 6)
		return (unsigned)(ip[head + 2] << 8 | ip[head + 3]);
	if (ip[v6 ? 6 : 9] == (v6 ? 58 : 1) && ip[head] == (v6 ? 1 : 3))
		return (unsigned)(ip[head + 8 + head] << 8 | ip[head + 8 + head + 1]);
	return 0; /* something of the kernel's own */
}

/* The next answer: the kernel gives them in the order of the questions. */
static unsigned next_answer(void)
{
	for (uint64_t end = lab_ms() + SOON; lab_ms() < end;) {
		struct rte_mbuf *m = injected();
		unsigned port = 0;

		if (m)
			port = answered_port(m);
		rte_pktmbuf_free(m);
		if (port)
			return port;
	}
	return 0;
}

static void give(struct rte_mbuf *m)
{
	cr_assert(border_punt(lab.borders[0], 0, m));
}

static void know_the_peer(void)
{
	lab_sh("ip neigh add 192.0.2.9 lladdr 02:09:09:09:09:09 dev kg-wan0");
	lab_sh("ip neigh add 2001:db8::9 lladdr 02:09:09:09:09:09 dev kg-wan0");
	lab_sh("sysctl -q -w net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
}

/* In two buffers, the first of which ends within the transport header. */
static struct rte_mbuf *in_two(struct rte_mbuf *m, unsigned first)
{
	struct rte_mbuf *more = rte_pktmbuf_alloc(lab.mbufs);
	uint16_t n = (uint16_t)(m->data_len - first);

	memcpy(rte_pktmbuf_append(more, n), rte_pktmbuf_mtod_offset(m, void *, first), n);
	cr_assert_eq(rte_pktmbuf_trim(m, n), 0);
	cr_assert_eq(rte_pktmbuf_chain(m, more), 0);
	return m;
}

/* Checksums that the sender left undone are done, whatever the driver says of them, in one buffer or in two. */
Test(tap, unfinished_checksums, .init = setup, .fini = teardown)
{
	static const uint64_t says[] = {RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN, RTE_MBUF_F_RX_L4_CKSUM_GOOD,
					RTE_MBUF_F_RX_L4_CKSUM_NONE, RTE_MBUF_F_RX_L4_CKSUM_BAD};
	unsigned n = 0;

	lab_start(&lab);
	know_the_peer();
	for (unsigned i = 0; i < 32; i++) {
		bool v6 = i & 1, tcp = i & 2;
		struct rte_mbuf *m = closed_port(v6, tcp, (uint16_t)(1000 + i));

		m->ol_flags |= says[i >> 2 & 3];
		/* Its word is enough: what stands in the field is of no account then. */
		if (says[i >> 2 & 3] == RTE_MBUF_F_RX_L4_CKSUM_NONE)
			*rte_pktmbuf_mtod_offset(m, uint8_t *, 14 + (v6 ? 40 : 20) + (tcp ? 16 : 6)) ^= 0x55;
		give(i < 16 ? m : in_two(m, m->pkt_len - 3));
		cr_assert_eq(next_answer(), 1000 + i, "case %u", i);
		n++;
	}
	cr_assert_eq(ctl_stats(lab.ctl)->punt_finished, n);
	cr_assert_eq(ctl_stats(lab.ctl)->punt_errors, 0);
}

/* What came wrong is still wrong for the kernel, which drops it and counts; a whole one is passed on as it is. */
Test(tap, wrong_checksums, .init = setup, .fini = teardown)
{
	lab_start(&lab);
	know_the_peer();
	for (unsigned i = 0; i < 8; i++) {
		bool v6 = i & 1, tcp = i & 2;
		struct rte_mbuf *bad = closed_port(v6, tcp, 2000), *good = closed_port(v6, tcp, (uint16_t)(3000 + i));
		uint8_t *p = rte_pktmbuf_mtod(bad, uint8_t *);

		p[14 + (v6 ? 40 : 20) + (tcp ? 16 : 6)] ^= 0x55;
		if (i & 4)
			bad->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
		net_finish_csum(rte_pktmbuf_mtod(good, uint8_t *), good->pkt_len, false);
		give(bad);
		give(good);
		cr_assert_eq(next_answer(), 3000 + i, "case %u", i);
	}
	cr_assert_eq(ctl_stats(lab.ctl)->punted, 16 + ctl_stats(lab.ctl)->punt_errors);
	cr_assert_eq(ctl_stats(lab.ctl)->punt_finished, 0);
}

/* A datagram of the host's own leaves with its checksum complete: nobody behind the port would do it. */
Test(tap, whole_from_the_kernel, .init = setup, .fini = teardown)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct rte_mbuf *m = NULL;
	uint64_t sum;

	lab_start(&lab);
	know_the_peer();
	to.sin_addr.s_addr = inet_addr("192.0.2.9");
	cr_assert_eq(sendto(fd, "datagram", 8, 0, (void *)&to, sizeof(to)), 8);
	for (uint64_t end = lab_ms() + SOON; lab_ms() < end;) {
		m = injected();
		if (m && rte_pktmbuf_mtod(m, uint8_t *)[14 + 9] == 17)
			break;
		rte_pktmbuf_free(m);
		m = NULL;
	}
	cr_assert_not_null(m);
	cr_assert_eq(m->pkt_len, 14 + 20 + 8 + 8);
	cr_assert_eq(m->ol_flags & RTE_MBUF_F_TX_L4_MASK, 0);
	sum = net_sum(rte_pktmbuf_mtod_offset(m, uint8_t *, 14 + 12), 8, (uint64_t)htons(17) + htons(16));
	cr_assert_eq(net_sum_fold(net_sum(rte_pktmbuf_mtod_offset(m, uint8_t *, 14 + 20), 16, sum)), 0);
	rte_pktmbuf_free(m);
	close(fd);
}

/* Longer than any frame that a kernel takes: counted, and nothing hangs. */
Test(tap, too_long, .init = setup, .fini = teardown)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(lab.mbufs);

	lab_start(&lab);
	rte_pktmbuf_append(m, 2000);
	for (unsigned i = 0; i < 33; i++) {
		struct rte_mbuf *more = rte_pktmbuf_alloc(lab.mbufs);

		rte_pktmbuf_append(more, 2000);
		cr_assert_eq(rte_pktmbuf_chain(m, more), 0);
	}
	m->port = 0;
	give(m);
	cr_assert(lab_until(&lab, SOON, ctl_stats(lab.ctl)->punt_errors == 1));
}

Test(tap, frames_for_nobody, .init = setup, .fini = teardown)
{
	static const uint16_t ports[] = {3, 300, RTE_MBUF_PORT_INVALID};

	lab_start(&lab);
	for (unsigned i = 0; i < 3; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(lab.mbufs);

		rte_pktmbuf_append(m, 60);
		m->port = ports[i];
		cr_assert(border_punt(lab.borders[0], 0, m));
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

/* A TAP that a device of the workers has made: configured as one of ours, and nothing of it passes here. */
static int made_elsewhere(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

Test(tap, of_a_device, .init = setup, .fini = teardown)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int tun = made_elsewhere("kg-wan0"), fd = socket(AF_INET, SOCK_DGRAM, 0);
	char why[256];

	lab.ports[0].tap_made = true;
	lab_start(&lab);
	has("ip -o link show kg-wan0", "mtu 1450");
	has("ip -o link show kg-wan0", "02:00:00:00:00:00");
	has("ip -o -4 addr show kg-wan0", "192.0.2.1/24");
	has("ip route show default", "via 192.0.2.254 dev kg-wan0");
	cr_assert(atomic_load(&lab.borders[0]->tbl)->dev[0].exclusive);
	tap_carrier(lab.ctl, 0, false);
	has("ip -o link show kg-wan0", "NO-CARRIER");
	tap_carrier(lab.ctl, 0, true);
	has("ip -o link show kg-wan0", "LOWER_UP");
	know_the_peer();
	to.sin_addr.s_addr = inet_addr("192.0.2.9");
	cr_assert_eq(sendto(fd, "x", 1, 0, (void *)&to, sizeof(to)), 1);
	for (unsigned i = 0; i < 20; i++)
		lab_turn(&lab, 2);
	cr_assert_eq(ctl_stats(lab.ctl)->injected, 0);
	/* Somebody removes it: only the device could make it again, and control says so. */
	lab_sh("ip link del kg-wan0");
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "only a start makes it again")));
	cr_assert_lt(tap_again(lab.ctl, 0, why, sizeof(why)), 0);
	close(fd);
	close(tun);
}

/* The kernel keeps it until the last who has it lets go. */
Test(tap, of_a_device_left, .init = setup, .fini = teardown)
{
	int tun = made_elsewhere("kg-wan0");

	lab.ports[0].tap_made = true;
	lab_start(&lab);
	ctl_destroy(lab.ctl);
	lab.ctl = NULL;
	cr_assert_neq(if_nametoindex("kg-wan0"), 0);
	close(tun);
	cr_assert_eq(if_nametoindex("kg-wan0"), 0);
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
	lab.ports[0].tap_made = true;
	refused("port wan0: interface kg-wan0, which vhost-net had, is not there");
	lab.ports[0].tap_made = false;
	lab.ports[0].ifname = "a-name-that-is-too-long";
	refused("longer than 15 characters");
}
