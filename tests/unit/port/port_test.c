/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_dev.h>
#include <rte_alarm.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "net.h"
#include "ns.h"
#include "port.h"
#include "port_int.h"

static struct rte_mempool *pool, *pools[8];
static char why[256];

static void setup(void)
{
	lab_enter();
	pool = rte_pktmbuf_pool_create("ports", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	cr_assert_not_null(pool);
	for (unsigned i = 0; i < 8; i++)
		pools[i] = pool;
}

static void teardown(void)
{
	rte_mempool_free(pool);
}

static struct port_conf conf(const char *device, unsigned workers)
{
	return (struct port_conf){
		.name = "wan0", .device = device, .vdev = true, .workers = workers, .mtu = 1500, .pools = pools};
}

static void start(const struct port_conf *c, struct port *p)
{
	cr_assert_eq(port_start(c, p, why, sizeof(why)), 0, "%s", why);
	cr_assert(p->started);
}

/* Started, stopped, and started again: the device is really gone in between. */
static void twice(const char *device, struct port *p)
{
	struct port_conf c = conf(device, 1);
	uint16_t before = rte_eth_dev_count_avail();

	start(&c, p);
	cr_assert_eq(rte_eth_dev_count_avail(), before + 1);
	port_stop(p);
	cr_assert_eq(rte_eth_dev_count_avail(), before);
	port_stop(p);
	start(&c, p);
}

Test(port, null, .init = setup, .fini = teardown)
{
	struct rte_mbuf *m[8];
	struct port p;

	twice("net_null0", &p);
	cr_assert_eq(p.n_rxq, 1);
	cr_assert_eq(p.n_txq, 1);
	cr_assert_not(p.has_rss);
	cr_assert_eq(p.rss.workers, 1);
	cr_assert_eq(rte_eth_rx_burst(p.id, 0, m, 8), 8);
	rte_pktmbuf_free_bulk(m, 8);
	port_stop(&p);
	cr_assert(rte_mempool_full(pool));
}

Test(port, ring, .init = setup, .fini = teardown)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *got = NULL;
	struct port p;

	twice("net_ring0", &p);
	rte_pktmbuf_append(m, 60);
	cr_assert_eq(rte_eth_tx_burst(p.id, 0, &m, 1), 1);
	cr_assert_eq(rte_eth_rx_burst(p.id, 0, &got, 1), 1);
	cr_assert_eq(got, m);
	rte_pktmbuf_free(got);
	port_stop(&p);
}

/* A vdev's claim to hash is not believed; of a device that is not one it is, and then the tables must agree. */
/* The two sides meet in the driver's own thread. */
static void wait_link(const struct port *p)
{
	struct rte_eth_link link = {0};

	for (unsigned i = 0; i < 6000 && !link.link_status; i++) {
		usleep(10000);
		cr_assert_eq(rte_eth_link_get_nowait(p->id, &link), 0);
	}
	cr_assert(link.link_status);
}

static atomic_bool settled;

static void on_alarm(void *arg)
{
	(void)arg;
	settled = true;
}

/*
 * DPDK's own thread is done with what it was at: memif takes its connection down there, and says that the link is down
 * before it has, and the device must not be removed under it.
 */
static void settle(void)
{
	settled = false;
	cr_assert_eq(rte_eal_alarm_set(1, on_alarm, NULL), 0);
	for (unsigned i = 0; i < 6000 && !settled; i++)
		usleep(10000);
	cr_assert(settled);
}

/* Both ends of a connection of memif's, one after the other. */
static void stop_pair(struct port *peer, struct port *p)
{
	struct rte_eth_link link = {.link_status = 1};

	port_stop(peer);
	for (unsigned i = 0; i < 6000 && link.link_status; i++) {
		usleep(10000);
		cr_assert_eq(rte_eth_link_get_nowait(p->id, &link), 0);
	}
	cr_assert_not(link.link_status);
	settle();
	port_stop(p);
}

