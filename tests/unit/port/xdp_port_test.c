/* SPDX-License-Identifier: MIT */

/* A shared port by AF_XDP on a veth, whose other end is the test's: which frames come, which are the kernel's. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <xdp/libxdp.h>

#include "le.h"
#include "net.h"
#include "net_wire.h"
#include "ns.h"
#include "port.h"
#include "port_int.h"
#include "xdp_load.h"
#include "xdp_port.h"

#define OURS   4000
#define THEIRS 53
#define LONG   60000 /* ms: a guard against hanging */

static struct rte_mempool *pool, *pools[8];
static char why[512];
static int far = -1; /* a packet socket on the other end */

static int packet_socket(const char *iface, bool in)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_protocol = in ? htons(ETH_P_ALL) : 0,
				 .sll_ifindex = (int)if_nametoindex(iface)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), room = 8 << 20;

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0, "%s: %s", iface, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return fd;
}

static void setup(void)
{
	struct net_tbl *t = net_tbl_alloc(0, 0, 1);

	lab_enter();
	/* For programs side by side. */
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	lab_sh("mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf");
	lab_sh("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
	pool = rte_pktmbuf_pool_create("ports", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	cr_assert_not_null(pool);
	for (unsigned i = 0; i < 8; i++)
		pools[i] = pool;
	t->local[0].addr = addr_v4(0xc0000207);
	t->n_local = 1;
	port_xdp_locals(t);
	net_tbl_free(t);
	port_xdp_serve(FLOW_UDP, OURS, true);
}

static void teardown(void)
{
	if (far >= 0)
		close(far);
	rte_mempool_free(pool);
}

static void veth(unsigned queues, const char *more)
{
	lab_sh("ip link add ve0 address 02:00:00:00:00:aa %s numrxqueues %u numtxqueues %u type veth peer name ve1 %s "
	       "numrxqueues %u numtxqueues %u",
	       more, queues, queues, more, queues, queues);
	lab_sh("ip link set ve0 up; ip link set ve1 up");
	far = packet_socket("ve1", true);
}

static struct port_conf conf(const char *device, unsigned workers)
{
	return (struct port_conf){.name = "wan0",
				  .device = device,
				  .vdev = true,
				  .workers = workers,
				  .mtu = 1500,
				  .pools = pools,
				  .shared = true};
}

static void start(const struct port_conf *c, struct port *p)
{
	cr_assert_eq(port_start(c, p, why, sizeof(why)), 0, "%s", why);
	cr_assert(p->started);
	cr_assert_not_null(p->xdp);
}

static unsigned udp(uint8_t *b, uint16_t from, uint16_t to, unsigned payload)
{
	static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 1, 192, 0, 2, 7};
	uint16_t sum;

	memset(b, 0, ETH_HEAD + IP4_HEAD + UDP_HEAD + payload);
	memcpy(b, "\x02\0\0\0\0\xaa\x02\0\0\0\0\xbb\x08\0", ETH_HEAD);
	memcpy(b + ETH_HEAD, ip, sizeof(ip));
	be16_put(b + ETH_HEAD + IP4_LEN, (uint16_t)(IP4_HEAD + UDP_HEAD + payload));
	sum = net_sum_fold(net_sum(b + ETH_HEAD, IP4_HEAD, 0));
	memcpy(b + ETH_HEAD + IP4_CSUM, &sum, 2);
	be16_put(b + ETH_HEAD + IP4_HEAD + UDP_SRC, from);
	be16_put(b + ETH_HEAD + IP4_HEAD + UDP_DST, to);
	be16_put(b + ETH_HEAD + IP4_HEAD + UDP_LEN, (uint16_t)(UDP_HEAD + payload));
	return (unsigned)(ETH_HEAD + IP4_HEAD + UDP_HEAD + payload);
}

static void send_from(int fd, uint16_t from, uint16_t to, unsigned payload)
{
	uint8_t b[4096];
	unsigned n = udp(b, from, to, payload);

	cr_assert_eq(send(fd, b, n, 0), (ssize_t)n, "%s", strerror(errno));
}

static uint16_t port_to(const uint8_t *b, size_t n)
{
	return n < ETH_HEAD + IP4_HEAD + 4 || be16_get(b + ETH_TYPE) != ETH_T_IPV4 ? 0 : be16_get(b + 36);
}

/* Frames to `to` that the device has, until there are `want` or nothing has come for 200 ms. */
static unsigned taken(const struct port *p, uint16_t to, unsigned want)
{
	struct rte_mbuf *got[64];
	unsigned hits = 0;

	for (unsigned quiet = 0; quiet < 200 && hits < want; quiet++) {
		for (uint16_t q = 0; q < p->n_rxq; q++) {
			unsigned n = rte_eth_rx_burst(p->id, q, got, 64);

			for (unsigned k = 0; k < n; k++)
				hits += port_to(rte_pktmbuf_mtod(got[k], uint8_t *), got[k]->data_len) == to;
			rte_pktmbuf_free_bulk(got, n);
			quiet = n ? 0 : quiet;
		}
		rte_delay_us_sleep(1000);
	}
	return hits;
}

/* However many, of any kind. */
static unsigned came(const struct port *p, unsigned want)
{
	struct rte_mbuf *got[64];
	unsigned hits = 0;

	for (unsigned i = 0; i < 200 && hits < want; i++) {
		unsigned n = rte_eth_rx_burst(p->id, 0, got, 64);

		rte_pktmbuf_free_bulk(got, n);
		hits += n;
		rte_delay_us_sleep(1000);
	}
	return hits;
}

/* The same of what a packet socket has. */
static unsigned heard(int fd, uint16_t to, unsigned want)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	uint8_t b[4096];
	unsigned hits = 0;

	while (hits < want && poll(&wait, 1, 200) == 1) {
		ssize_t n = recv(fd, b, sizeof(b), 0);

		hits += n > 0 && port_to(b, (size_t)n) == to;
	}
	return hits;
}

