/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

#define MAC_US                   \
	{                        \
		2, 0, 0, 0, 0, 1 \
	}
#define MAC_PEER                 \
	{                        \
		2, 0, 0, 0, 0, 9 \
	}
#define DEV_OWN	   0 /* exclusive */
#define DEV_SHARED 1
#define DEV_LO	   2 /* all-zero link address, shared */
#define DEV_VLAN   3 /* exclusive */
#define TUNNEL	   6

static struct net_tbl *tbl;
static struct net_ports *ports;

static void setup(void)
{
	static const char *const mine[] = {"192.0.2.1", "198.51.100.1", "127.0.0.1", "2001:db8::1", "::1", "fe80::2"};

	tbl = net_tbl_alloc(0, 0, 6);
	ports = calloc(1, sizeof(*ports));
	tbl->n_dev = 4;
	tbl->dev[DEV_OWN] = (struct net_dev){.mac = MAC_US, .exclusive = true, .up = true};
	tbl->dev[DEV_SHARED] = (struct net_dev){.mac = MAC_US, .up = true};
	tbl->dev[DEV_LO] = (struct net_dev){.up = true};
	tbl->dev[DEV_VLAN] = (struct net_dev){.mac = MAC_US, .exclusive = true, .up = true, .vlan = 7};
	for (unsigned i = 0; i < 6; i++)
		tbl->local[tbl->n_local++] = (struct net_local){.addr = addr_of(mine[i]), .plen = 128};
	net_tbl_sort(tbl);
	atomic_store(&ports->of[4000], TUNNEL + 1);
}

static void teardown(void)
{
	net_tbl_free(tbl);
	free(ports);
}

TestSuite(parse, .init = setup, .fini = teardown);

static struct frame frame_v4(void)
{
	return (struct frame){.src = "203.0.113.5",
			      .dst = "192.0.2.1",
			      .sport = 1234,
			      .dport = 4000,
			      .dst_mac = MAC_US,
			      .src_mac = MAC_PEER,
			      .payload_n = 100};
}

static struct frame frame_v6(void)
{
	return (struct frame){.src = "2001:db8:5::5",
			      .dst = "2001:db8::1",
			      .sport = 1234,
			      .dport = 4000,
			      .dst_mac = MAC_US,
			      .src_mac = MAC_PEER,
			      .payload_n = 100};
}

/* Parses one frame from a heap block of exactly its size; the verdict.  p and n must stay unless it is VERDICT_OK. */
static unsigned parse(const uint8_t *frame, unsigned n, unsigned dev, unsigned flags)
{
	uint8_t *exact = malloc(n ? n : 1);
	struct flow_key key;
	struct pkt k = {.p = exact, .n = (uint16_t)n, .dev = (uint16_t)dev, .flags = (uint8_t)flags};

	memset(&key, 0xee, sizeof(key));
	memcpy(exact, frame, n);
	net_parse_burst(&k, &key, 1, tbl, ports);
	if (k.verdict != VERDICT_OK) {
		cr_assert_eq(k.p, exact);
		cr_assert_eq(k.n, n);
		cr_assert_null(k.key);
	} else {
		cr_assert_geq(k.p, exact);
		cr_assert_leq(k.p + k.n, exact + n);
	}
	cr_assert_eq(memcmp(exact, frame, n), 0, "the frame is only read");
	free(exact);
	return k.verdict;
}

static unsigned verdict_of(const struct frame *f, unsigned dev)
{
	uint8_t buf[FRAME_MAX];

	return parse(buf, frame_make(buf, f), dev, 0);
}

/* The verdict after byte `at` was set to `value`, with a right IPv4 header checksum. */
static unsigned bent(const struct frame *f, unsigned at, uint8_t value)
{
	uint8_t buf[FRAME_MAX];
	unsigned n = frame_make(buf, f);

	buf[at] = value;
	if (buf[12] == 0x08)
		frame_fix_ip4(buf);
	return parse(buf, n, DEV_OWN, 0);
}

