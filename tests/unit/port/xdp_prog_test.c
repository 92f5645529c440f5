/* SPDX-License-Identifier: MIT */

/*
 * The XDP program's word on frames, by the kernel's BPF_PROG_TEST_RUN: as it was compiled here, and as it is shipped.
 * Its map of sockets holds one, so that what is ours comes out as XDP_REDIRECT.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <xdp/xsk.h>

#include "le.h"
#include "net_wire.h"
#include "ns.h"
#include "xdp_load.h"

#define OURS   4000
#define THEIRS 53

static struct port_xdp_prog x;
static char why[400];

/* ---- frames ---- */

struct frame {
	uint8_t b[2048];
	unsigned n, ip; /* offset of the IP header */
};

static const uint8_t us4[4] = {192, 0, 2, 7}, peer4[4] = {198, 51, 100, 1}, other4[4] = {192, 0, 2, 8};
static const uint8_t us6[16] = {0x20, 1, 0xd, 0xb8, [15] = 7}, peer6[16] = {0x20, 1, 0xd, 0xb8, 9, [15] = 1};

static struct frame link_head(uint16_t type, int vlan)
{
	struct frame f = {.n = ETH_HEAD};

	memset(f.b, 2, 12);
	if (vlan >= 0) {
		be16_put(f.b + f.n - 2, ETH_T_VLAN);
		be16_put(f.b + f.n, (uint16_t)vlan);
		f.n += ETH_VLAN;
	}
	be16_put(f.b + f.n - 2, type);
	f.ip = f.n;
	return f;
}

/* Behind the IP header: ports, and bytes up to n in all. */
static void l4(struct frame *f, uint16_t port, unsigned n)
{
	be16_put(f->b + f->n, 5555);
	be16_put(f->b + f->n + 2, port);
	be16_put(f->b + f->n + 4, (uint16_t)n);
	f->n += n;
}

/* off: the field with flags and offset; options: bytes of them. */
static struct frame v4o(int vlan, uint8_t proto, const uint8_t *dst, uint16_t port, uint16_t off, uint16_t id,
			unsigned options, unsigned payload)
{
	struct frame f = link_head(ETH_T_IPV4, vlan);
	uint8_t *ip = f.b + f.n;

	ip[0] = (uint8_t)(0x45 + options / 4);
	be16_put(ip + IP4_LEN, (uint16_t)(IP4_HEAD + options + payload));
	be16_put(ip + IP4_ID, id);
	be16_put(ip + IP4_FRAG, off);
	ip[IP4_TTL] = 64;
	ip[IP4_PROTO] = proto;
	memcpy(ip + IP4_SRC, peer4, 4);
	memcpy(ip + IP4_DST, dst, 4);
	f.n += IP4_HEAD + options;
	l4(&f, port, payload);
	return f;
}

static struct frame v4(uint8_t proto, const uint8_t *dst, uint16_t port)
{
	return v4o(-1, proto, dst, port, IP4_DF, 0, 0, 100);
}

static struct frame v6(int vlan, uint8_t next)
{
	struct frame f = link_head(ETH_T_IPV6, vlan);
	uint8_t *ip = f.b + f.n;

	ip[0] = 0x60;
	ip[IP6_NEXT] = next;
	ip[IP6_HOPS] = 64;
	memcpy(ip + IP6_SRC, peer6, 16);
	memcpy(ip + IP6_DST, us6, 16);
	f.n += IP6_HEAD;
	return f;
}

/* An extension header of 8 * (1 + more) bytes, whose next is `next`. */
static void ext(struct frame *f, uint8_t next, uint8_t more)
{
	f->b[f->n] = next;
	f->b[f->n + 1] = more;
	f->n += 8u + more * 8u;
}

static void ext_frag(struct frame *f, uint8_t next, uint16_t off, uint32_t id)
{
	f->b[f->n] = next;
	be16_put(f->b + f->n + 2, off);
	le32_put(f->b + f->n + 4, id);
	f->n += 8;
}

