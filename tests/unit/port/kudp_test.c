/* SPDX-License-Identifier: MIT */

/*
 * A port of UDP sockets against plain sockets, which send and receive one datagram at a time: what comes by it are the
 * same bytes in the same order, whatever the kernel joins and cuts on the way.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "kudp.h"
#include "le.h"
#include "net.h"
#include "net_wire.h"
#include "ns.h"
#include "port.h"

#define GUARD_MS 60000
#define MOST	 600

static struct rte_mempool *pool, *pools[8];
static char why[256];
static struct port port;
static struct kudp_set *set;
static uint16_t our_port;

static void setup(void)
{
	lab_enter();
	pool = rte_pktmbuf_pool_create("kudp", 8191, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	cr_assert_not_null(pool);
	for (unsigned i = 0; i < 8; i++)
		pools[i] = pool;
}

/* Every buffer has come back. */
static void teardown(void)
{
	if (set)
		kudp_close(port.kudp, set);
	port_stop(&port);
	cr_assert_eq(rte_mempool_avail_count(pool), 8191);
	rte_mempool_free(pool);
}

static void start(unsigned workers)
{
	struct port_conf c = {.name = "sock0",
			      .device = "net_kudp0",
			      .vdev = true,
			      .workers = workers,
			      .mtu = 1500,
			      .pools = pools,
			      .shared = true};

	cr_assert_eq(port_start(&c, &port, why, sizeof(why)), 0, "%s", why);
	cr_assert_not_null(port.kudp);
	cr_assert_str_eq(port.driver, "net_kudp");
}

static void listen_on(const char *host, int queue, bool floating)
{
	struct kudp_conf c = {.queue = queue, .floating = floating, .buffer = 4 << 20};
	struct addr a;

	if (host) {
		cr_assert_eq(addr_parse(host, &a), 0);
		c.host = &a;
	}
	cr_assert_eq(kudp_open(port.kudp, &c, &set, &our_port), 0);
	cr_assert_neq(our_port, 0);
}

/* A plain socket on a loopback address, connected to `to`:our_port. */
static int peer_socket(const char *from, const char *to)
{
	int family = strchr(from, ':') ? AF_INET6 : AF_INET, bytes = 4 << 20;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr *sa = family == AF_INET ? (void *)&four : (void *)&six;
	void *at = family == AF_INET ? (void *)&four.sin_addr : (void *)&six.sin6_addr;
	socklen_t n = family == AF_INET ? sizeof(four) : sizeof(six);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	cr_assert_eq(inet_pton(family, from, at), 1);
	cr_assert_eq(bind(fd, sa, n), 0);
	cr_assert_eq(inet_pton(family, to, at), 1);
	four.sin_port = six.sin6_port = htons(our_port);
	cr_assert_eq(connect(fd, sa, n), 0);
	return fd;
}

static uint16_t socket_port(int fd)
{
	struct sockaddr_in6 sa;
	socklen_t n = sizeof(sa);

	getsockname(fd, (struct sockaddr *)&sa, &n);
	return ntohs(sa.sin6_port);
}

static void fill(uint8_t *p, unsigned n, unsigned seed)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(seed * 131 + i * 7 + (i >> 8));
}

/* Frames of one queue, until there are as many; in no less than the guard's time. */
static unsigned receive(uint16_t queue, struct rte_mbuf **m, unsigned want)
{
	uint64_t end = lab_ms() + GUARD_MS;
	unsigned n = 0;

	while (n < want && lab_ms() < end) {
		struct pollfd p = {.fd = port.rx_fd[queue], .events = POLLIN};
		unsigned got = rte_eth_rx_burst(port.id, queue, m + n, (uint16_t)(want - n < 50 ? want - n : 50));

		n += got;
		if (got == 0)
			poll(&p, 1, 100);
	}
	cr_assert_eq(n, want);
	cr_assert_eq(rte_eth_rx_burst(port.id, queue, m + n, 8), 0);
	return n;
}

/* A frame through the parser, on a port of sockets. */
static struct pkt parse(struct rte_mbuf *m, struct flow_key *key)
{
	static struct net_ports ports;
	struct net_tbl *t = net_tbl_alloc(0, 0, 0);
	struct pkt k = {.p = rte_pktmbuf_mtod(m, uint8_t *), .n = m->data_len};