static void accepts(const struct frame *f, unsigned pad, unsigned dev)
{
	uint8_t buf[FRAME_MAX] = {0};
	unsigned n = frame_make(buf, f);
	struct flow_key key, want = {.peer = addr_of(f->src),
				     .local = addr_of(f->dst),
				     .peer_port = f->sport,
				     .local_port = f->dport};
	struct pkt k = {.p = buf, .n = (uint16_t)(n + pad), .dev = (uint16_t)dev};

	if (addr_needs_zone(&want.peer))
		want.dev = (uint16_t)(dev + 1);
	memset(&key, 0xee, sizeof(key));
	net_parse_burst(&k, &key, 1, tbl, ports);
	cr_assert_eq(k.verdict, VERDICT_OK, "%s", drop_name(k.verdict));
	cr_assert_eq(k.key, &key);
	cr_assert_eq(memcmp(&key, &want, sizeof(key)), 0, "all 40 bytes of the key, wherever it came in");
	cr_assert_eq(k.tunnel, TUNNEL);
	cr_assert_eq(k.n, f->payload_n);
	cr_assert_eq(k.p, buf + n - f->payload_n);
}

Test(parse, accepts_ours)
{
	struct frame v4 = frame_v4(), v6 = frame_v6();

	for (unsigned n = 0; n <= 1500; n += n < 100 ? 1 : 97) {
		v4.payload_n = v6.payload_n = n;
		accepts(&v4, 0, DEV_OWN);
		accepts(&v6, 0, DEV_SHARED);
	}
	v4.payload_n = v6.payload_n = 1;
	accepts(&v4, 17, DEV_OWN); /* Ethernet padding */
	accepts(&v6, 33, DEV_OWN);
}

/* The same address on two links is two peers. */
Test(parse, link_local)
{
	struct frame f = frame_v6();

	f.src = "fe80::5";
	f.dst = "fe80::2";
	accepts(&f, 0, DEV_OWN);
	accepts(&f, 0, DEV_SHARED);
	f.src = "2001:db8:5::5";
	accepts(&f, 0, DEV_SHARED);
}

Test(parse, accepts_on_loopback)
{
	struct frame v4 = {.src = "127.0.0.1", .dst = "127.0.0.1", .sport = 4001, .dport = 4000, .payload_n = 9};
	struct frame v6 = {.src = "::1", .dst = "::1", .sport = 4001, .dport = 4000, .payload_n = 9};

	accepts(&v4, 0, DEV_LO);
	accepts(&v6, 0, DEV_LO);
	cr_assert_eq(verdict_of(&v4, DEV_SHARED), DROP_NOT_FOR_US);
}

Test(parse, accepts_ipv4_options)
{
	static const uint8_t options[40] = {1, 1, 1, 1, 0x94, 4, 0, 0};
	struct frame f = frame_v4();

	f.options = options;
	for (f.options_n = 4; f.options_n <= 40; f.options_n += 4)
		accepts(&f, 0, DEV_OWN);
}

Test(parse, ignores_the_sum_unless_the_driver_knows)
{
	struct frame f = frame_v4();
	uint8_t buf[FRAME_MAX];
	unsigned n = frame_make(buf, &f);

	buf[40] ^= 0xff; /* as veth hands it over */
	cr_assert_eq(parse(buf, n, DEV_OWN, 0), VERDICT_OK);
	cr_assert_eq(parse(buf, n, DEV_OWN, PKT_F_L4_BAD), DROP_UDP_CHECKSUM);
	buf[40] = buf[41] = 0;
	cr_assert_eq(parse(buf, n, DEV_OWN, 0), VERDICT_OK, "none: legal in IPv4");
	cr_assert_eq(parse(buf, n, DEV_OWN, PKT_F_L4_BAD), VERDICT_OK, "where there is none, none is bad");
	f.dport = 4001;
	n = frame_make(buf, &f);
	cr_assert_eq(parse(buf, n, DEV_OWN, PKT_F_L4_BAD), VERDICT_PUNT, "not ours to judge");
	f = frame_v6();
	n = frame_make(buf, &f);
	buf[60] ^= 0xff;
	cr_assert_eq(parse(buf, n, DEV_OWN, 0), VERDICT_OK);
	buf[60] = buf[61] = 0;
	cr_assert_eq(parse(buf, n, DEV_OWN, 0), DROP_UDP_CHECKSUM, "none: not legal in IPv6");
}