static struct frame v6_end(struct frame f, uint16_t port, unsigned payload)
{
	l4(&f, port, payload);
	be16_put(f.b + f.ip + IP6_LEN, (uint16_t)(f.n - f.ip - IP6_HEAD));
	return f;
}

/* ---- the program's word ---- */

static unsigned verdict(const struct frame *f)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = f->n, .repeat = 1);

	cr_assert_eq(bpf_prog_test_run_opts(x.fd, &opts), 0, "%s", strerror(errno));
	return opts.retval;
}

#define OURS_IS(f, ...)                                                                      \
	do {                                                                                 \
		struct frame got = f;                                                        \
		cr_expect_eq(verdict(&got), XDP_REDIRECT, "passed, but ours: " __VA_ARGS__); \
	} while (0)
#define PASSED(f, ...)                                                                          \
	do {                                                                                    \
		struct frame got = f;                                                           \
		cr_expect_eq(verdict(&got), XDP_PASS, "taken, but the kernel's: " __VA_ARGS__); \
	} while (0)

static struct xsk_umem *umem;
static struct xsk_socket *xsk;

/* A socket of the loopback interface, for the map takes no others: frames of the test are made out to come by it. */
static void any_socket(void)
{
	static struct xsk_ring_prod fill, tx;
	static struct xsk_ring_cons comp, rx;
	struct xsk_socket_config c = {
		.rx_size = 64, .tx_size = 64, .libbpf_flags = XSK_LIBBPF_FLAGS__INHIBIT_PROG_LOAD};
	void *area = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	int err;

	/* The kernel lets go of a closed socket's queue a moment later. */
	for (unsigned i = 0; i < 60000; i++) {
		cr_assert_eq(xsk_umem__create(&umem, area, 1 << 18, &fill, &comp, NULL), 0);
		err = xsk_socket__create(&xsk, "lo", 0, umem, &rx, &tx, &c);
		if (err != -EBUSY)
			break;
		xsk_umem__delete(umem);
		usleep(1000);
	}
	cr_assert_eq(err, 0, "%s", strerror(-err));
	cr_assert_eq(port_xdp_socket(&x, 0, xsk_socket__fd(xsk)), 0);
}

static void serve(uint16_t vlan)
{
	const struct port_xdp_conf conf = {.max_ip = 1500, .vlan = vlan};
	struct addr a4 = addr_v4(0), a6;
	int err;

	memcpy(a4.b + 12, us4, 4);
	memcpy(a6.b, us6, 16);
	err = port_xdp_load(&x, strcmp(getenv("XDP_ELF") ?: "", "shipped") ? port_xdp_elf() : port_xdp_shipped(), 1,
			    &conf, why, sizeof(why));
	if (err == -EPERM)
		cr_skip_test("BPF needs root");
	cr_assert_eq(err, 0, "%s", why);
	any_socket();
	/* UDP 4000, and fake TCP 4001 */
	cr_assert_eq(port_xdp_word(&x, OURS / 64, UINT64_C(1) << OURS % 64), 0);
	cr_assert_eq(port_xdp_word(&x, PORT_XDP_WORDS + OURS / 64, UINT64_C(1) << (OURS + 1) % 64), 0);
	cr_assert_eq(port_xdp_local(&x, &a4, true), 0);
	cr_assert_eq(port_xdp_local(&x, &a6, true), 0);
}

static void setup(void)
{
	lab_enter();
	serve(0);
}

static void setup_vlan(void)
{
	lab_enter();
	serve(7);
}

static void close_socket(void)
{
	if (xsk)
		xsk_socket__delete(xsk);
	xsk_umem__delete(umem);
	xsk = NULL;
}

static void teardown(void)
{
	if (!umem)
		return;
	close_socket();
	port_xdp_unload(&x);
}