/* The other side has one queue pair: packets arrive once, however many workers look for them. */
Test(port, memif, .init = setup, .fini = teardown)
{
	struct rte_mbuf *m[8], *got[64];
	char near[128], far[128];
	struct port p, peer;
	struct port_conf c;
	unsigned n = 0;

	snprintf(near, sizeof(near), "net_memif0,role=server,id=0,socket=kcpgate-%d", getpid());
	snprintf(far, sizeof(far), "net_memif1,role=client,id=0,socket=kcpgate-%d", getpid());
	c = conf(near, 4);
	start(&c, &p);
	cr_assert_eq(p.n_rxq, 1);
	cr_assert_eq(p.n_txq, 1);
	c = conf(far, 1);
	start(&c, &peer);
	wait_link(&p);
	wait_link(&peer);
	cr_assert_eq(rte_pktmbuf_alloc_bulk(pool, m, 8), 0);
	for (unsigned i = 0; i < 8; i++)
		rte_pktmbuf_append(m[i], 100);
	cr_assert_eq(rte_eth_tx_burst(peer.id, 0, m, 8), 8);
	for (uint16_t q = 0; q < p.n_rxq; q++) {
		unsigned k = rte_eth_rx_burst(p.id, q, got, 64);

		rte_pktmbuf_free_bulk(got, k);
		n += k;
	}
	cr_assert_eq(n, 8);
	stop_pair(&peer, &p);
}

/* ---- links ---- */

static struct port_link link_of(const struct port *p)
{
	struct port_link l;

	memset(&l, 0xee, sizeof(l));
	port_link(p, &l);
	return l;
}

/* What the driver says, now and not once; drivers that have nothing to say are up. */
Test(port, link, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_ring0", 1);
	struct port p;

	start(&c, &p);
	cr_assert(link_of(&p).told && link_of(&p).up && link_of(&p).full && link_of(&p).mbps == 10000);
	cr_assert_eq(rte_eth_dev_set_link_down(p.id), 0);
	cr_assert(link_of(&p).told && !link_of(&p).up);
	cr_assert_eq(rte_eth_dev_set_link_up(p.id), 0);
	cr_assert(link_of(&p).up);
	port_stop(&p);
	c = conf("net_null0", 1);
	start(&c, &p);
	cr_assert(link_of(&p).up);
	port_stop(&p);
}

/* memif's is there with its other side. */
Test(port, link_of_memif, .init = setup, .fini = teardown)
{
	char near[128], far[128];
	struct port p, peer;
	struct port_conf c;

	snprintf(near, sizeof(near), "net_memif0,role=server,id=0,socket=kcpgate-%d", getpid());
	snprintf(far, sizeof(far), "net_memif1,role=client,id=0,socket=kcpgate-%d", getpid());
	c = conf(near, 1);
	start(&c, &p);
	cr_assert(link_of(&p).told && !link_of(&p).up);
	c = conf(far, 1);
	start(&c, &peer);
	wait_link(&p);
	cr_assert(link_of(&p).up);
	port_stop(&peer);
	for (unsigned i = 0; i < 6000 && link_of(&p).up; i++)
		usleep(10000);
	cr_assert_not(link_of(&p).up);
	settle();
	port_stop(&p);
}

/* Whose interface the kernel has: that one's is it, and the driver, who may look for it in vain, is not asked. */
Test(port, link_of_an_interface, .init = setup, .fini = teardown)
{
	static const char *const devices[] = {"net_tap0,iface=lab0", "net_af_packet0,iface=ve0"};

	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up");
	for (unsigned i = 0; i < 2; i++) {
		struct port_conf c = conf(devices[i], 1);
		struct port p;

		start(&c, &p);
		lab_sh("ip link set %s down", i ? "ve0" : "lab0");
		cr_assert(!link_of(&p).told && link_of(&p).up);
		port_stop(&p);
	}
}

/* Told by DPDK that the device goes, the port says so, and lets it go when it is stopped; it may be started again. */
Test(port, device_taken_out, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_null0", 1);
	struct port p;

	cr_assert_eq(rte_dev_probe("net_null0"), 0); /* by somebody else, as EAL does it */
	for (unsigned i = 0; i < 2; i++) {
		start(&c, &p);
		cr_assert_not(link_of(&p).gone);
		rte_dev_event_callback_process("net_null0", RTE_DEV_EVENT_REMOVE);
		cr_assert(link_of(&p).gone);
		port_stop(&p);
		cr_assert_eq(rte_eth_dev_count_avail(), 0);
	}
	rte_dev_event_callback_process("net_null0", RTE_DEV_EVENT_REMOVE); /* nobody listens */
}

/* ---- descriptors ---- */

/*
 * A stock peer's window comes in one burst: a driver's own wish is taken when it is for more than 1024, and no more
 * than it can have; the file's word is last.
 */