	t->n_dev = 1;
	t->dev[0].sockets = true;
	net_tbl_sort(t);
	ports.of[our_port] = 1;
	net_parse_burst(&k, key, 1, t, &ports);
	net_tbl_free(t);
	return k;
}

static void check_frame(struct rte_mbuf *m, unsigned n, unsigned seed, const char *peer, uint16_t peer_port,
			const char *local)
{
	uint8_t want[2048];
	struct flow_key key;
	struct pkt k = parse(m, &key);
	char text[ADDR_STRLEN];

	cr_assert_eq(k.verdict, VERDICT_OK, "verdict %u", k.verdict);
	cr_assert_eq(k.n, n, "%u bytes, not %u", k.n, n);
	fill(want, n, seed);
	cr_assert_eq(memcmp(k.p, want, n), 0);
	cr_assert_str_eq(addr_str(&key.peer, text), peer);
	cr_assert_str_eq(addr_str(&key.local, text), local);
	cr_assert_eq(key.peer_port, peer_port);
	cr_assert_eq(m->port, port.id);
	cr_assert_eq(m->pkt_len, m->data_len);
	cr_assert_eq(m->nb_segs, 1);
	cr_assert(net_sum_ok(rte_pktmbuf_mtod(m, uint8_t *), &k));
}

static const unsigned sizes[] = {0, 1, 2, 100, 1399, 1400, 1400, 1400, 1401, 1472, 1500, 7, 1400, 0, 600, 600};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void take_singles(const char *from, const char *to, const char *host, bool floating, const char *local)
{
	struct rte_mbuf *m[MOST];
	uint8_t buf[2048];
	int fd;

	start(1);
	listen_on(host, 0, floating);
	fd = peer_socket(from, to);
	for (unsigned i = 0; i < N_SIZES; i++) {
		fill(buf, sizes[i], i);
		cr_assert_eq(send(fd, buf, sizes[i], 0), (ssize_t)sizes[i]);
	}
	receive(0, m, N_SIZES);
	for (unsigned i = 0; i < N_SIZES; i++)
		check_frame(m[i], sizes[i], i, from, socket_port(fd), local);
	rte_pktmbuf_free_bulk(m, N_SIZES);
	close(fd);
}

Test(kudp, singles_v4, .init = setup, .fini = teardown)
{
	take_singles("127.0.0.2", "127.0.0.3", NULL, false, "127.0.0.3");
}

Test(kudp, singles_v6, .init = setup, .fini = teardown)
{
	take_singles("::1", "::1", NULL, false, "::1");
}

Test(kudp, singles_bound_v4, .init = setup, .fini = teardown)
{
	take_singles("127.0.0.2", "127.0.0.9", "127.0.0.9", false, "127.0.0.9");
}

Test(kudp, singles_floating_v4, .init = setup, .fini = teardown)
{
	take_singles("127.0.0.2", "127.0.0.4", NULL, true, "0.0.0.0");
}

Test(kudp, singles_floating_v6, .init = setup, .fini = teardown)
{
	take_singles("::1", "::1", NULL, true, "::");
}

Test(kudp, no_ipv6, .init = setup, .fini = teardown)
{
	lab_sh("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
	take_singles("127.0.0.2", "127.0.0.3", NULL, false, "127.0.0.3");
}

/* ---- runs that the kernel hands over as one ---- */

static void send_run(int fd, unsigned segment, unsigned bytes, unsigned seed)
{
	uint8_t *buf = malloc(bytes), *at = buf;
	int v = (int)segment;

	for (unsigned left = bytes; left;) {
		unsigned n = left < segment ? left : segment;

		fill(at, n, seed++);
		at += n;
		left -= n;
	}
	cr_assert_eq(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &v, sizeof(v)), 0);
	cr_assert_eq(send(fd, buf, bytes, 0), (ssize_t)bytes, "%u of %u: %s", bytes, segment, strerror(errno));
	v = 0;
	setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &v, sizeof(v));
	free(buf);
}