Test(xdp_prog, v4, .init = setup, .fini = teardown)
{
	OURS_IS(v4(PROTO_UDP, us4, OURS), "UDP to our port");
	OURS_IS(v4(PROTO_TCP, us4, OURS + 1), "fake TCP to our port");
	OURS_IS(v4o(-1, PROTO_UDP, us4, OURS, 0, 1, 12, 100), "behind options");
	OURS_IS(v4o(0, PROTO_UDP, us4, OURS, 0, 1, 0, 100), "behind a tag that is a priority only");
	PASSED(v4(PROTO_UDP, us4, THEIRS), "UDP to another port");
	PASSED(v4(PROTO_UDP, us4, OURS + 1), "UDP to a port of fake TCP's");
	PASSED(v4(PROTO_TCP, us4, OURS), "TCP to a port of UDP's");
	PASSED(v4(PROTO_TCP, us4, 22), "SSH");
	PASSED(v4(PROTO_UDP, other4, OURS), "our port of an address that is not ours: forwarded, or a container's");
	PASSED(v4(PROTO_ICMP, us4, OURS), "ICMP");
	PASSED(v4o(7, PROTO_UDP, us4, OURS, 0, 1, 0, 100), "of a VLAN");
}

Test(xdp_prog, sizes, .init = setup, .fini = teardown)
{
	struct frame f;

	OURS_IS(v4o(-1, PROTO_UDP, us4, OURS, 0, 1, 0, 1480), "as long as the socket's frames");
	PASSED(v4o(-1, PROTO_UDP, us4, OURS, 0, 1, 0, 1481), "longer than the socket's frames");
	f = v6_end(v6(-1, PROTO_UDP), OURS, 1461);
	PASSED(f, "longer, of IPv6");
	f = v4(PROTO_UDP, us4, OURS);
	f.n = 1519;
	PASSED(f, "longer by what is behind the packet");
	for (unsigned n = ETH_HEAD; n < ETH_HEAD + IP4_HEAD + 4; n++) {
		f = v4(PROTO_UDP, us4, OURS);
		f.n = n;
		PASSED(f, "cut to %u bytes", n);
	}
	for (unsigned n = ETH_HEAD; n < ETH_HEAD + IP6_HEAD + 4; n++) {
		f = v6_end(v6(-1, PROTO_UDP), OURS, 100);
		f.n = n;
		PASSED(f, "IPv6 cut to %u bytes", n);
	}
}

Test(xdp_prog, malformed, .init = setup, .fini = teardown)
{
	struct frame f = v4(PROTO_UDP, us4, OURS);

	f.b[f.ip] = 0x55;
	PASSED(f, "version 5");
	f.b[f.ip] = 0x44;
	PASSED(f, "a header of 16 bytes");
	f.b[f.ip] = 0x4f;
	PASSED(f, "a header of 60 bytes, the port of which is 0");
	f = v6_end(v6(-1, PROTO_UDP), OURS, 100);
	f.b[f.ip] = 0x40;
	PASSED(f, "IPv4 in IPv6's clothes");
	f = link_head(ETH_T_ARP, -1);
	f.n = 60;
	PASSED(f, "ARP");
	f = link_head(ETH_T_QINQ, -1);
	f.n = 60;
	PASSED(f, "two tags");
}