Test(port, descriptors)
{
	struct rte_eth_desc_lim lim = {.nb_max = 4096, .nb_min = 32, .nb_align = 8};

	cr_assert_eq(port_desc(0, 0, &lim), 1024);
	cr_assert_eq(port_desc(0, 256, &lim), 1024);
	cr_assert_eq(port_desc(0, 2048, &lim), 2048);
	cr_assert_eq(port_desc(512, 2048, &lim), 512);
	cr_assert_eq(port_desc(8192, 0, &lim), 8192, "refused, or cut, by what is said of it");
	lim.nb_max = 512;
	cr_assert_eq(port_desc(0, 256, &lim), 512);
	lim.nb_max = 0; /* no limit is told */
	cr_assert_eq(port_desc(0, 256, &lim), 1024);
}

/* ---- what wakes a worker ---- */

/* A datagram to where nobody is: the kernel asks who has the address. */
static void ask_for_neighbour(const char *ip)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(inet_pton(AF_INET, ip, &to.sin_addr), 1);
	cr_assert_eq(sendto(fd, "", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	close(fd);
}

/* net_tap's descriptor is the interface's own: readable while it holds frames, and nothing is to be told to it. */
Test(port, woken_by_tap, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_tap0,iface=lab0", 2);
	struct pollfd wake = {.events = POLLIN};
	struct rte_mbuf *m[32];
	struct port p;
	unsigned n;

	start(&c, &p);
	cr_assert_eq(p.n_rxq, 2);
	cr_assert(p.rx_fd[0] > 0 && p.rx_fd[1] > 0 && p.rx_fd[0] != p.rx_fd[1] && p.rx_fd[2] == 0);
	cr_assert_not(p.rx_intr);
	lab_sh("echo 1 > /proc/sys/net/ipv6/conf/lab0/disable_ipv6");
	for (unsigned q = 0; q < 2; q++)
		while ((n = rte_eth_rx_burst(p.id, (uint16_t)q, m, 32)))
			rte_pktmbuf_free_bulk(m, n);
	lab_sh("ip addr add 192.0.2.1/24 dev lab0");
	ask_for_neighbour("192.0.2.2");
	n = 0;
	for (unsigned q = 0; q < 2; q++) {
		wake.fd = p.rx_fd[q];
		n += poll(&wake, 1, 0) == 1 && wake.revents == POLLIN;
	}
	cr_assert_geq(n, 1, "nothing tells of the kernel's question for 192.0.2.2");
	port_stop(&p);
}

/* Two ends of vhost-user in one process; the further one is a virtio device, whose interrupts are eventfds. */
Test(port, woken_by_interrupts, .init = setup, .fini = teardown)
{
	char near[128], far[128];
	struct rte_mbuf *m, *got[8];
	struct pollfd wake = {.events = POLLIN};
	struct port host, p;
	struct port_conf c;
	uint64_t n;

	snprintf(near, sizeof(near), "net_vhost0,iface=/tmp/kcpgate-vhost-%d", getpid());
	snprintf(far, sizeof(far), "net_virtio_user0,path=/tmp/kcpgate-vhost-%d", getpid());
	c = conf(near, 1);
	start(&c, &host);
	c = conf(far, 1);
	start(&c, &p);
	cr_assert(p.rx_intr, "%d", p.rx_fd[0]);
	wait_link(&host);
	wake.fd = p.rx_fd[0];
	cr_assert_eq(poll(&wake, 1, 0), 0);
	for (unsigned round = 0; round < 3; round++) {
		cr_assert_eq(rte_eth_dev_rx_intr_enable(p.id, 0), 0);
		m = rte_pktmbuf_alloc(pool);
		memset(rte_pktmbuf_append(m, 60), 2, 60);
		cr_assert_eq(rte_eth_tx_burst(host.id, 0, &m, 1), 1);
		cr_assert_eq(poll(&wake, 1, 60000), 1);
		cr_assert_eq(read(wake.fd, &n, sizeof(n)), sizeof(n));
		cr_assert_eq(rte_eth_rx_burst(p.id, 0, got, 8), 1);
		rte_pktmbuf_free(got[0]);
		/* While we look for ourselves it is silent. */
		cr_assert_eq(rte_eth_dev_rx_intr_disable(p.id, 0), 0);
		m = rte_pktmbuf_alloc(pool);
		memset(rte_pktmbuf_append(m, 60), 2, 60);
		cr_assert_eq(rte_eth_tx_burst(host.id, 0, &m, 1), 1);
		cr_assert_eq(rte_eth_rx_burst(p.id, 0, got, 8), 1);
		rte_pktmbuf_free(got[0]);
		cr_assert_eq(poll(&wake, 1, 0), 0);
	}
	port_stop(&p);
	port_stop(&host);
}

/* Where there is nothing to be woken by, nothing is asked, and nobody waits for it. */
Test(port, woken_by_nothing, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_null0", 1);
	struct port p;

	for (unsigned i = 0; i < 2; i++) {
		c.vdev = i == 0; /* not a vdev: it is asked, and has none */
		start(&c, &p);
		cr_assert(p.rx_fd[0] == 0 && !p.rx_intr);
		port_stop(&p);
	}
}

Test(port, rss, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_null0", 4);
	struct port p;

	start(&c, &p);
	cr_assert_eq(p.n_rxq, 4);
	cr_assert_not(p.has_rss);
	cr_assert_not(p.rss.hw);
	cr_assert_eq(p.rss.workers, 4);
	port_stop(&p);

	c.vdev = false;
	start(&c, &p);
	cr_assert(p.has_rss);
	cr_assert(p.rss.hw);
	cr_assert(p.rss.hw_l4);
	cr_assert(p.rss.hw_tcp);
	cr_assert_gt(p.rss.reta_n, 0);
	for (unsigned i = 0; i < p.rss.reta_n; i++)
		cr_assert_eq(p.rss.reta[i], i % 4);
	cr_assert_eq(p.rss.key[0], 0x6d);
	port_stop(&p);
}

/* The tuple of the RSS specification's verification suite: the key and its byte order are what every NIC computes. */
Test(port, rss_key_is_the_specified_one, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_null0", 2);
	struct flow_key key = {.peer_port = 2794, .local_port = 1766};
	struct port p;

	c.vdev = false;
	start(&c, &p);
	key.peer = addr_v4(0x420995bb);	 /* 66.9.149.187 */
	key.local = addr_v4(0xa18e6450); /* 161.142.100.80 */
	cr_assert_eq(flow_home(&p.rss, &key), (0x51ccc178u & (p.rss.reta_n - 1)) % 2);
	port_stop(&p);
}

Test(port, tap, .init = setup, .fini = teardown)
{
	struct port p;

	twice("net_tap0,iface=lab0", &p);
	cr_assert_neq(if_nametoindex("lab0"), 0);
	cr_assert_eq(p.csum, 0, "net_tap's software checksums are not hardware");
	port_stop(&p);
	cr_assert_eq(if_nametoindex("lab0"), 0);
}

Test(port, af_packet, .init = setup, .fini = teardown)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *got[64];
	struct rte_ether_hdr *eth;
	struct pollfd wake = {.events = POLLIN};
	bool seen = false;
	struct port a, b;
	struct port_conf ca = conf("net_af_packet0,iface=ve0", 2), cb = conf("net_af_packet1,iface=ve1", 1);

	lab_sh("ip link add ve0 address 02:00:00:00:00:aa mtu 1400 type veth peer name ve1");
	lab_sh("ip link set ve0 up; ip link set ve1 up");
	start(&ca, &a);
	start(&cb, &b);
	cr_assert_eq(a.n_rxq, 1);
	cr_assert_not(a.has_rss);
	cr_assert_eq(a.rss.workers, 2);
	cr_assert_eq(memcmp(a.mac, "\x02\0\0\0\0\xaa", 6), 0);
	lab_sh("ip -o link show ve0 | grep -q 'mtu 1400 '"); /* the kernel's own, left alone */

	eth = (void *)rte_pktmbuf_append(m, 60);
	memset(eth, 0, 60);
	memcpy(&eth->src_addr, a.mac, 6);
	memcpy(&eth->dst_addr, b.mac, 6);
	eth->ether_type = rte_cpu_to_be_16(0x88b5);
	cr_assert_eq(rte_eth_tx_burst(a.id, 0, &m, 1), 1);
	wake.fd = b.rx_fd[0];
	cr_assert_eq(poll(&wake, 1, 60000), 1);
	cr_assert_eq(wake.revents, POLLIN);
	for (unsigned i = 0; i < 60000 && !seen; i++) {
		unsigned n = rte_eth_rx_burst(b.id, 0, got, 64);

		for (unsigned k = 0; k < n; k++)
			seen |= rte_pktmbuf_mtod(got[k], struct rte_ether_hdr *)->ether_type ==
				rte_cpu_to_be_16(0x88b5);
		rte_pktmbuf_free_bulk(got, n);
		rte_delay_us_sleep(1000);
	}
	cr_assert(seen);
	port_stop(&a);
	port_stop(&b);
}