static void send_by(const struct port *p, uint16_t to, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint8_t *b = (uint8_t *)rte_pktmbuf_append(m, 1442);

		udp(b, OURS, to, 1400);
		for (unsigned k = 0; rte_eth_tx_burst(p->id, 0, &m, 1) != 1; k++) {
			cr_assert_lt(k, LONG);
			rte_delay_us_sleep(1000);
		}
	}
}

/* What is ours comes in, all else goes to the kernel; what we send leaves; and all of it is counted. */
Test(xdp_port, steers, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=ve0", 1);
	struct port_xdp_stats now;
	struct rte_eth_stats st;
	struct pollfd wake;
	struct port p;
	int near;

	veth(1, "");
	near = packet_socket("ve0", true);
	start(&c, &p);
	cr_assert_str_eq(p.driver, "net_af_xdp");
	cr_assert_eq((unsigned)p.ifindex, if_nametoindex("ve0"));
	cr_assert_eq(memcmp(p.mac, "\x02\0\0\0\0\xaa", 6), 0);
	wake = (struct pollfd){.fd = p.rx_fd[0], .events = POLLIN};
	cr_assert_eq(poll(&wake, 1, 0), 0);
	send_from(far, 9, OURS, 1400);
	cr_assert_eq(poll(&wake, 1, LONG), 1);
	send_from(far, 9, THEIRS, 100);
	cr_expect_eq(taken(&p, OURS, 2), 1);
	cr_expect_eq(heard(near, THEIRS, 2), 1);
	send_from(far, 9, OURS, 100);
	send_from(far, 9, THEIRS, 100);
	cr_expect_eq(taken(&p, THEIRS, 1), 0);
	cr_expect_eq(heard(near, OURS, 1), 0);

	send_by(&p, 7, 3000);
	cr_expect_eq(heard(far, 7, 3000), 3000);
	cr_assert_eq(rte_eth_stats_get(p.id, &st), 0);
	cr_expect_eq(st.ipackets, 2);
	cr_expect_eq(st.opackets, 3000);
	cr_assert(port_xdp_stats(p.xdp, &now));
	cr_expect_not(now.skb || now.zero_copy);
	cr_expect_eq(now.sockets, 1);
	cr_expect_eq(now.lost, 0);
	port_stop(&p);
	cr_assert(rte_mempool_full(pool));

	/* One of fake TCP's is another than UDP's. */
	port_xdp_serve(FLOW_UDP, OURS, false);
	port_xdp_serve(FLOW_TCP, OURS, true);
	start(&c, &p);
	send_from(far, 9, OURS, 100);
	cr_expect_eq(taken(&p, OURS, 1), 0);
	port_stop(&p);
	port_xdp_serve(FLOW_TCP, OURS, false);
	port_xdp_serve(FLOW_UDP, OURS, true);

	/* A port that is not ours any more, before the device is there again. */
	port_xdp_serve(FLOW_UDP, OURS, false);
	start(&c, &p);
	send_from(far, 9, OURS, 100);
	cr_expect_eq(taken(&p, OURS, 1), 0);
	port_xdp_serve(FLOW_UDP, OURS, true);
	send_from(far, 9, OURS, 100);
	cr_expect_eq(taken(&p, OURS, 1), 1);
	port_stop(&p);
	lab_sh("! ip link show ve0 | grep -q xdp");
	close(near);
}