/* Datagrams of `segment` bytes, `bytes` in all, several times over: how the first comes is not how the second does. */
static void take_run(const char *from, const char *to, unsigned segment, unsigned bytes)
{
	unsigned n = (bytes + segment - 1) / segment, last = bytes - (n - 1) * segment;
	int fd = peer_socket(from, to);
	struct rte_mbuf *m[MOST];

	for (unsigned round = 0; round < 4; round++) {
		send_run(fd, segment, bytes, round);
		receive(0, m, n);
		for (unsigned i = 0; i < n; i++)
			check_frame(m[i], i + 1 < n ? segment : last, round + i, from, socket_port(fd), to);
		rte_pktmbuf_free_bulk(m, n);
	}
	close(fd);
}

static void take_runs(const char *from, const char *to)
{
	static const unsigned cut[][2] = {
		{1400, 1401},
		{1400, 2800},
		{1400, 2799},
		{1400, 14000},
		{1400, 14001},
		{1400, 15399},
		{1400, 46 * 1400},
		{1400, 45 * 1400 + 1},
		{1, 2},
		{1, 64},
		{1000, 64000},
		{1000, 63001},
		{1472, 44 * 1472},
		{600, 601},
		{1350, 13 * 1350},
		{1340, 13 * 1340 - 1300},
	};
	struct kudp_stats s;

	start(1);
	listen_on(NULL, 0, false);
	for (unsigned i = 0; i < sizeof(cut) / sizeof(cut[0]); i++)
		take_run(from, to, cut[i][0], cut[i][1]);
	kudp_stats(port.kudp, &s);
	cr_assert_gt(s.rx_joined, 1000, "the kernel has joined nothing: %lu", s.rx_joined);
	cr_assert_lt(s.rx_recut, s.rx_joined, "%lu of %lu copied twice", s.rx_recut, s.rx_joined);
}

Test(kudp, runs_v4, .init = setup, .fini = teardown)
{
	take_runs("127.0.0.2", "127.0.0.3");
}

Test(kudp, runs_v6, .init = setup, .fini = teardown)
{
	take_runs("::1", "::1");
}

/* Runs and singles of all sizes by several peers, in one queue's socket: each peer's come in its order. */
Test(kudp, runs_mixed, .init = setup, .fini = teardown)
{
	unsigned sent[3] = {0}, got[3] = {0};
	struct rte_mbuf *m[MOST];
	int fd[3];

	start(1);
	listen_on(NULL, 0, false);
	for (unsigned p = 0; p < 3; p++)
		fd[p] = peer_socket("127.0.0.2", "127.0.0.3");
	srand(1);
	for (unsigned i = 0; i < 40; i++) {
		unsigned p = (unsigned)rand() % 3, segment = 1 + (unsigned)rand() % 1400,
			 n = 1 + (unsigned)rand() % (65000 / segment < 30 ? 65000 / segment : 30);
		uint8_t buf[65536];

		for (unsigned j = 0; j < n; j++)
			memset(buf + j * segment, (int)(sent[p] + j), segment);
		setsockopt(fd[p], IPPROTO_UDP, UDP_SEGMENT, &(int){(int)segment}, sizeof(int));
		cr_assert_eq(send(fd[p], buf, n * segment, 0), (ssize_t)(n * segment));
		sent[p] += n;
		for (unsigned left = n; left;) {
			unsigned k = receive(0, m, left);

			for (unsigned j = 0; j < k; j++) {
				struct flow_key key;
				struct pkt pk = parse(m[j], &key);
				unsigned of = 0;

				while (of < 2 && socket_port(fd[of]) != key.peer_port)
					of++;
				cr_assert_eq(pk.n, segment);
				for (unsigned b = 0; b < pk.n; b++)
					cr_assert_eq(pk.p[b], (uint8_t)got[of]);
				got[of]++;
			}
			rte_pktmbuf_free_bulk(m, k);
			left -= k;
		}
	}
	for (unsigned p = 0; p < 3; p++) {
		cr_assert_eq(got[p], sent[p]);
		close(fd[p]);
	}
}

/* ---- sending ---- */

static struct rte_mbuf *frame(const struct flow_key *key, unsigned n, unsigned seed, uint8_t tclass)
{
	struct net_ends ends = {.key = key, .traffic_class = tclass, .csum = port.csum};
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct net_path path;
	struct pkt k;