/* Frames of the ring that the driver sends by, from the first on, which are in use. */
static unsigned in_use(const struct port_ring *r)
{
	unsigned n = 0;

	while (n < r->frames && ((const struct tpacket2_hdr *)(r->base + n * r->frame_size))->tp_status)
		n++;
	return n;
}

/* Times that packet sockets' rings are mapped, each of which counts as resident. */
static unsigned mapped(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned n = 0;

	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "socket:[") != NULL;
	fclose(f);
	return n;
}

/* Where the interface is down, what the driver took stays in its ring: there it is to be seen, whatever its sizes. */
Test(port, af_packet_ring_is_seen, .init = setup, .fini = teardown)
{
	static const char *const devices[] = {"net_af_packet0,iface=ve0", "net_af_packet0,iface=ve0,framecnt=64"};
	static const unsigned frames[] = {1024, 64};
	struct rte_mbuf *m[40];

	lab_sh("ip link add ve0 type veth peer name ve1");
	for (unsigned d = 0; d < 2; d++) {
		struct port_conf c = conf(devices[d], 1);
		struct port p;

		lab_sh("ip link set ve0 up; ip link set ve1 up");
		start(&c, &p);
		cr_assert_eq((unsigned)p.ifindex, if_nametoindex("ve0"));
		cr_assert_eq(mapped(), 1, "%u", mapped());
		cr_assert_eq(p.ring[0].frames, frames[d]);
		cr_assert_eq(p.ring[0].longest, 2048 - 32);
		cr_assert_eq(in_use(&p.ring[0]), 0);
		lab_sh("ip link set ve0 down");
		cr_assert_eq(rte_pktmbuf_alloc_bulk(pool, m, 40), 0);
		for (unsigned i = 0; i < 40; i++)
			memset(rte_pktmbuf_append(m[i], 60), 2, 60);
		cr_assert_eq(rte_eth_tx_burst(p.id, 0, m, 40), 40);
		cr_assert_eq(in_use(&p.ring[0]), 40, "%u", in_use(&p.ring[0]));
		port_stop(&p);
		cr_assert_null(p.ring[0].base);
	}
}