Test(xdp_prog, v6, .init = setup, .fini = teardown)
{
	struct frame f;

	OURS_IS(v6_end(v6(-1, PROTO_UDP), OURS, 100), "UDP to our port");
	OURS_IS(v6_end(v6(-1, PROTO_TCP), OURS + 1, 100), "fake TCP to our port");
	PASSED(v6_end(v6(-1, PROTO_UDP), THEIRS, 100), "another port");
	PASSED(v6_end(v6(-1, PROTO_TCP), 22, 100), "SSH");
	f = v6_end(v6(-1, PROTO_UDP), OURS, 100);
	f.b[f.ip + IP6_DST + 15] = 8;
	PASSED(f, "another address");
	f = v6(-1, PROTO_HOPOPTS);
	ext(&f, PROTO_DSTOPTS, 0);
	ext(&f, PROTO_UDP, 2);
	OURS_IS(v6_end(f, OURS, 100), "behind options");
	f = v6(-1, PROTO_DSTOPTS);
	for (unsigned i = 0; i < 3; i++)
		ext(&f, PROTO_DSTOPTS, 0);
	ext(&f, PROTO_UDP, 0);
	OURS_IS(v6_end(f, OURS, 100), "behind four headers");
	f = v6(-1, PROTO_DSTOPTS);
	for (unsigned i = 0; i < 4; i++)
		ext(&f, PROTO_DSTOPTS, 0);
	ext(&f, PROTO_UDP, 0);
	PASSED(v6_end(f, OURS, 100), "behind five headers");
	f = v6(-1, PROTO_DSTOPTS);
	ext(&f, PROTO_HOPOPTS, 0);
	ext(&f, PROTO_UDP, 0);
	PASSED(v6_end(f, OURS, 100), "hop by hop in second place");
	f = v6(-1, PROTO_ROUTING);
	f.b[f.n + 3] = 1;
	ext(&f, PROTO_UDP, 0);
	PASSED(v6_end(f, OURS, 100), "we are a waypoint");
	f = v6(-1, PROTO_ROUTING);
	ext(&f, PROTO_UDP, 0);
	OURS_IS(v6_end(f, OURS, 100), "a routing header that is done with");
	f = v6(-1, 59);
	PASSED(v6_end(f, OURS, 100), "no next header");
}

/* What is passed of a datagram, and what is taken, is the same for all its fragments that follow the first. */
Test(xdp_prog, fragments4, .init = setup, .fini = teardown)
{
	PASSED(v4o(-1, PROTO_UDP, us4, OURS, 185, 1, 0, 100), "before the first fragment");
	OURS_IS(v4o(-1, PROTO_UDP, us4, OURS, 0x2000, 1, 0, 1480), "first fragment");
	OURS_IS(v4o(-1, PROTO_UDP, us4, THEIRS, 0x2000 | 185, 1, 0, 1480), "second fragment");
	OURS_IS(v4o(-1, PROTO_UDP, us4, THEIRS, 370, 1, 0, 100), "last fragment");
	PASSED(v4o(-1, PROTO_UDP, us4, OURS, 370, 2, 0, 100), "of another datagram");
	PASSED(v4o(-1, PROTO_UDP, other4, OURS, 370, 1, 0, 100), "to another address");
	PASSED(v4o(-1, PROTO_TCP, us4, OURS, 370, 1, 0, 100), "of TCP with the same number");
	PASSED(v4o(-1, PROTO_UDP, us4, THEIRS, 0x2000, 1, 0, 1480), "first fragment to another port");
	PASSED(v4o(-1, PROTO_UDP, us4, OURS, 185, 1, 0, 100), "which has the same number again");
	OURS_IS(v4o(-1, PROTO_TCP, us4, OURS + 1, 0x2000, 3, 0, 1480), "fake TCP in fragments");
	OURS_IS(v4o(-1, PROTO_TCP, us4, 0, 185, 3, 0, 100), "the rest of it");
	PASSED(v4o(-1, PROTO_UDP, us4, 0, 185, 3, 0, 100), "of UDP with its number");
	PASSED(v4o(-1, PROTO_TCP, us4, 22, 0x2000, 4, 0, 1480), "SSH in fragments");
	PASSED(v4o(-1, PROTO_TCP, us4, 22, 185, 4, 0, 1480), "the rest of it");
}

