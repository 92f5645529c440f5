/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

/* ICMP that a packet was too big, read and judged as far as bytes go; and packets cut into fragments. */

#define MAC_US                   \
	{                        \
		2, 0, 0, 0, 0, 1 \
	}
#define MAC_PEER                 \
	{                        \
		2, 0, 0, 0, 0, 9 \
	}
#define OWN    0 /* exclusive */
#define SHARED 1
#define TUNNEL 6

static struct net_tbl *tbl;
static struct net_ports *ports;

static void setup(void)
{
	static const char *const mine[] = {"192.0.2.1", "2001:db8::1"};

	tbl = net_tbl_alloc(0, 0, 2);
	ports = calloc(1, sizeof(*ports));
	tbl->n_dev = 2;
	tbl->dev[OWN] = (struct net_dev){.mac = MAC_US, .exclusive = true, .up = true};
	tbl->dev[SHARED] = (struct net_dev){.mac = MAC_US, .up = true};
	for (unsigned i = 0; i < 2; i++)
		tbl->local[tbl->n_local++] = (struct net_local){.addr = addr_of(mine[i]), .plen = 128};
	net_tbl_sort(tbl);
	atomic_store(&ports->of[4000], TUNNEL + 1);
	atomic_store(&ports->tcp[4443], TUNNEL + 2);
}

static void teardown(void)
{
	net_tbl_free(tbl);
	free(ports);
}

TestSuite(net_big, .init = setup, .fini = teardown);

/* ---- what the message is made of ---- */

struct msg {
	bool v6;
	uint32_t mtu;
	uint16_t len;	/* of the quoted packet */
	uint32_t mark;	/* its id, or flow label */
	unsigned bytes; /* of it that are quoted */
	/* What is bent; 0: as it should be. */
	uint8_t type, code, proto, version;
	uint16_t sport, frag;
	bool other_source, bad_sum, v6_frag, options, link_local;
};

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* The packet that was too big, from us to 203.0.113.5:1234. */
static void quoted(uint8_t *q, const struct msg *m)
{
	const unsigned head = m->v6 ? 40 + (m->v6_frag ? 8 : 0) : m->options ? 24 : 20;
	uint8_t proto = m->proto ? m->proto : 17;

	if (m->v6) {
		struct addr src = addr_of(m->other_source ? "2001:db8::77" : "2001:db8::1");
		struct addr dst = addr_of(m->link_local ? "fe80::5" : "2001:db8:5::5");

		put32(q, 0x60000000 | m->mark);
		put16(q + 4, m->len - 40u);
		q[6] = m->v6_frag ? 44 : proto;
		memcpy(q + 8, &src, 16);
		memcpy(q + 24, &dst, 16);
		if (m->v6_frag) {
			q[40] = proto;
			put16(q + 42, m->frag);
		}
	} else {
		q[0] = (uint8_t)(0x40 | head / 4);
		put16(q + 2, m->len);
		put16(q + 4, m->mark);
		put16(q + 6, m->frag ? m->frag : 0x4000);
		q[9] = proto;
		memcpy(q + 12, (const uint8_t[]){192, 0, 2, m->other_source ? 77 : 1}, 4);
		memcpy(q + 16, (const uint8_t[]){203, 0, 113, 5}, 4);
	}
	if (m->version)
		q[0] = (uint8_t)((q[0] & 15) | m->version << 4);
	put16(q + head, m->sport ? m->sport : 4000);
	put16(q + head + 2, 1234);
	put16(q + head + 4, m->len - head);
}