/* Frames that come out of the device within 50 ms and hold the mark. */
static unsigned taken(const struct port *p, const char *mark)
{
	struct rte_mbuf *got[64];
	unsigned hits = 0;

	for (unsigned i = 0; i < 50; i++) {
		unsigned n = rte_eth_rx_burst(p->id, 0, got, 64);

		for (unsigned k = 0; k < n; k++)
			hits += memmem(rte_pktmbuf_mtod(got[k], char *), got[k]->data_len, mark, strlen(mark)) != NULL;
		rte_pktmbuf_free_bulk(got, n);
		rte_delay_us_sleep(1000);
	}
	return hits;
}

/* Of what the kernel sends over lo, only what comes in is taken, and on a shared port only what can be ours. */
Test(port, af_packet_takes_ours, .init = setup, .fini = teardown)
{
	static const struct {
		bool shared, tcp;
		unsigned udp_n, tcp_n;
	} v[] = {{true, false, 1, 0}, {true, true, 1, 1}, {false, false, 1, 1}};
	const char *send =
		"python3 -c \"import socket as s\n"
		"u = s.socket(s.%s, s.SOCK_DGRAM)\nu.sendto(b'a datagram', ('%s', 9))\n"
		"l = s.create_server(('%s', 0), family=s.%s)\n"
		"c = s.create_connection(l.getsockname()[:2])\nc.send(b'a segment')\nl.accept()[0].recv(9)\n\"";

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct port_conf c = conf("net_af_packet0,iface=lo", 1);
		struct port p;

		c.shared = v[i].shared;
		c.tcp = v[i].tcp;
		start(&c, &p);
		for (unsigned six = 0; six < 2; six++) {
			const char *af = six ? "AF_INET6" : "AF_INET", *host = six ? "::1" : "127.0.0.1";
			unsigned n;

			lab_sh(send, af, host, host, af);
			n = taken(&p, "a datagram");
			if (v[i].shared) /* otherwise an ICMP error holds it again */
				cr_assert_eq(n, v[i].udp_n, "%u %s", i, host);
			lab_sh(send, af, host, host, af);
			cr_assert_eq(taken(&p, "a segment"), v[i].tcp_n, "%u %s", i, host);
		}
		port_stop(&p);
	}
}