/* All queues of the interface are read, however few workers there are. */
Test(xdp_port, every_queue, .init = setup, .fini = teardown)
{
	for (unsigned workers = 1; workers <= 8; workers = workers * 2 + (workers == 2)) {
		struct port_conf c = conf("net_af_xdp0,iface=ve0", workers);
		struct pollfd wake[8];
		struct port p;

		veth(4, "");
		start(&c, &p);
		cr_assert_eq(p.n_rxq, workers < 4 ? workers : 4);
		for (unsigned i = 0; i < 256; i++)
			send_from(far, (uint16_t)(1000 + i), OURS, 100);
		for (unsigned q = 0; q < p.n_rxq; q++) {
			wake[q] = (struct pollfd){.fd = p.rx_fd[q], .events = POLLIN};
			cr_expect_eq(poll(&wake[q], 1, LONG), 1, "queue %u wakes nobody", q);
		}
		cr_expect_eq(taken(&p, OURS, 256), 256);
		for (unsigned q = 0; q < p.n_rxq; q++)
			cr_expect_eq(poll(&wake[q], 1, 0), 0);
		port_stop(&p);
		close(far);
		lab_sh("ip link del ve0");
	}
	far = -1;
}

/* An interface whose driver knows no XDP: behind the kernel's sk_buffs, then. */
Test(xdp_port, skb, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=mv0", 1);
	struct port_xdp_stats now;
	struct port p;
	int near;

	veth(1, "");
	lab_sh("ip link set ve0 address 02:00:00:00:00:ab");
	lab_sh("ip link add mv0 address 02:00:00:00:00:aa link ve0 type macvlan && ip link set mv0 up");
	near = packet_socket("mv0", true);
	start(&c, &p);
	cr_assert(port_xdp_stats(p.xdp, &now));
	cr_expect(now.skb);
	send_from(far, 9, OURS, 1400);
	send_from(far, 9, THEIRS, 100);
	cr_expect_eq(taken(&p, OURS, 2), 1);
	cr_expect_eq(heard(near, THEIRS, 2), 1);
	send_by(&p, 7, 500);
	cr_expect_eq(heard(far, 7, 500), 500);
	port_stop(&p);
	lab_sh("! ip link show mv0 | grep -q xdp");
	close(near);
}

/* Of a trunk, one VLAN; where its tags are taken off first, no program can tell. */
Test(xdp_port, vlan, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=ve0", 1);
	struct port p;
	uint8_t b[256];
	unsigned n = udp(b, 9, OURS, 100);

	veth(1, "");
	c.vlan = 7;
	cr_assert_eq(port_start(&c, &p, why, sizeof(why)), -ENOTSUP);
	cr_expect_not_null(strstr(why, "ethtool -K ve0 rxvlan off"), "%s", why);
	lab_sh("ethtool -K ve0 rxvlan off");
	start(&c, &p);
	memmove(b + 16, b + 12, n - 12);
	be16_put(b + 12, ETH_T_VLAN);
	for (uint16_t vlan = 6; vlan <= 8; vlan++) {
		be16_put(b + 14, vlan);
		cr_assert_eq(send(far, b, n + ETH_VLAN, 0), (ssize_t)n + ETH_VLAN);
	}
	send_from(far, 9, OURS, 100);
	cr_expect_eq(came(&p, 3), 1);
	port_stop(&p);
}

/* Frames of the interface may be longer than ours. */
Test(xdp_port, jumbo, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=ve0", 1);
	struct port p;
	int near;

	veth(1, "mtu 9000");
	near = packet_socket("ve0", true);
	start(&c, &p);
	send_from(far, 9, OURS, 3000);
	cr_expect_eq(heard(near, OURS, 1), 1, "too long for a socket, and not the kernel's either");
	send_from(far, 9, OURS, 1400);
	cr_expect_eq(taken(&p, OURS, 2), 1);
	port_stop(&p);
	close(near);
}

/* ---- programs that are there already ---- */

/* As a process that is killed: nothing is detached. */
static void leave_behind(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		const struct port_xdp_conf pc = {.max_ip = 1500};
		struct port_xdp_prog x;
		bool alone;

		_exit(port_xdp_attach(&x, (int)if_nametoindex("ve0"), 1, &pc, &alone, why, sizeof(why)));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	lab_sh("ip link show ve0 | grep -q xdp");
}

Test(xdp_port, leftover, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=ve0", 1);
	struct port p;
	int near;

	veth(1, "");
	near = packet_socket("ve0", true);
	leave_behind();
	send_from(far, 9, OURS, 100);
	send_from(far, 9, THEIRS, 100);
	cr_expect_eq(heard(near, OURS, 1), 1, "a program that was left behind cuts the kernel off");
	cr_expect_eq(heard(near, THEIRS, 1), 1);
	start(&c, &p);
	send_from(far, 9, OURS, 100);
	cr_expect_eq(taken(&p, OURS, 2), 1);
	port_stop(&p);
	lab_sh("! ip link show ve0 | grep -q xdp");
	close(near);
}