/* The frame that a router at 203.0.113.1 sends. */
static unsigned make(uint8_t *f, const struct msg *m)
{
	const uint8_t us[6] = MAC_US, peer[6] = MAC_PEER;
	const unsigned head = m->v6 ? 40 : 20, n = 8 + m->bytes;
	uint8_t q[256] = {0}, *ip = f + 14, *icmp = ip + head;
	uint32_t sum;

	memset(f, 0, FRAME_MAX);
	memcpy(f, us, 6);
	memcpy(f + 6, peer, 6);
	put16(f + 12, m->v6 ? 0x86dd : 0x0800);
	quoted(q, m);
	if (m->v6) {
		struct addr src = addr_of("2001:db8:9::1"), dst = addr_of("2001:db8::1");

		ip[0] = 0x60;
		put16(ip + 4, n);
		ip[6] = 58;
		ip[7] = 64;
		memcpy(ip + 8, &src, 16);
		memcpy(ip + 24, &dst, 16);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, head + n);
		ip[8] = 64;
		ip[9] = 1;
		memcpy(ip + 12, (const uint8_t[]){203, 0, 113, 1}, 4);
		memcpy(ip + 16, (const uint8_t[]){192, 0, 2, 1}, 4);
		put16(ip + 10, ref_csum(ip, 20));
	}
	icmp[0] = m->type ? m->type : m->v6 ? 2 : 3;
	icmp[1] = m->code ? m->code : m->v6 ? 0 : 4;
	if (m->v6)
		put32(icmp + 4, m->mtu);
	else
		put16(icmp + 6, m->mtu);
	memcpy(icmp + 8, q, m->bytes);
	if (m->v6) {
		uint8_t all[512] = {0};

		memcpy(all, ip + 8, 32);
		put16(all + 34, n);
		all[39] = 58;
		memcpy(all + 40, icmp, n);
		sum = ref_csum(all, 40 + n);
	} else {
		sum = ref_csum(icmp, n);
	}
	put16(icmp + 2, sum ^ m->bad_sum);
	return 14 + head + n;
}

static unsigned parse(const uint8_t *frame, unsigned n, unsigned dev, struct flow_key *key, struct net_too_big *b)
{
	uint8_t *exact = malloc(n ? n : 1);
	struct pkt k = {.p = exact, .n = (uint16_t)n, .dev = (uint16_t)dev};

	memcpy(exact, frame, n);
	net_parse_burst(&k, key, 1, tbl, ports);
	if (k.verdict == VERDICT_BIG) {
		cr_expect_eq(k.key, key);
		cr_expect_eq(k.tunnel, key->proto == FLOW_TCP ? TUNNEL + 1 : TUNNEL);
		net_too_big(&k, b);
	} else {
		cr_expect(k.p == exact && k.n == n, "a frame that is no tunnel's stays as it was");
	}
	free(exact);
	return k.verdict;
}

/* A link-local peer is another one on each link: the flow is that of the port that the message came by. */
Test(net_big, link_local)
{
	for (unsigned dev = OWN; dev <= SHARED; dev++) {
		const struct msg m = {.v6 = true, .mtu = 1300, .len = 1398, .bytes = 48, .link_local = dev == SHARED};
		uint8_t f[FRAME_MAX];
		struct flow_key key;
		struct net_too_big b;

		cr_expect_eq(parse(f, make(f, &m), dev, &key, &b), VERDICT_BIG);
		cr_expect_eq(key.dev, dev == SHARED ? SHARED + 1 : 0);
	}
}