	cr_assert_not_null(m);
	k = (struct pkt){.p = rte_pktmbuf_mtod(m, uint8_t *), .n = (uint16_t)n};
	fill(k.p, n, seed);
	net_path_init(&path, &ends);
	net_push(&path, &k);
	m->data_off = (uint16_t)(k.p - (uint8_t *)m->buf_addr);
	m->data_len = k.n;
	m->pkt_len = k.n;
	return m;
}

static void check_datagram(int fd, unsigned n, unsigned seed)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t buf[65536], want[2048];
	ssize_t got;

	cr_assert_eq(poll(&p, 1, GUARD_MS), 1, "no datagram came");
	got = recv(fd, buf, sizeof(buf), 0);
	cr_assert_eq(got, (ssize_t)n, "%zd bytes, not %u", got, n);
	fill(want, n, seed);
	cr_assert_eq(memcmp(buf, want, n), 0);
}

static struct flow_key key_to(const char *local, const char *peer, int fd)
{
	struct flow_key key = {.local_port = our_port, .peer_port = socket_port(fd)};

	cr_assert_eq(addr_parse(local, &key.local), 0);
	cr_assert_eq(addr_parse(peer, &key.peer), 0);
	return key;
}

static void send_frames(struct rte_mbuf **m, unsigned n)
{
	uint64_t end = lab_ms() + GUARD_MS;

	for (unsigned at = 0; at < n && lab_ms() < end;)
		at += rte_eth_tx_burst(port.id, 0, m + at, (uint16_t)(n - at));
}

/* Sizes, a train each, in one burst: to a plain socket they are datagrams one by one. */
static void give(const char *local, const char *peer)
{
	static const unsigned train[][2] = {{1400, 1}, {1400, 2},  {1400, 46}, {1400, 47}, {1400, 64}, {100, 64},
					    {100, 65}, {100, 130}, {1, 3},     {0, 1},	   {0, 2},     {1472, 44},
					    {1000, 5}, {999, 5},   {1001, 5},  {1500, 3},  {1, 1},     {1350, 13}};
	unsigned n = 0, at = 0;
	struct rte_mbuf *m[MOST];
	struct flow_key key;
	struct kudp_stats s;
	int fd;

	start(1);
	listen_on(NULL, 0, false);
	fd = peer_socket(peer, local);
	key = key_to(local, peer, fd);
	for (unsigned i = 0; i < sizeof(train) / sizeof(train[0]); i++)
		for (unsigned j = 0; j < train[i][1]; j++, n++)
			m[n] = frame(&key, train[i][0], n, 0);
	send_frames(m, n);
	for (unsigned i = 0; i < sizeof(train) / sizeof(train[0]); i++)
		for (unsigned j = 0; j < train[i][1]; j++, at++)
			check_datagram(fd, train[i][0], at);
	kudp_stats(port.kudp, &s);
	cr_assert_gt(s.tx_runs, 8);
	cr_assert_eq(s.tx_failed + s.tx_no_socket + s.tx_no_udp + s.tx_refused + s.tx_unreachable, 0);
	close(fd);
}

Test(kudp, sends_v4, .init = setup, .fini = teardown)
{
	give("127.0.0.3", "127.0.0.2");
}

Test(kudp, sends_v6, .init = setup, .fini = teardown)
{
	give("::1", "::1");
}

Test(kudp, sends_floating, .init = setup, .fini = teardown)
{
	struct flow_key key;
	char text[ADDR_STRLEN];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	struct rte_mbuf *m;
	int fd;

	start(1);
	listen_on(NULL, 0, true);
	/* The kernel's own choice toward 127/8. */
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	cr_assert_eq(bind(fd,
			  (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET,
								   .sin_addr.s_addr = htonl(0x7f000005)},
			  sizeof(from)),
		     0);
	key = key_to("0.0.0.0", "127.0.0.5", fd);
	m = frame(&key, 10, 3, 0);
	send_frames(&m, 1);
	cr_assert_eq(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 10);
	cr_assert_eq(ntohl(from.sin_addr.s_addr), 0x7f000001);
	cr_assert_eq(ntohs(from.sin_port), our_port);
	close(fd);
}