Test(xdp_prog, fragments6, .init = setup, .fini = teardown)
{
	struct frame f = v6(-1, PROTO_FRAGMENT);

	ext_frag(&f, PROTO_UDP, 0, 9);
	OURS_IS(v6_end(f, OURS, 100), "atomic");
	f = v6(-1, PROTO_FRAGMENT);
	ext_frag(&f, PROTO_UDP, 1448, 9);
	PASSED(v6_end(f, OURS, 100), "before the first fragment");
	f = v6(-1, PROTO_FRAGMENT);
	ext_frag(&f, PROTO_UDP, 1, 9);
	OURS_IS(v6_end(f, OURS, 1448), "first fragment");
	f = v6(-1, PROTO_FRAGMENT);
	ext_frag(&f, PROTO_UDP, 1448, 9);
	OURS_IS(v6_end(f, THEIRS, 100), "last fragment");
	f = v6(-1, PROTO_FRAGMENT);
	ext_frag(&f, PROTO_UDP, 1448, 10);
	PASSED(v6_end(f, OURS, 100), "of another datagram");
	f = v6(-1, PROTO_FRAGMENT);
	ext_frag(&f, PROTO_UDP, 1, 11);
	PASSED(v6_end(f, THEIRS, 1448), "first fragment to another port");
	f = v6(-1, PROTO_FRAGMENT);
	ext_frag(&f, PROTO_TCP, 1, 12);
	OURS_IS(v6_end(f, OURS + 1, 1448), "of fake TCP");
	f = v6(-1, PROTO_FRAGMENT);
	ext_frag(&f, PROTO_TCP, 1, 13);
	PASSED(v6_end(f, 22, 1448), "of SSH");
}

/* A router's message about a packet from us4:port; quoted: bytes of it. */
static struct frame big4(uint8_t type, uint8_t code, uint8_t proto, const uint8_t *from, uint16_t port, unsigned quoted)
{
	struct frame f = v4o(-1, PROTO_ICMP, us4, 0, 0, 1, 0, 8 + quoted);
	uint8_t *m = f.b + f.ip + IP4_HEAD, *q = m + 8;

	memset(m, 0, 8 + quoted);
	m[0] = type;
	m[1] = code;
	q[0] = 0x45;
	q[IP4_PROTO] = proto;
	memcpy(q + IP4_SRC, from, 4);
	memcpy(q + IP4_DST, peer4, 4);
	be16_put(q + IP4_HEAD, port);
	be16_put(q + IP4_HEAD + 2, 5555);
	return f;
}

static struct frame big6(uint8_t type, uint8_t proto, uint16_t port, bool fragment)
{
	struct frame f = v6(-1, PROTO_ICMP6);
	uint8_t *m = f.b + f.n, *q = m + 8, *to = q + IP6_HEAD;

	memset(m, 0, 200);
	m[0] = type;
	q[0] = 0x60;
	q[IP6_NEXT] = fragment ? PROTO_FRAGMENT : proto;
	memcpy(q + IP6_SRC, us6, 16);
	memcpy(q + IP6_DST, peer6, 16);
	if (fragment) {
		to[0] = proto;
		to[3] = 1;
		to += 8;
	}
	be16_put(to, port);
	f.n += 8 + IP6_HEAD + 16;
	be16_put(f.b + f.ip + IP6_LEN, 8 + IP6_HEAD + 16);
	return f;
}

/* That a packet of ours was too big, is ours to know; what routers say of others' is the kernel's. */
Test(xdp_prog, too_big, .init = setup, .fini = teardown)
{
	struct frame f;

	OURS_IS(big4(3, 4, PROTO_UDP, us4, OURS, 28), "of our UDP");
	OURS_IS(big4(3, 4, PROTO_TCP, us4, OURS + 1, 28), "of our fake TCP");
	PASSED(big4(3, 4, PROTO_TCP, us4, 22, 28), "of SSH");
	PASSED(big4(3, 4, PROTO_UDP, us4, THEIRS, 28), "of somebody's UDP");
	PASSED(big4(3, 4, PROTO_UDP, other4, OURS, 28), "of another host's");
	PASSED(big4(3, 4, PROTO_ICMP, us4, OURS, 28), "of a ping");
	PASSED(big4(3, 3, PROTO_UDP, us4, OURS, 28), "that nobody listens");
	PASSED(big4(8, 0, PROTO_UDP, us4, OURS, 28), "a ping");
	OURS_IS(big6(2, PROTO_UDP, OURS, false), "of our UDP");
	OURS_IS(big6(2, PROTO_TCP, OURS + 1, false), "of our fake TCP");
	OURS_IS(big6(2, PROTO_UDP, OURS, true), "of our UDP in fragments");
	PASSED(big6(2, PROTO_TCP, 22, false), "of SSH");
	PASSED(big6(2, PROTO_UDP, THEIRS, true), "of somebody's UDP in fragments");
	PASSED(big6(1, PROTO_UDP, OURS, false), "that it was unreachable");
	PASSED(big6(135, PROTO_UDP, OURS, false), "neighbour discovery");
	f = big6(2, PROTO_UDP, OURS, false);
	f.b[f.ip + IP6_HEAD + 8 + IP6_SRC + 15] = 8;
	PASSED(f, "of another host's");
	for (unsigned n = 0; n < 24; n++) {
		f = big4(3, 4, PROTO_UDP, us4, OURS, 28);
		f.n = f.ip + IP4_HEAD + 8 + n;
		PASSED(f, "of which %u bytes are there", n);
	}
}