/* Every kind of message: its own verdict, on an exclusive port and on a shared one. */
Test(net_big, kinds)
{
	static const struct {
		const char *what;
		struct msg m;
		unsigned own, shared; /* verdicts; shared 0: the same */
	} of[] = {
#define V4    .mtu = 1280, .len = 1378, .mark = 0xbeef
#define V6    .v6 = true, .mtu = 1300, .len = 1398, .mark = 0xabcde
#define STRAY VERDICT_PUNT, DROP_NOT_FOR_US
		{"v4", {V4, .bytes = 28}, VERDICT_BIG, 0},
		{"v4, all that fits", {V4, .bytes = 100}, VERDICT_BIG, 0},
		{"v4, options", {V4, .bytes = 32, .options = true}, VERDICT_BIG, 0},
		{"v6", {V6, .bytes = 48}, VERDICT_BIG, 0},
		{"v6, a first fragment", {V6, .bytes = 56, .v6_frag = true, .frag = 1}, VERDICT_BIG, 0},
		{"v4 TCP", {V4, .bytes = 28, .proto = 6, .sport = 4443}, VERDICT_BIG, 0},
		{"v6 TCP", {V6, .bytes = 48, .proto = 6, .sport = 4443}, VERDICT_BIG, 0},
		{"v4, quote ends in the ports", {V4, .bytes = 27}, DROP_FRAME_SHORT, 0},
		{"v4, quote ends in the IP header", {V4, .bytes = 19}, DROP_FRAME_SHORT, 0},
		{"v4, no quote", {V4, .bytes = 0}, DROP_FRAME_SHORT, 0},
		{"v4, quote ends in its options", {V4, .bytes = 31, .options = true}, DROP_FRAME_SHORT, 0},
		{"v6, quote ends in the ports", {V6, .bytes = 47}, DROP_FRAME_SHORT, 0},
		{"v6, quote ends in the fragment header",
		 {V6, .bytes = 55, .v6_frag = true, .frag = 1},
		 DROP_FRAME_SHORT,
		 0},
		{"v4 quotes v6", {V4, .bytes = 28, .version = 6}, DROP_FRAME_SHORT, 0},
		{"v6 quotes v4", {V6, .bytes = 48, .version = 4}, DROP_FRAME_SHORT, 0},
		{"v4, checksum", {V4, .bytes = 28, .bad_sum = true}, DROP_ICMP_CHECKSUM, 0},
		{"v6, checksum", {V6, .bytes = 48, .bad_sum = true}, DROP_ICMP_CHECKSUM, 0},
		{"v4, of another port", {V4, .bytes = 28, .sport = 4001}, STRAY},
		{"v6, of another port", {V6, .bytes = 48, .sport = 4001}, STRAY},
		{"v4, TCP of UDP's port", {V4, .bytes = 28, .proto = 6}, STRAY},
		{"v4, of another protocol", {V4, .bytes = 28, .proto = 47}, STRAY},
		{"v4, a later fragment", {V4, .bytes = 28, .frag = 0x0010}, STRAY},
		{"v6, a later fragment", {V6, .bytes = 56, .v6_frag = true, .frag = 0x0011}, STRAY},
		{"v4, of another host's", {V4, .bytes = 28, .other_source = true}, STRAY},
		{"v6, of another host's", {V6, .bytes = 48, .other_source = true}, STRAY},
		{"v4, port unreachable", {V4, .bytes = 28, .code = 3}, STRAY},
		{"v4, echo", {V4, .bytes = 28, .type = 8}, STRAY},
		{"v6, echo", {V6, .bytes = 48, .type = 128}, STRAY},
		{"v6, unreachable", {V6, .bytes = 48, .type = 1}, STRAY},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		const struct msg *m = &of[i].m;
		const unsigned want[2] = {of[i].own, of[i].shared ? of[i].shared : of[i].own};
		uint8_t f[FRAME_MAX];
		unsigned n = make(f, m);

		for (unsigned dev = OWN; dev <= SHARED; dev++) {
			struct flow_key key;
			struct net_too_big b = {0};
			unsigned got = parse(f, n, dev, &key, &b);

			cr_expect_eq(got, want[dev], "%s, port %u: %u (%s)", of[i].what, dev, got, drop_name(got));
			if (got != VERDICT_BIG)
				continue;
			cr_expect(b.mtu == m->mtu && b.len == m->len && b.mark == m->mark && b.v6 == m->v6, "%s",
				  of[i].what);
			cr_expect(key.peer_port == 1234 && key.local_port == (m->sport ? m->sport : 4000));
			cr_expect(addr_eq(&key.peer,
					  &(struct addr[]){addr_of(m->v6 ? "2001:db8:5::5" : "203.0.113.5")}[0]));
			cr_expect(
				addr_eq(&key.local, &(struct addr[]){addr_of(m->v6 ? "2001:db8::1" : "192.0.2.1")}[0]));
		}
		/* A frame that ends anywhere is never read beyond: each in a block of just its size. */
		for (unsigned cut = 0; cut < n; cut++) {
			struct flow_key key;
			struct net_too_big b;

			cr_expect_neq(parse(f, cut, OWN, &key, &b), VERDICT_BIG, "%s, %u of %u", of[i].what, cut, n);
		}
	}
}