/* Everything that is not ours goes to the kernel on an exclusive port, and is left alone on a shared one. */
static void stray(const struct frame *f, unsigned at, uint8_t value)
{
	uint8_t buf[FRAME_MAX];
	unsigned n = frame_make(buf, f);

	if (at)
		buf[at] = value;
	cr_assert_eq(parse(buf, n, DEV_OWN, PKT_F_UNTAGGED), VERDICT_PUNT, "at %u value %u", at, value);
	cr_assert_eq(parse(buf, n, DEV_OWN, 0), VERDICT_PUNT, "at %u value %u", at, value);
	cr_assert_eq(parse(buf, n, DEV_SHARED, 0), DROP_NOT_FOR_US, "at %u value %u", at, value);
}

Test(parse, strays)
{
	static const char *const elsewhere4[] = {"192.0.2.2", "192.0.2.255", "255.255.255.255", "224.0.0.1", "0.0.0.0"};
	static const char *const elsewhere6[] = {"2001:db8::2", "ff02::1", "::", "fe80::1"};
	struct frame v4 = frame_v4(), v6 = frame_v6();

	memset(v4.dst_mac, 0xff, 6);
	stray(&v4, 0, 0);
	v4 = frame_v4();
	stray(&v4, 13, 0x06); /* ARP */
	for (unsigned proto = 0; proto < 256; proto++) {
		if (proto == 17 || proto == 6)
			continue; /* TCP: tcp_test.c */
		stray(&v4, 23, (uint8_t)proto);
		if (proto != 0 && proto != 43 && proto != 44 && proto != 60)
			stray(&v6, 20, (uint8_t)proto);
	}
	for (unsigned i = 0; i < 5; i++) {
		v4.dst = elsewhere4[i];
		stray(&v4, 0, 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		v6.dst = elsewhere6[i];
		stray(&v6, 0, 0);
	}
	v4 = frame_v4();
	v4.dport = 4001;
	stray(&v4, 0, 0);
	v6 = frame_v6();
	v6.dport = 3999;
	stray(&v6, 0, 0);
}

/* A device that cannot choose brings what is meant for others: the kernel has no use for it either. */
Test(parse, other_hosts)
{
	struct frame f = frame_v4();

	for (unsigned i = 0; i < 48; i++) {
		f.dst_mac[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_eq(verdict_of(&f, DEV_OWN), i == 0 ? VERDICT_PUNT : DROP_OTHER_HOST, "bit %u", i);
		cr_assert_eq(verdict_of(&f, DEV_SHARED), DROP_NOT_FOR_US, "bit %u", i);
		f.dst_mac[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

/* Tagged frames are told, on a port with a VLAN all of them, and once only; there what bears none is not taken. */
Test(parse, tagged)
{
	struct frame f = frame_v4(), other = frame_v4(), all = frame_v4();
	uint8_t buf[FRAME_MAX];
	unsigned n = frame_make(buf, &f);

	other.dst_mac[5] ^= 4;
	memset(all.dst_mac, 0xff, 6);
	for (unsigned vlan = 0; vlan < 8; vlan += 7) {
		tbl->dev[DEV_OWN].vlan = (uint16_t)vlan;
		cr_assert_eq(verdict_of(&f, DEV_OWN), vlan ? DROP_VLAN : VERDICT_OK);
		cr_assert_eq(parse(buf, n, DEV_OWN, PKT_F_UNTAGGED), VERDICT_OK);
		cr_assert_eq(bent(&f, 12, 0x81), VERDICT_TAG);
		cr_assert_eq(bent(&all, 12, 0x81), vlan ? VERDICT_TAG : VERDICT_PUNT, "the kernel's own VLANs");
		cr_assert_eq(bent(&other, 12, 0x81), vlan ? VERDICT_TAG : DROP_OTHER_HOST);
		buf[12] = 0x81;
		cr_assert_eq(parse(buf, n, DEV_OWN, PKT_F_UNTAGGED), VERDICT_PUNT, "a second tag");
		cr_assert_eq(parse(buf, n, DEV_SHARED, 0), VERDICT_TAG);
		cr_assert_eq(parse(buf, 13, DEV_OWN, 0), DROP_FRAME_SHORT);
		buf[12] = 0x08;
	}
}

/* An IPv6 packet with an IPv4-mapped address must not pass for the IPv4 flow of the same key. */
Test(parse, refuses_mapped_addresses)
{
	struct frame v4 = frame_v4(), v6 = frame_v6();
	uint8_t buf[FRAME_MAX];
	unsigned n = frame_make(buf, &v6);
	struct addr us = addr_of("192.0.2.1"), peer = addr_of("203.0.113.5");
	struct flow_key keys[2];
	struct pkt v[2] = {{.n = FRAME_MAX}, {.p = buf, .n = (uint16_t)n}};
	uint8_t first[FRAME_MAX];

	memcpy(buf + 22, &peer, 16);
	cr_assert_eq(parse(buf, n, DEV_OWN, 0), DROP_IP_HEADER);
	memcpy(buf + 38, &us, 16);
	cr_assert_eq(parse(buf, n, DEV_OWN, 0), VERDICT_PUNT);

	/* Nor when the address was just met in an honest packet. */
	v[0].p = first;
	v[0].n = (uint16_t)frame_make(first, &v4);
	net_parse_burst(v, keys, 2, tbl, ports);
	cr_assert_eq(v[0].verdict, VERDICT_OK);
	cr_assert_eq(v[1].verdict, VERDICT_PUNT);
}

Test(parse, bad_ipv4)
{
	struct frame f = frame_v4();
	uint8_t buf[FRAME_MAX];
	unsigned n = frame_make(buf, &f);

	for (unsigned at = 14; at < 34; at++) {
		uint8_t was = buf[at];

		if (at == 23 || at >= 30 || at == 14 || at == 16 || at == 17)
			continue; /* protocol, destination; version and length have verdicts of their own */
		buf[at] ^= 0x10;
		cr_assert_eq(parse(buf, n, DEV_OWN, 0), DROP_IP_CHECKSUM, "at %u", at);
		buf[at] = was;
	}
	cr_assert_eq(bent(&f, 14, 0x55), DROP_IP_HEADER, "version");
	cr_assert_eq(bent(&f, 14, 0x44), DROP_IP_HEADER, "header length below 20");
	cr_assert_eq(bent(&f, 17, 129), DROP_IP_HEADER, "one byte more than the frame has");
	cr_assert_eq(bent(&f, 17, 127), DROP_UDP_LENGTH, "one byte less than UDP says");
	cr_assert_eq(bent(&f, 17, 27), DROP_FRAME_SHORT, "not even a UDP header");
	cr_assert_eq(bent(&f, 17, 19), DROP_IP_HEADER, "not even an IP header");
	f.payload_n = 0;
	cr_assert_eq(bent(&f, 14, 0x4f), DROP_IP_HEADER, "header longer than the packet");
}

Test(parse, bad_sources)
{
	static const char *const bad4[] = {"0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255"};
	static const char *const bad6[] = {"::", "ff02::1"};
	struct frame v4 = frame_v4(), v6 = frame_v6();

	for (unsigned i = 0; i < 5; i++) {
		v4.src = bad4[i];
		cr_assert_eq(verdict_of(&v4, DEV_OWN), DROP_IP_HEADER, "%s", bad4[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		v6.src = bad6[i];
		cr_assert_eq(verdict_of(&v6, DEV_OWN), DROP_IP_HEADER, "%s", bad6[i]);
	}
	v4.src = "240.0.0.1";
	cr_assert_eq(verdict_of(&v4, DEV_OWN), VERDICT_OK);
}

Test(parse, udp_length)
{
	struct frame v4 = frame_v4(), v6 = frame_v6();

	for (unsigned len = 0; len < 256; len++) {
		unsigned want = len >= 8 && len <= 108 ? VERDICT_OK : DROP_UDP_LENGTH;

		cr_assert_eq(bent(&v4, 39, (uint8_t)len), want, "%u", len);
		cr_assert_eq(bent(&v6, 59, (uint8_t)len), want, "%u", len);
	}
}

Test(parse, ipv4_fragments)
{
	struct frame f = frame_v4();

	f.frag = 0x4000;
	cr_assert_eq(verdict_of(&f, DEV_OWN), VERDICT_OK, "DF is no fragment");
	f.frag = 0x8000;
	cr_assert_eq(verdict_of(&f, DEV_OWN), VERDICT_OK, "the reserved bit is no fragment");
	for (unsigned bit = 0; bit < 14; bit++) {
		f.frag = (uint16_t)(1u << bit);
		cr_assert_eq(verdict_of(&f, DEV_OWN), VERDICT_FRAG);
		cr_assert_eq(verdict_of(&f, DEV_SHARED), VERDICT_FRAG);
	}
	f.payload_n = 0;
	cr_assert_eq(bent(&f, 17, 21), VERDICT_FRAG, "a last fragment may be one byte");
	f = frame_v4();
	f.frag = 0x2000;
	f.dport = 4001;
	cr_assert_eq(verdict_of(&f, DEV_OWN), VERDICT_FRAG, "ports are not looked at");
	f.dst = "192.0.2.77";
	cr_assert_eq(verdict_of(&f, DEV_OWN), VERDICT_PUNT);
	f.dst = "192.0.2.1";
	cr_assert_eq(bent(&f, 23, 6), VERDICT_FRAG, "a fragment of TCP: it may be a tunnel's");
}

static unsigned with_ext(uint8_t next, const uint8_t *ext, unsigned n)
{
	struct frame f = frame_v6();

	f.next = next;
	f.ext = ext;
	f.ext_n = n;
	return verdict_of(&f, DEV_OWN);
}

Test(parse, ipv6_extension_headers)
{
	static const uint8_t options[] = {17, 0, 1, 4, 0, 0, 0, 0};
	static const uint8_t long_options[24] = {17, 2, 1, 20};
	static const uint8_t routed[] = {17, 0, 0, 0, 0, 0, 0, 0}, waypoint[] = {17, 0, 0, 1, 0, 0, 0, 0};
	static const uint8_t chain[] = {60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0,
					60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
	static const uint8_t five[] = {60, 0, 1, 4, 0,	0, 0, 0, 60, 0, 1, 4, 0,  0, 0, 0, 60, 0, 1, 4,
				       0,  0, 0, 0, 60, 0, 1, 4, 0,  0, 0, 0, 17, 0, 1, 4, 0,  0, 0, 0};
	static const uint8_t late_hop[] = {0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0};
	static const uint8_t to_icmp[] = {58, 0, 1, 4, 0, 0, 0, 0};
	static const uint8_t endless[] = {60, 255, 1, 4, 0, 0, 0, 0};
	struct frame f = frame_v6();

	f.next = 0;
	f.ext = options;
	f.ext_n = sizeof(options);
	accepts(&f, 0, DEV_OWN);
	f.next = 60;
	f.ext = long_options;
	f.ext_n = sizeof(long_options);
	accepts(&f, 0, DEV_OWN);
	f.next = 0;
	f.ext = chain;
	f.ext_n = sizeof(chain);
	accepts(&f, 3, DEV_OWN);
	cr_assert_eq(with_ext(43, routed, 8), VERDICT_OK);
	cr_assert_eq(with_ext(43, waypoint, 8), VERDICT_PUNT);
	cr_assert_eq(with_ext(60, five, sizeof(five)), VERDICT_PUNT);
	cr_assert_eq(with_ext(60, late_hop, sizeof(late_hop)), VERDICT_PUNT);
	cr_assert_eq(with_ext(60, to_icmp, 8), VERDICT_PUNT);
	cr_assert_eq(with_ext(60, endless, 8), DROP_FRAME_SHORT);
}

Test(parse, ipv6_fragments)
{
	static const uint8_t first[] = {17, 0, 0, 1, 0, 0, 0, 7}, later[] = {17, 0, 0, 8, 0, 0, 0, 7};
	static const uint8_t atomic[] = {17, 0xff, 0, 6, 0, 0, 0, 7}, icmp[] = {58, 0, 0, 1, 0, 0, 0, 7};
	static const uint8_t behind[] = {44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 7};

	cr_assert_eq(with_ext(44, first, 8), VERDICT_FRAG);
	cr_assert_eq(with_ext(44, later, 8), VERDICT_FRAG);
	cr_assert_eq(with_ext(60, behind, 16), VERDICT_FRAG);
	cr_assert_eq(with_ext(44, icmp, 8), VERDICT_PUNT);
	cr_assert_eq(with_ext(44, atomic, 8), VERDICT_OK, "a whole datagram (RFC 6946), reserved bits and all");
}

Test(parse, bad_ipv6)
{
	struct frame f = frame_v6();

	cr_assert_eq(bent(&f, 14, 0x40), DROP_IP_HEADER, "version");
	cr_assert_eq(bent(&f, 19, 109), DROP_IP_HEADER, "one byte more than the frame has");
	cr_assert_eq(bent(&f, 19, 107), DROP_UDP_LENGTH, "one byte less than UDP says");
	cr_assert_eq(bent(&f, 19, 7), DROP_FRAME_SHORT);
	cr_assert_eq(bent(&f, 19, 0), DROP_FRAME_SHORT, "a jumbogram that is none");
}

/* Every prefix of a good frame: never accepted, never read beyond (under a sanitizer). */
Test(parse, truncated)
{
	static const uint8_t options[8] = {1, 1, 1, 1, 1, 1, 1, 0};
	static const uint8_t ext[16] = {60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4};
	static const unsigned head[4] = {20, 28, 40, 40};
	struct frame f[4] = {frame_v4(), frame_v4(), frame_v6(), frame_v6()};
	uint8_t buf[FRAME_MAX];

	f[1].options = options;
	f[1].options_n = sizeof(options);
	f[3].next = 60;
	f[3].ext = ext;
	f[3].ext_n = sizeof(ext);
	for (unsigned i = 0; i < 4; i++) {
		unsigned n = frame_make(buf, &f[i]);

		for (unsigned cut = 0; cut < n; cut++) {
			unsigned want = cut < 14 + head[i] ? DROP_FRAME_SHORT : DROP_IP_HEADER;

			cr_assert_eq(parse(buf, cut, DEV_OWN, 0), want, "cut %u", cut);
		}
	}
}

/* The same for packets that are honest about being short: they end inside an extension header or the UDP header. */
Test(parse, ends_inside_a_header)
{
	static const uint8_t ext[16] = {60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4};
	struct frame f = frame_v6();
	uint8_t buf[FRAME_MAX];

	f.next = 60;
	f.ext = ext;
	f.ext_n = sizeof(ext);
	frame_make(buf, &f);
	for (unsigned n = 0; n < sizeof(ext) + 8; n++) {
		buf[19] = (uint8_t)n;
		cr_assert_eq(parse(buf, 54 + n, DEV_OWN, 0), DROP_FRAME_SHORT, "%u", n);
	}
	f = frame_v4();
	frame_make(buf, &f);
	for (unsigned n = 0; n < 8; n++) {
		buf[17] = (uint8_t)(20 + n);
		frame_fix_ip4(buf);
		cr_assert_eq(parse(buf, 34 + n, DEV_OWN, 0), DROP_FRAME_SHORT, "%u", n);
	}
}

/* A frame of seeded noise, or a good one with a few bytes changed: any verdict will do, reading beyond will not. */
static unsigned noise(uint8_t *buf, uint64_t *seed, unsigned round)
{
	struct frame f = round & 1 ? frame_v4() : frame_v6();
	unsigned n;

	f.payload_n = (unsigned)(rnd(seed) % 64);
	n = frame_make(buf, &f);
	if (round % 4 == 0) {
		for (unsigned i = 12 + 2 * (unsigned)(rnd(seed) & 1); i < n; i++)
			buf[i] = (uint8_t)rnd(seed);
	}
	for (unsigned i = (unsigned)(rnd(seed) % 4); i > 0; i--)
		buf[rnd(seed) % n] = (uint8_t)(rnd(seed) % 3 ? rnd(seed) % 64 : rnd(seed));
	if (buf[12] == 8 && n >= 14 + (buf[14] & 15) * 4u && rnd(seed) % 4)
		frame_fix_ip4(buf);
	return rnd(seed) % 3 ? n : (unsigned)(rnd(seed) % (n + 1));
}

Test(parse, noise)
{
	uint64_t seed = 3;
	unsigned seen[256] = {0};
	uint8_t buf[FRAME_MAX];

	for (unsigned round = 0; round < 300000; round++) {
		unsigned n = noise(buf, &seed, round);

		seen[parse(buf, n, (unsigned)(rnd(&seed) % 4),
			   (rnd(&seed) % 8 ? 0 : PKT_F_L4_BAD) | (rnd(&seed) % 4 ? 0 : PKT_F_UNTAGGED))]++;
	}
	/* The noise is worth its name when it reached every verdict. */
	for (unsigned v = VERDICT_OK; v <= DROP_UDP_CHECKSUM; v++) {
		if (v <= VERDICT_FRAG || (v > VERDICT_DROP && v != DROP_IP_FRAGMENT))
			cr_assert_gt(seen[v], 0, "%s (%u)", drop_name(v), v);
	}
}

/* A burst gives what its packets give one by one, whatever came before them. */
Test(parse, burst_is_one_by_one)
{
	enum { N = 256 };
	static uint8_t buf[N][FRAME_MAX];
	static struct pkt v[N], one[N];
	static struct flow_key keys[N];
	uint64_t seed = 4;

	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < N; i++) {
			unsigned n = noise(buf[i], &seed, (unsigned)rnd(&seed) | (round < 20));

			v[i] = one[i] = (struct pkt){.p = buf[i], .n = (uint16_t)n, .dev = (uint16_t)(rnd(&seed) % 3)};
		}
		net_parse_burst(v, keys, N, tbl, ports);
		for (unsigned i = 0; i < N; i++) {
			struct flow_key key;

			net_parse_burst(&one[i], &key, 1, tbl, ports);
			cr_assert_eq(v[i].verdict, one[i].verdict);
			cr_assert_eq(v[i].p, one[i].p);
			cr_assert_eq(v[i].n, one[i].n);
			cr_assert_eq(v[i].tunnel, one[i].tunnel);
			if (v[i].verdict == VERDICT_OK) {
				cr_assert_eq(v[i].key, &keys[i]);
				cr_assert_eq(memcmp(v[i].key, &key, sizeof(key)), 0);
			}
		}
	}
}

Test(parse, empty_table)
{
	struct net_tbl *none = net_tbl_alloc(0, 0, 0);
	struct frame f = frame_v6();
	uint8_t buf[FRAME_MAX];
	struct flow_key key;
	struct pkt k = {.p = buf, .n = (uint16_t)frame_make(buf, &f)};

	none->n_dev = 1;
	none->dev[0] = tbl->dev[DEV_OWN];
	net_tbl_sort(none);
	memset(buf + 38, 0, 16);
	net_parse_burst(&k, &key, 1, none, ports);
	cr_assert_eq(k.verdict, VERDICT_PUNT);
	net_parse_burst(&k, &key, 0, none, ports);
	net_tbl_free(none);
}