/* The last of a run may be shorter, and ends it; one that is longer begins another; and so does another peer's. */
Test(kudp, sends_mixed, .init = setup, .fini = teardown)
{
	struct flow_key key[2];
	struct rte_mbuf *m[MOST];
	unsigned n[2][MOST], count[2] = {0}, total = 0;
	int fd[2];

	start(1);
	listen_on(NULL, 0, false);
	srand(2);
	for (unsigned p = 0; p < 2; p++) {
		fd[p] = peer_socket("127.0.0.2", "127.0.0.3");
		key[p] = key_to("127.0.0.3", "127.0.0.2", fd[p]);
	}
	while (total < 400) {
		unsigned p = (unsigned)rand() % 2, size = (unsigned)rand() % 4 * 400, run = 1 + (unsigned)rand() % 20;

		for (unsigned i = 0; i < run && total < 400; i++) {
			if (rand() % 8 == 0)
				size = (unsigned)rand() % 1400;
			n[p][count[p]] = size;
			m[total++] = frame(&key[p], size, count[p]++, 0);
		}
	}
	send_frames(m, total);
	for (unsigned p = 0; p < 2; p++) {
		for (unsigned i = 0; i < count[p]; i++)
			check_datagram(fd[p], n[p][i], i);
		close(fd[p]);
	}
}

/* A path with a smaller MTU than the datagrams: runs are refused as such, and what they hold is fragmented. */
Test(kudp, sends_small_mtu, .init = setup, .fini = teardown)
{
	struct rte_mbuf *m[20];
	struct flow_key key;
	struct kudp_stats s;
	int fd;

	lab_sh("ip link set lo mtu 1280");
	start(1);
	listen_on(NULL, 0, false);
	fd = peer_socket("127.0.0.2", "127.0.0.3");
	key = key_to("127.0.0.3", "127.0.0.2", fd);
	for (unsigned i = 0; i < 20; i++)
		m[i] = frame(&key, 1400, i, 0);
	send_frames(m, 20);
	for (unsigned i = 0; i < 20; i++)
		check_datagram(fd, 1400, i);
	kudp_stats(port.kudp, &s);
	cr_assert_gt(s.tx_cut, 0);
	cr_assert_eq(s.tx_long + s.tx_failed, 0);
	close(fd);
}

Test(kudp, traffic_class, .init = setup, .fini = teardown)
{
	uint8_t buf[64], control[64];
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct flow_key key;
	struct rte_mbuf *m;
	int fd, on = 1, class = 0xb9;

	start(1);
	listen_on(NULL, 0, false);
	fd = peer_socket("127.0.0.2", "127.0.0.3");
	setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
	key = key_to("127.0.0.3", "127.0.0.2", fd);
	m = frame(&key, 10, 1, 0xb8);
	send_frames(&m, 1);
	cr_assert_eq(recvmsg(fd, &h, 0), 10);
	cr_assert_eq(*CMSG_DATA(CMSG_FIRSTHDR(&h)), 0xb8);

	setsockopt(fd, IPPROTO_IP, IP_TOS, &class, sizeof(class));
	cr_assert_eq(send(fd, buf, 10, 0), 10);
	receive(0, &m, 1);
	cr_assert_eq(rte_pktmbuf_mtod(m, uint8_t *)[ETH_HEAD + IP4_TOS], 0xb9);
	rte_pktmbuf_free(m);
	close(fd);
}

/* Frames that no socket of ours can send are counted, each under its name, and stand in nobody's way. */
Test(kudp, sends_counted, .init = setup, .fini = teardown)
{
	struct rte_mbuf *m[5];
	struct flow_key key, other;
	struct kudp_stats s;
	int fd;

	lab_sh("ip route add unreachable 203.0.113.0/24");
	start(1);
	listen_on(NULL, 0, true);
	fd = peer_socket("127.0.0.2", "127.0.0.1");
	key = other = key_to("0.0.0.0", "127.0.0.2", fd);
	m[0] = frame(&key, 10, 0, 0);
	rte_pktmbuf_mtod(m[0], uint8_t *)[ETH_HEAD + IP4_PROTO] = PROTO_TCP;
	other.local_port++;
	m[1] = frame(&other, 10, 0, 0);
	other = key;
	addr_parse("203.0.113.1", &other.peer);
	m[2] = frame(&other, 10, 0, 0);
	m[3] = frame(&key, 10, 0, 0);
	rte_pktmbuf_mtod(m[3], uint8_t *)[ETH_HEAD + IP4_HEAD + UDP_LEN] = 0xff;
	m[4] = frame(&key, 77, 5, 0);
	send_frames(m, 5);
	check_datagram(fd, 77, 5);
	kudp_stats(port.kudp, &s);
	cr_assert_eq(s.tx_no_udp, 2);
	cr_assert_eq(s.tx_no_socket, 1);
	cr_assert_eq(s.tx_unreachable, 1, "%lu", s.tx_unreachable);
	close(fd);
}