/* A program that counts and passes, as an operator may have one. */
static const struct bpf_insn passes[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 2}, /* XDP_PASS */
	{.code = BPF_JMP | BPF_EXIT},
};

static int load_foreign(void)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts);
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "somebodys", "GPL", passes, 2, &opts);

	cr_assert_geq(fd, 0, "%s", strerror(errno));
	return fd;
}

Test(xdp_port, foreign_without_place, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=ve0", 1);
	struct port p;
	int fd;

	veth(1, "");
	fd = load_foreign();
	cr_assert_eq(bpf_xdp_attach((int)if_nametoindex("ve0"), fd, 0, NULL), 0);
	cr_assert_eq(port_start(&c, &p, why, sizeof(why)), -EBUSY);
	cr_expect_not_null(strstr(why, "somebodys"), "%s", why);
	cr_expect_not_null(strstr(why, "xdp-loader"), "%s", why);
	lab_sh("ip -d link show ve0 | grep -q 'xdp.* id '");
	lab_sh("ip link set ve0 xdp off");
	start(&c, &p);
	port_stop(&p);
	close(fd);
}

/* Somebody's filter, of xdp-tools, which is loaded by libxdp: both have a place, whoever comes first. */
static struct xdp_program *filter_on(void)
{
	struct xdp_program *p = xdp_program__find_file("xdpfilt_dny_all.o", NULL, NULL);

	cr_assert_eq(libxdp_get_error(p), 0);
	cr_assert_eq(xdp_program__attach(p, (int)if_nametoindex("ve0"), XDP_MODE_NATIVE, 0), 0);
	return p;
}

static void filter_off(struct xdp_program *p)
{
	cr_assert_eq(xdp_program__detach(p, (int)if_nametoindex("ve0"), XDP_MODE_NATIVE, 0), 0);
	xdp_program__close(p);
}

Test(xdp_port, beside_another, .init = setup, .fini = teardown)
{
	for (unsigned first = 0; first < 2; first++) {
		struct port_conf c = conf("net_af_xdp0,iface=ve0", 1);
		struct xdp_program *filter = NULL;
		struct port_xdp_stats now;
		struct port p;

		veth(1, "");
		if (first)
			filter = filter_on();
		start(&c, &p);
		cr_assert(port_xdp_stats(p.xdp, &now));
		if (now.alone)
			cr_skip_test("this kernel lets nobody put programs into programs");
		if (!first) {
			send_from(far, 9, OURS, 100);
			cr_expect_eq(taken(&p, OURS, 2), 1);
			filter = filter_on();
		}
		send_from(far, 9, OURS, 100); /* it denies everything */
		cr_expect_eq(taken(&p, OURS, 1), 0, "the other program is not asked");
		if (first) {
			port_stop(&p);
			lab_sh("ip link show ve0 | grep -q xdp");
			filter_off(filter);
		} else {
			filter_off(filter);
			send_from(far, 9, OURS, 100);
			cr_expect_eq(taken(&p, OURS, 2), 1);
			port_stop(&p);
		}
		lab_sh("! ip link show ve0 | grep -q xdp");
		close(far);
		lab_sh("ip link del ve0");
	}
	far = -1;
}

Test(xdp_port, second_process, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=ve0", 1), again = conf("net_af_xdp1,iface=ve0", 1);
	struct port p, q;

	veth(1, "");
	start(&c, &p);
	cr_assert_eq(port_start(&again, &q, why, sizeof(why)), -EBUSY);
	cr_expect_not_null(strstr(why, "queue 0 of interface ve0"), "%s", why);
	send_from(far, 9, OURS, 100);
	cr_expect_eq(taken(&p, OURS, 1), 1, "whom another has asked beside");
	port_stop(&p);
}

Test(xdp_port, interface_gone, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=ve0", 1);
	struct port p;

	veth(1, "");
	start(&c, &p);
	lab_sh("ip link del ve0");
	close(far);
	port_stop(&p);
	lab_sh("test -z \"$(ls /sys/fs/bpf/xdp 2>/dev/null)\"");
	veth(1, "");
	start(&c, &p);
	send_from(far, 9, OURS, 100);
	cr_expect_eq(taken(&p, OURS, 1), 1);
	port_stop(&p);
}

Test(xdp_port, loopback, .init = setup, .fini = teardown)
{
	struct port_conf c = conf("net_af_xdp0,iface=lo", 1);
	struct port p;

	cr_assert_eq(port_start(&c, &p, why, sizeof(why)), -ENOTSUP);
	cr_expect_not_null(strstr(why, "net_af_packet"), "%s", why);
	c.device = "net_af_xdp0";
	cr_assert_eq(port_start(&c, &p, why, sizeof(why)), -EINVAL);
	c.device = "net_af_xdp0,iface=none";
	cr_assert_eq(port_start(&c, &p, why, sizeof(why)), -ENODEV);
}