Test(port, qpairs, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_packet0,iface=lo,qpairs=2", 4);
	struct port p;

	start(&c, &p);
	cr_assert_eq(p.n_rxq, 2);
	cr_assert_eq(p.n_txq, 2);
	cr_assert_eq(p.rss.workers, 4);
	cr_assert(p.rx_fd[0] > 0 && p.rx_fd[1] > p.rx_fd[0] && p.rx_fd[2] == 0);
	port_stop(&p);
}

Test(port, devargs)
{
	char buf[PORT_DEVARGS_MAX], longest[PORT_DEVARGS_MAX];
	struct port_conf c = {.device = "net_af_packet0,iface=eth0", .vdev = true, .mtu = 1500};

	cr_assert_eq(port_devargs(&c, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, "net_af_packet0,iface=eth0,blocksz=4096,framesz=2048,framecnt=1024");
	c.mtu = 9000;
	cr_assert_eq(port_devargs(&c, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, "net_af_packet0,iface=eth0,blocksz=16384,framesz=16384,framecnt=1024");
	c.iface = "eth7"; /* instead of its own, wherever that stands */
	c.device = "net_af_xdp0,start_queue=1,iface=eth0,queue_count=2";
	cr_assert_eq(port_devargs(&c, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, "net_af_xdp0,start_queue=1,iface=eth7,queue_count=2");
	c.device = "net_af_xdp0,start_queue=1";
	cr_assert_eq(port_devargs(&c, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, "net_af_xdp0,start_queue=1,iface=eth7");
	c.iface = NULL;
	c.device = "net_af_packet0,iface=eth0,framecnt=64";
	cr_assert_eq(port_devargs(&c, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, c.device);
	c.device = "net_null0";
	cr_assert_eq(port_devargs(&c, buf, sizeof(buf)), 0);
	cr_assert_str_eq(buf, c.device);
	cr_assert_eq(port_devargs(&c, buf, 4), -E2BIG);
	/* The longest that a file may have. */
	snprintf(longest, sizeof(longest), "net_af_packet0,iface=eth0,%0*d", LIMIT_DEVICE - 26, 0);
	cr_assert_eq(strlen(longest), LIMIT_DEVICE);
	c.device = longest;
	c.mtu = LIMIT_PORT_MTU;
	cr_assert_eq(port_devargs(&c, buf, PORT_DEVARGS_MAX), 0);
}

static void refused(struct port_conf c, const char *text)
{
	uint16_t before = rte_eth_dev_count_avail();
	struct port p;

	cr_assert_lt(port_start(&c, &p, why, sizeof(why)), 0, "%s", c.device);
	cr_assert(strstr(why, text), "%s", why);
	cr_assert_null(strchr(why, '\n'));
	cr_assert_eq(rte_eth_dev_count_avail(), before);
	cr_assert_not(p.started);
}

Test(port, refusals, .init = setup, .fini = teardown)
{
	struct port_conf big = conf("net_null0", 1), pci = conf("0000:ff:1f.7", 1),
			 many = conf("net_tap0,iface=lab0", 1);

	refused(conf("net_af_packet0,iface=eth9", 1), "port wan0: net_af_packet0,iface=eth9: no interface eth9");
	refused(conf("net_af_packet0", 1), "iface=NAME is missing");
	refused(conf("net_nothing0", 1), "check the driver's name");
	refused(conf("net_null0", 0), "0 workers");
	big.mtu = 9000;
	refused(big, "mtu 9000 needs packet buffers of");
	pci.vdev = false;
	refused(pci, "no PCI device at this address");
	lab_sh("ip tuntap add dev lab0 mode tap");
	lab_sh("ip link add name lab1 type veth peer name lab2");
	many.device = "net_tap0,iface=lab1";
	refused(many, "port wan0: net_tap0,iface=lab1: ");
}