/* ---- ICMP ---- */

static void refused(const char *local, const char *peer, bool floating, const char *said_local)
{
	const unsigned v6 = strchr(peer, ':') != NULL;
	struct addr want_local, want_peer, a = addr_v4(0);
	struct rte_mbuf *m[MOST];
	struct flow_key key;
	uint16_t closed;
	uint8_t *icmp, *quoted, *udp;
	int fd;

	start(1);
	listen_on(NULL, 0, floating);
	fd = peer_socket(peer, peer);
	closed = socket_port(fd);
	key = key_to(local, peer, fd);
	close(fd);
	m[0] = frame(&key, 100, 9, 0);
	send_frames(m, 1);
	receive(0, m, 1);
	icmp = rte_pktmbuf_mtod(m[0], uint8_t *) + ETH_HEAD + (v6 ? IP6_HEAD : IP4_HEAD);
	cr_assert_eq(icmp[0], v6 ? 1 : 3);
	cr_assert_eq(icmp[1], v6 ? 4 : 3);
	quoted = icmp + 8;
	udp = quoted + (v6 ? IP6_HEAD : IP4_HEAD);
	cr_assert_eq(be16_get(udp + UDP_SRC), our_port);
	cr_assert_eq(be16_get(udp + UDP_DST), closed);
	addr_parse(said_local, &want_local);
	addr_parse(peer, &want_peer);
	memcpy(a.b + (v6 ? 0 : 12), quoted + (v6 ? IP6_SRC : IP4_SRC), v6 ? 16 : 4);
	cr_assert(addr_eq(&a, &want_local));
	memcpy(a.b + (v6 ? 0 : 12), quoted + (v6 ? IP6_DST : IP4_DST), v6 ? 16 : 4);
	cr_assert(addr_eq(&a, &want_peer));
	if (!v6)
		cr_assert_eq(net_sum_fold(net_sum(icmp, m[0]->data_len - ETH_HEAD - IP4_HEAD, 0)), 0);
	rte_pktmbuf_free(m[0]);

	/* It is nobody else's error: the next datagram leaves, and comes. */
	fd = peer_socket(v6 ? "::1" : "127.0.0.2", v6 ? "::1" : floating ? "127.0.0.1" : "127.0.0.3");
	key = key_to(local, v6 ? "::1" : "127.0.0.2", fd);
	m[0] = frame(&key, 50, 1, 0);
	send_frames(m, 1);
	check_datagram(fd, 50, 1);
	close(fd);
}

Test(kudp, refused_v4, .init = setup, .fini = teardown)
{
	refused("127.0.0.3", "127.0.0.8", false, "127.0.0.3");
}

Test(kudp, refused_v6, .init = setup, .fini = teardown)
{
	refused("::1", "::1", false, "::1");
}

Test(kudp, refused_floating, .init = setup, .fini = teardown)
{
	refused("0.0.0.0", "127.0.0.8", true, "0.0.0.0");
}

/* Errors that have not been read yet do not end in the answer to a datagram of somebody else's. */
Test(kudp, refused_meanwhile, .init = setup, .fini = teardown)
{
	struct flow_key key, shut;
	struct kudp_stats s;
	struct rte_mbuf *m;
	int fd, none;

	start(1);
	listen_on(NULL, 0, false);
	fd = peer_socket("127.0.0.2", "127.0.0.3");
	none = peer_socket("127.0.0.8", "127.0.0.3");
	key = key_to("127.0.0.3", "127.0.0.2", fd);
	shut = key_to("127.0.0.3", "127.0.0.8", none);
	close(none);
	for (unsigned i = 0; i < 5; i++) {
		m = frame(&shut, 10, i, 0);
		send_frames(&m, 1);
		m = frame(&key, 1000 + i, i, 0);
		send_frames(&m, 1);
		check_datagram(fd, 1000 + i, i);
	}
	kudp_stats(port.kudp, &s);
	cr_assert_eq(s.tx_failed + s.tx_unreachable, 0);
	close(fd);
}