Test(xdp_prog, vlan, .init = setup_vlan, .fini = teardown)
{
	struct frame f;

	OURS_IS(v4o(7, PROTO_UDP, us4, OURS, 0, 1, 0, 1480), "of our VLAN");
	OURS_IS(v4o(0xe007, PROTO_UDP, us4, OURS, 0, 1, 0, 100), "of our VLAN, with a priority");
	OURS_IS(v6_end(v6(7, PROTO_UDP), OURS, 100), "IPv6 of our VLAN");
	PASSED(v4o(8, PROTO_UDP, us4, OURS, 0, 1, 0, 100), "of another VLAN");
	PASSED(v4o(-1, PROTO_UDP, us4, OURS, 0, 1, 0, 100), "of none");
	PASSED(v4o(0, PROTO_UDP, us4, OURS, 0, 1, 0, 100), "with a priority only");
	for (unsigned n = ETH_HEAD; n < ETH_HEAD + ETH_VLAN; n++) {
		f = v4o(7, PROTO_UDP, us4, OURS, 0, 1, 0, 100);
		f.n = n;
		PASSED(f, "cut to %u bytes", n);
	}
}

/* Nobody serves the queue, as after the process was killed, or nothing is configured: the kernel has everything. */
Test(xdp_prog, nobody, .init = setup, .fini = teardown)
{
	struct addr a4 = addr_v4(0);

	OURS_IS(v4(PROTO_UDP, us4, OURS), "UDP to our port");
	close_socket();
	PASSED(v4(PROTO_UDP, us4, OURS), "UDP to our port, the socket of which is closed");
	any_socket();
	OURS_IS(v4(PROTO_UDP, us4, OURS), "UDP to our port, the socket of which is there again");
	memcpy(a4.b + 12, us4, 4);
	cr_assert_eq(port_xdp_local(&x, &a4, false), 0);
	PASSED(v4(PROTO_UDP, us4, OURS), "to an address that was taken away");
	cr_assert_eq(port_xdp_local(&x, &a4, true), 0);
	OURS_IS(v4(PROTO_UDP, us4, OURS), "to an address that is back");
	cr_assert_eq(port_xdp_word(&x, OURS / 64, 0), 0);
	PASSED(v4(PROTO_UDP, us4, OURS), "to a port that was given up");
}

/* The same instructions, where it is the same compiler: the shipped file is of this source. */
Test(xdp_prog, shipped_is_current, .init = lab_enter)
{
	const struct port_xdp_conf conf = {.max_ip = 1500};
	struct bpf_prog_info info[2] = {0};

	if (strncmp(XDP_CLANG, "14.", 3) != 0)
		cr_skip_test("shipped is what clang 14 makes, here is clang %s", XDP_CLANG);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t n = sizeof(info[i]);

		cr_assert_eq(port_xdp_load(&x, i ? port_xdp_elf() : port_xdp_shipped(), 1, &conf, why, sizeof(why)), 0,
			     "%s", why);
		cr_assert_eq(bpf_obj_get_info_by_fd(x.fd, &info[i], &n), 0);
		port_xdp_unload(&x);
	}
	cr_expect_eq(memcmp(info[0].tag, info[1].tag, sizeof(info[0].tag)), 0,
		     "xdp_prog.bpf.o is not what xdp_prog.bpf.c says: see there how it is made");
}