/* ---- fragments ---- */

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* Puts the fragments of `whole` together again; checks the headers of each. */
static void joined(const struct net_path *path, const uint8_t *whole, unsigned n, uint32_t id)
{
	const unsigned head = 14 + (path->v6 ? 40 : 20), all = n - head;
	uint8_t frame[FRAME_MAX], f[FRAME_MAX], got[FRAME_MAX];
	unsigned at = 0, len, parts = 0;
	struct net_cut c;
	bool more = true;

	memcpy(frame, whole, n);
	net_cut_begin(&c, path, frame, n, id);
	while ((len = net_cut_next(&c, f))) {
		unsigned from, body = head + (path->v6 ? 8 : 0);

		parts++;
		cr_assert(more, "something behind the last");
		cr_assert_leq(len - 14, path->most);
		cr_assert_eq(memcmp(f, whole, 14), 0);
		if (path->v6) {
			cr_assert_eq(memcmp(f + 14, whole + 14, 4), 0, "version, class and label");
			cr_assert_eq(get16(f + 18), len - 54);
			cr_assert_eq(f[20], 44);
			cr_assert_eq(memcmp(f + 21, whole + 21, 33), 0);
			cr_assert_eq(f[54], whole[20]);
			cr_assert(f[58] == (uint8_t)(id >> 24) && f[61] == (uint8_t)id);
			from = get16(f + 56) & 0xfff8;
			more = f[57] & 1;
		} else {
			cr_assert_eq(ref_csum(f + 14, 20), 0);
			cr_assert_eq(get16(f + 16), len - 14);
			cr_assert_eq(get16(f + 18), id & 0xffff);
			from = (get16(f + 20) & 0x1fff) * 8;
			more = f[20] & 0x20;
			cr_assert_eq(f[20] & 0xc0, 0, "routers may cut it further");
			cr_assert_eq(memcmp(f + 22, whole + 22, 2), 0);
			cr_assert_eq(memcmp(f + 26, whole + 26, 8), 0);
		}
		cr_assert_eq(from, at);
		cr_assert(!more || (len - body) % 8 == 0);
		memcpy(got + at, f + body, len - body);
		at += len - body;
	}
	cr_assert(!more && at == all, "%u of %u bytes", at, all);
	cr_assert_geq(parts, 2);
	if (!path->tcp) {
		cr_assert_eq(get16(got + 6), ref_udp_csum(whole + 14, got, all), "the checksum of the whole");
		memcpy(got + 6, whole + head + 6, 2);
	}
	cr_assert_eq(memcmp(got, whole + head, all), 0);
}

Test(net_big, fragments)
{
	uint64_t seed = 11;

	for (unsigned i = 0; i < 4000; i++) {
		struct flow_key key = {.local_port = 4000, .peer_port = 1234, .proto = i & 1 ? FLOW_TCP : FLOW_UDP};
		struct net_ends ends = {.src_mac = MAC_US, .dst_mac = MAC_PEER, .key = &key};
		struct net_tcp t = {.seq = 1, .ack = 2};
		uint8_t buf[FRAME_MAX + NET_MAX_HEAD];
		struct net_path path;
		struct pkt k = {.p = buf + NET_MAX_HEAD};

		key.local = addr_of(i & 2 ? "2001:db8::1" : "192.0.2.1");
		key.peer = addr_of(i & 2 ? "2001:db8:5::5" : "203.0.113.5");
		ends.csum = i & 4 ? NET_CSUM_UDP_HW | NET_CSUM_IP_HW : 0;
		ends.most = (uint16_t)(576 + rnd(&seed) % 800);
		ends.mark = (uint32_t)rnd(&seed);
		k.n = (uint16_t)(ends.most - 20 + rnd(&seed) % (1500 - ends.most + 20));
		for (unsigned j = 0; j < k.n; j++)
			k.p[j] = (uint8_t)rnd(&seed);
		net_path_init(&path, &ends);
		if (path.tcp)
			net_push_tcp(&path, &t, &k);
		else
			net_push(&path, &k);
		cr_assert_gt(k.n - 14, path.most);
		joined(&path, k.p, k.n, (uint32_t)rnd(&seed));
	}
}

/* The mark is where ICMP brings it back from, and DF is there unless routers may cut. */
Test(net_big, mark)
{
	for (unsigned i = 0; i < 4; i++) {
		struct flow_key key = {.local_port = 4000, .peer_port = 1234};
		struct net_ends ends = {.key = &key, .mark = 0xfedcba98, .traffic_class = 0xb8, .cuttable = i & 2};
		uint8_t buf[256] = {0};
		struct net_path path;
		struct pkt k = {.p = buf + NET_MAX_HEAD, .n = 100};

		key.local = addr_of(i & 1 ? "2001:db8::1" : "192.0.2.1");
		key.peer = addr_of(i & 1 ? "2001:db8:5::5" : "203.0.113.5");
		net_path_init(&path, &ends);
		cr_expect_eq(path.most, UINT16_MAX, "nothing said: nothing is cut");
		net_push(&path, &k);
		if (i & 1) {
			cr_expect_eq(get16(k.p + 14) << 16 | get16(k.p + 16), 0x6b8cba98);
			continue;
		}
		cr_expect_eq(get16(k.p + 18), 0xba98);
		cr_expect_eq(get16(k.p + 20), ends.cuttable ? 0 : 0x4000);
		cr_expect_eq(ref_csum(k.p + 14, 20), 0);
		net_whole(&path, &k);
		cr_expect_eq(get16(k.p + 20), 0x4000);
		cr_expect_eq(ref_csum(k.p + 14, 20), 0);
	}
}