/* ---- sockets that come and go ---- */

Test(kudp, opened_and_closed, .init = setup, .fini = teardown)
{
	struct kudp_conf c = {.queue = 0};
	struct rte_mbuf *m[8];
	struct kudp_set *other;
	uint16_t p;

	start(2);
	listen_on(NULL, KUDP_ALL, false);
	c.port = our_port;
	p = our_port;
	cr_assert_eq(kudp_open(port.kudp, &c, &other, &p), -EADDRINUSE);
	kudp_close(port.kudp, set);
	cr_assert_eq(rte_eth_rx_burst(port.id, 0, m, 8), 0);
	for (unsigned i = 0; i < 50; i++) {
		int fd;

		cr_assert_eq(kudp_open(port.kudp, &c, &set, &p), 0);
		cr_assert_eq(p, our_port);
		fd = peer_socket("127.0.0.2", "127.0.0.3");
		cr_assert_eq(send(fd, "x", 1, 0), 1);
		receive(0, m, 1);
		rte_pktmbuf_free(m[0]);
		cr_assert_eq(send(fd, "lost", 4, 0), 4);
		kudp_close(port.kudp, set);
		cr_assert_eq(rte_eth_rx_burst(port.id, 0, m, 8), 0);
		close(fd);
	}
	set = NULL;
}

/* A port that another process would share with us, as it shares it among its own sockets, is not ours. */
Test(kudp, not_shared, .init = setup, .fini = teardown)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	struct kudp_conf c = {.queue = KUDP_ALL};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), on = 1;
	struct kudp_set *other;
	uint16_t p;

	start(2);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	c.port = socket_port(fd);
	cr_assert_eq(kudp_open(port.kudp, &c, &other, &p), -EADDRINUSE);
	close(fd);
	cr_assert_eq(kudp_open(port.kudp, &c, &set, &p), 0);
}

/* Of several queues each flow has one, always the same; and nobody else may have the port. */
Test(kudp, spread, .init = setup, .fini = teardown)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	unsigned of[2] = {0};
	int fd;

	start(2);
	cr_assert(port.at_home);
	listen_on(NULL, KUDP_ALL, false);
	for (unsigned i = 0; i < 64; i++) {
		struct rte_mbuf *m[16];
		unsigned got = 0, queue = 2;
		uint64_t end = lab_ms() + GUARD_MS;

		fd = peer_socket("127.0.0.2", "127.0.0.3");
		for (unsigned j = 0; j < 10; j++)
			cr_assert_eq(send(fd, "0123456789", 10, 0), 10);
		while (got < 10 && lab_ms() < end)
			for (uint16_t q = 0; q < 2; q++) {
				unsigned n = rte_eth_rx_burst(port.id, q, m, 16);

				cr_assert(n == 0 || queue == 2 || queue == q);
				queue = n ? q : queue;
				got += n;
				rte_pktmbuf_free_bulk(m, n);
			}
		cr_assert_eq(got, 10);
		of[queue]++;
		close(fd);
	}
	cr_assert(of[0] > 10 && of[1] > 10, "%u and %u of 64", of[0], of[1]);
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	any.sin6_port = htons(our_port);
	cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), -1);
	cr_assert_eq(errno, EADDRINUSE);
	close(fd);
}

/* DPDK's own counters, which its telemetry shows, are the port's. */
Test(kudp, counters, .init = setup, .fini = teardown)
{
	struct rte_eth_stats s;
	struct rte_mbuf *m[8];
	struct flow_key key;
	int fd;

	start(1);
	listen_on(NULL, 0, false);
	fd = peer_socket("127.0.0.2", "127.0.0.3");
	key = key_to("127.0.0.3", "127.0.0.2", fd);
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(send(fd, "x", 1, 0), 1);
	receive(0, m, 5);
	rte_pktmbuf_free_bulk(m, 5);
	for (unsigned i = 0; i < 3; i++)
		m[i] = frame(&key, 10, i, 0);
	send_frames(m, 3);
	cr_assert_eq(rte_eth_stats_get(port.id, &s), 0);
	cr_assert_eq(s.ipackets, 5);
	cr_assert_eq(s.opackets, 3);
	close(fd);
}
