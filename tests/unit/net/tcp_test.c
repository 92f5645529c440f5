/* SPDX-License-Identifier: MIT */

/* Fake TCP (wire.md 10): what is pushed, what is parsed, the handshake's answers, and the numbers. */

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "le.h"

#define MAX_N  1500
#define TUNNEL 6
#define FIN    0x01
#define SYN    0x02
#define RST    0x04
#define PSH    0x08
#define ACK    0x10
#define ISN    0xfffffff0u

static const uint8_t mac_us[6] = {2, 0, 0, 0, 0, 1}, mac_peer[6] = {2, 0, 0, 0, 0, 9};
static struct net_tbl *tbl;
static struct net_ports *ports;

static void setup(void)
{
	tbl = net_tbl_alloc(0, 0, 2);
	ports = calloc(1, sizeof(*ports));
	tbl->n_dev = 2;
	memcpy(tbl->dev[0].mac, mac_us, 6);
	tbl->dev[0].exclusive = true;
	memcpy(tbl->dev[1].mac, mac_us, 6);
	tbl->local[tbl->n_local++].addr = addr_of("192.0.2.1");
	tbl->local[tbl->n_local++].addr = addr_of("2001:db8::1");
	net_tbl_sort(tbl);
	atomic_store(&ports->tcp[4000], TUNNEL + 1);
	atomic_store(&ports->of[5000], TUNNEL + 1);
}

static void teardown(void)
{
	net_tbl_free(tbl);
	free(ports);
}

TestSuite(tcp, .init = setup, .fini = teardown);

static struct flow_key key_of(const char *peer, uint16_t peer_port, const char *local, uint16_t local_port)
{
	return (struct flow_key){.peer = addr_of(peer),
				 .local = addr_of(local),
				 .peer_port = peer_port,
				 .local_port = local_port,
				 .proto = FLOW_TCP};
}

/* The checksum of the whole segment, the field included: 0 when it is right. */
static uint16_t ref_tcp_csum(const uint8_t *ip, const uint8_t *tcp, unsigned n)
{
	bool v6 = ip[0] >> 4 == 6;
	unsigned addrs = v6 ? 32 : 8;
	uint8_t *all = calloc(1, addrs + 4 + n);
	uint16_t sum;

	memcpy(all, ip + (v6 ? 8 : 12), addrs);
	all[addrs + 1] = 6;
	be16_put(all + addrs + 2, (uint16_t)n);
	memcpy(all + addrs + 4, tcp, n);
	sum = ref_csum(all, addrs + 4 + n);
	free(all);
	return sum;
}

/* A segment to port 4000 written out by hand: `head` bytes of TCP header, options filled with 0xff. */
static unsigned segment(uint8_t *buf, bool v6, uint8_t flags, unsigned head, unsigned n)
{
	struct frame f = {.src = v6 ? "2001:db8:5::5" : "203.0.113.5",
			  .dst = v6 ? "2001:db8::1" : "192.0.2.1",
			  .sport = 1234,
			  .dport = 4000,
			  .payload_n = head - 8 + n};
	uint8_t *tcp = buf + 14 + (v6 ? 40 : 20);
	unsigned len;

	memcpy(f.dst_mac, mac_us, 6);
	memcpy(f.src_mac, mac_peer, 6);
	len = frame_make(buf, &f);
	buf[14 + (v6 ? 6 : 9)] = 6;
	if (!v6)
		frame_fix_ip4(buf);
	be32_put(tcp + 4, ISN);
	be32_put(tcp + 8, 77);
	tcp[12] = (uint8_t)(head / 4 << 4);
	tcp[13] = flags;
	memset(tcp + 14, 0xff, head - 14);
	return len;
}

static unsigned parse(const uint8_t *frame, unsigned n, uint16_t dev, struct pkt *k, struct flow_key *key)
{
	*k = (struct pkt){.p = malloc(n), .n = (uint16_t)n, .dev = dev};
	memcpy(k->p, frame, n);
	k->own = k->p;
	net_parse_burst(k, key, 1, tbl, ports);
	return k->verdict;
}

static unsigned verdict(const uint8_t *frame, unsigned n, uint16_t dev)
{
	struct flow_key key;
	struct pkt k;
	unsigned v = parse(frame, n, dev, &k, &key);

	if (v != VERDICT_OK)
		cr_assert(k.p == k.own && k.n == n, "a frame that is not a datagram stays as it is");
	free(k.own);
	return v;
}

/* With any header, in front of any IP header that is taken: the right sum and a device's half of it, and no other. */
static void sums(bool v6, const char *more, unsigned more_n, unsigned head, unsigned n)
{
	uint8_t buf[FRAME_MAX], *ip = buf + 14, *tcp = ip + (v6 ? 40 : 20);
	unsigned len = segment(buf, v6, PSH | ACK, head, n);
	struct flow_key key;
	struct pkt k;
	uint16_t sum;

	memmove(tcp + more_n, tcp, len - (unsigned)(tcp - buf));
	memcpy(tcp, more, more_n);
	tcp += more_n;
	len += more_n;
	if (v6) {
		ip[6] = more_n ? 60 : 6;
		be16_put(ip + 4, (uint16_t)(len - 54));
	} else {
		ip[0] = (uint8_t)(0x45 + more_n / 4);
		be16_put(ip + 2, (uint16_t)(len - 14));
		frame_fix_ip4(buf);
	}
	be16_put(tcp + 16, 0);
	sum = ref_tcp_csum(ip, tcp, head + n);
	for (unsigned bit = 0; bit < (head + n) * 8; bit += bit % 3 + 1) {
		be16_put(tcp + 16, sum);
		cr_assert_eq(parse(buf, len, 0, &k, &key), VERDICT_OK);
		cr_assert(net_sum_ok(k.own, &k));
		((uint8_t *)k.own)[tcp - buf + bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_not(net_sum_ok(k.own, &k), "bit %u", bit);
		free(k.own);
	}
	be16_put(tcp + 16, 0);
	sum = (uint16_t)~ref_tcp_csum(ip, tcp, 0);
	sum = (uint16_t)((sum + head + n) % 0xffff);
	be16_put(tcp + 16, sum);
	cr_assert_eq(parse(buf, len, 0, &k, &key), VERDICT_OK);
	cr_assert(net_sum_ok(k.own, &k), "half");
	free(k.own);
	be16_put(tcp + 16, 0);
	cr_assert_eq(parse(buf, len, 0, &k, &key), VERDICT_OK);
	cr_assert_not(net_sum_ok(k.own, &k), "TCP knows no segment without");
	free(k.own);
}

Test(tcp, sums)
{
	for (unsigned n = 1; n < 60; n += 29) {
		sums(false, "", 0, 20, n);
		sums(false, "\1\1\1\1\1\1\1\1", 8, 36, n);
		sums(true, "", 0, 36, n);
		sums(true, "\x2b\0\1\4\0\0\0\0\x06\0\4\0\0\0\0\0", 16, 20, n); /* a routing header that is done */
	}
}

/* Every set of flags means what the kernel's and the tunnel's segments mean by it. */
Test(tcp, verdict_by_flags)
{
	uint8_t buf[FRAME_MAX];

	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned flags = 0; flags < 256; flags++) {
			unsigned want = flags & RST   ? DROP_TCP_CONTROL
					: flags & SYN ? VERDICT_SYN
					: flags & PSH ? VERDICT_OK
						      : DROP_TCP_CONTROL;

			cr_assert_eq(verdict(buf, segment(buf, v6, (uint8_t)flags, 20, 50), 0), want, "flags %#x",
				     flags);
			if (want == VERDICT_OK)
				want = DROP_TCP_CONTROL;
			cr_assert_eq(verdict(buf, segment(buf, v6, (uint8_t)flags, 20, 0), 0), want,
				     "flags %#x without data", flags);
		}
}

/* V26's header of 36 bytes has a timestamp option of illegal length; numbers and windows are whatever they are. */
Test(tcp, any_header_length_and_numbers)
{
	uint8_t buf[FRAME_MAX];

	for (unsigned head = 20; head <= 60; head += 4)
		for (unsigned v6 = 0; v6 < 2; v6++) {
			struct flow_key key, want = key_of(v6 ? "2001:db8:5::5" : "203.0.113.5", 1234,
							   v6 ? "2001:db8::1" : "192.0.2.1", 4000);
			unsigned n = segment(buf, v6, PSH | ACK, head, 50);
			struct pkt k;

			cr_assert_eq(parse(buf, n, 0, &k, &key), VERDICT_OK);
			cr_assert_eq(memcmp(&key, &want, sizeof(key)), 0);
			cr_assert_eq(k.key, &key);
			cr_assert_eq(k.tunnel, TUNNEL);
			cr_assert_eq(k.n, 50);
			cr_assert_eq(k.p - (uint8_t *)k.own, n - 50);
			cr_assert_eq(k.tcp_seq, ISN);
			cr_assert_eq(k.tcp_ack, 77);
			cr_assert_eq(k.tcp_end, ISN + 50);
			cr_assert_eq(k.flags, PKT_F_ACK);
			free(k.own);
		}
}

Test(tcp, strays_and_malformed)
{
	uint8_t buf[FRAME_MAX];
	struct flow_key key;
	struct pkt k;
	unsigned n;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		unsigned at = 14 + (v6 ? 40 : 20);

		n = segment(buf, v6, PSH | ACK, 20, 50);
		be16_put(buf + at + 2, 5000); /* a UDP tunnel's port, and nobody's TCP */
		cr_assert_eq(verdict(buf, n, 0), VERDICT_PUNT);
		cr_assert_eq(verdict(buf, n, 1), DROP_NOT_FOR_US);
		for (unsigned words = 0; words < 16; words++) {
			n = segment(buf, v6, PSH | ACK, 20, 20);
			buf[at + 12] = (uint8_t)(words << 4);
			cr_assert_eq(verdict(buf, n, 0),
				     words < 5 || words > 10 ? DROP_UDP_LENGTH
				     : words == 10	     ? DROP_TCP_CONTROL
							     : VERDICT_OK,
				     "%u words", words);
		}
		/* UDP's port is not TCP's. */
		n = segment(buf, v6, PSH | ACK, 20, 50);
		buf[14 + (v6 ? 6 : 9)] = 17;
		if (!v6)
			frame_fix_ip4(buf);
		cr_assert_eq(verdict(buf, n, 0), VERDICT_PUNT);
	}
	n = segment(buf, true, PSH | ACK, 20, 0);
	be16_put(buf + 14 + 4, 19);
	cr_assert_eq(verdict(buf, n, 0), DROP_FRAME_SHORT);
	n = segment(buf, false, PSH | ACK, 20, 50);
	buf[14 + 6] = 0x20; /* more fragments */
	frame_fix_ip4(buf);
	cr_assert_eq(verdict(buf, n, 0), VERDICT_FRAG);
	cr_assert_eq(verdict(buf, n, 1), VERDICT_FRAG);
	n = segment(buf, false, PSH | ACK, 20, 50);
	k = (struct pkt){.p = buf, .n = (uint16_t)n, .flags = PKT_F_L4_BAD};
	net_parse_burst(&k, &key, 1, tbl, ports);
	cr_assert_eq(k.verdict, DROP_UDP_CHECKSUM);
}

static void path_make(struct net_path *path, const struct flow_key *key, uint8_t csum)
{
	struct net_ends ends = {.key = key, .traffic_class = 0x2e, .csum = csum};

	memcpy(ends.src_mac, mac_peer, 6);
	memcpy(ends.dst_mac, mac_us, 6);
	net_path_init(path, &ends);
}

/* A peer's frame as it should be; the number of bytes behind its TCP header. */
static unsigned check_frame(const struct pkt *k, bool v6, uint8_t flags, unsigned head, uint32_t seq, uint32_t ack)
{
	const uint8_t *ip = k->p + 14, *tcp = ip + (v6 ? 40 : 20);
	unsigned n = k->n - (unsigned)(tcp - k->p);

	cr_assert_eq(be16_get(k->p + 12), v6 ? 0x86dd : 0x800);
	if (v6) {
		cr_assert_eq(be16_get(ip + 4), n);
		cr_assert_eq(ip[6], 6);
	} else {
		cr_assert_eq(be16_get(ip + 2), 20 + n);
		cr_assert_eq(be32_get(ip + 4), 0x4000, "id 0, DF");
		cr_assert_eq(ip[9], 6);
		cr_assert_eq(ref_csum(ip, 20), 0);
	}
	cr_assert_eq(ref_tcp_csum(ip, tcp, n), 0, "TCP checksum");
	cr_assert_eq(tcp[12], head / 4 << 4);
	cr_assert_eq(tcp[13], flags);
	cr_assert_eq(be32_get(tcp + 4), seq);
	cr_assert_eq(be32_get(tcp + 8), ack);
	cr_assert_eq(be16_get(tcp + 14), 65535);
	cr_assert_eq(be16_get(tcp + 18), 0);
	return n - head;
}

/* Every length, in a block of exactly its size: pushed, checked field by field, parsed at the other end. */
Test(tcp, round_trip_of_every_length)
{
	for (unsigned n = 1; n <= MAX_N; n++) {
		bool v6 = n & 1;
		struct flow_key to =
			key_of(v6 ? "2001:db8::1" : "192.0.2.1", 4000, v6 ? "2001:db8::9" : "192.0.2.9", 33);
		struct flow_key want =
			key_of(v6 ? "2001:db8::9" : "192.0.2.9", 33, v6 ? "2001:db8::1" : "192.0.2.1", 4000);
		struct net_tcp t = {.seq = ISN, .ack = 0x01020304};
		uint8_t *block = malloc(NET_MAX_HEAD + n), *copy = malloc(n);
		struct pkt k = {.p = block + NET_MAX_HEAD, .n = (uint16_t)n};
		struct net_path path;
		struct flow_key key;

		for (unsigned i = 0; i < n; i++)
			copy[i] = k.p[i] = (uint8_t)(i * 31 + n);
		/* The port's own work on UDP checksums must change nothing. */
		path_make(&path, &to, n & 2 ? NET_CSUM_UDP_HW : 0);
		cr_assert(path.tcp);
		cr_assert_eq(path.csum, 0);
		cr_assert_eq(path.l3_n, v6 ? 40 : 20);
		net_push_tcp(&path, &t, &k);
		cr_assert_eq(t.seq, ISN + n);
		cr_assert_eq(t.ack, 0x01020304);
		cr_assert_eq(k.n, path.head_n + n);
		cr_assert_eq(check_frame(&k, v6, PSH | ACK, 20, ISN, 0x01020304), n);
		net_parse_burst(&k, &key, 1, tbl, ports);
		cr_assert_eq(k.verdict, VERDICT_OK);
		cr_assert_eq(memcmp(&key, &want, sizeof(key)), 0);
		cr_assert_eq(k.p, block + NET_MAX_HEAD);
		cr_assert_eq(k.n, n);
		cr_assert_eq(memcmp(k.p, copy, n), 0);
		free(block);
		free(copy);
	}
}

/* The client's SYN, the server's answer to it in place, and the client's to that. */
Test(tcp, handshake)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct flow_key to =
			key_of(v6 ? "2001:db8::1" : "192.0.2.1", 4000, v6 ? "2001:db8::9" : "192.0.2.9", 33);
		uint8_t *block = malloc(2 * NET_MAX_HEAD);
		struct pkt k = {.p = block + NET_MAX_HEAD, .n = 5, .flags = PKT_F_SYN};
		struct net_tcp t = {.seq = ISN}, c = t;
		struct net_path path;
		struct flow_key key;

		path_make(&path, &to, 0);
		net_push_tcp(&path, &t, &k);
		cr_assert_eq(t.seq, ISN, "a SYN that is repeated is the same");
		cr_assert_eq(check_frame(&k, v6, SYN, 28, ISN, 0), 0);
		memmove(block, k.p, k.n);
		k = (struct pkt){.p = block, .n = k.n};
		net_parse_burst(&k, &key, 1, tbl, ports);
		cr_assert_eq(k.verdict, VERDICT_SYN);
		cr_assert_eq(k.flags, PKT_F_SYN);
		cr_assert_eq(k.tcp_end, ISN + 1);
		net_answer_syn(&k, 500, 0);
		cr_assert(memcmp(k.p, mac_peer, 6) == 0 && memcmp(k.p + 6, mac_us, 6) == 0, "back where it came from");
		cr_assert_eq(check_frame(&k, v6, SYN | ACK, 28, 500, ISN + 1), 0);
		cr_assert_geq(k.p, block);
		cr_assert_leq(k.p + k.n, block + 2 * NET_MAX_HEAD);

		/* The answer's parse, as the client would: flags alone, for the table here is the server's. */
		k.flags = PKT_F_SYN | PKT_F_ACK;
		k.key = &to;
		k.tcp_seq = 500;
		k.tcp_end = 501;
		k.tcp_ack = ISN + 1;
		net_tcp_take(&c, &k);
		cr_assert_eq(c.seq, ISN + 1);
		cr_assert_eq(c.ack, 501);
		memmove(block, k.p, k.n);
		k.p = block;
		net_answer_syn(&k, 0, 0);
		cr_assert_eq(check_frame(&k, v6, ACK, 20, ISN + 1, 501), 0);
		free(block);
	}
}

/* A datagram turned round where it lies continues the numbers of the segment that brought it. */
Test(tcp, back_in_place)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct flow_key to =
			key_of(v6 ? "2001:db8::1" : "192.0.2.1", 4000, v6 ? "2001:db8::9" : "192.0.2.9", 33);
		struct net_tcp t = {.seq = ISN, .ack = 700};
		uint8_t block[NET_MAX_HEAD + 28] = {0};
		struct pkt k = {.p = block + NET_MAX_HEAD, .n = 28};
		struct net_path path;
		struct flow_key key;
		const uint8_t *frame;

		path_make(&path, &to, 0);
		net_push_tcp(&path, &t, &k);
		frame = k.p;
		net_parse_burst(&k, &key, 1, tbl, ports);
		cr_assert_eq(k.verdict, VERDICT_OK);
		net_push_back(frame, &k, 0, 0);
		cr_assert_eq(k.p, frame);
		cr_assert(memcmp(k.p, mac_peer, 6) == 0 && memcmp(k.p + 6, mac_us, 6) == 0);
		cr_assert_eq(check_frame(&k, v6, PSH | ACK, 20, 700, ISN + 28), 28);
	}
}

static void take(struct net_tcp *t, uint8_t flags, uint32_t seq, uint32_t n, uint32_t ack)
{
	struct pkt k = {.flags = flags, .tcp_seq = seq, .tcp_ack = ack, .tcp_end = seq + n};

	net_tcp_take(t, &k);
}

/* wire.md 10: seq is what was acknowledged last; ack moves in order only, so that the peer repeats from the gap. */
Test(tcp, numbers)
{
	struct net_tcp t = {0};

	take(&t, PKT_F_ACK, 1000, 50, 7);
	cr_assert(t.seq == 7 && t.ack == 1050, "a server begins where the peer is");
	take(&t, PKT_F_ACK, 1050, 50, 9);
	cr_assert(t.seq == 9 && t.ack == 1100);
	take(&t, PKT_F_ACK, 1200, 50, 30);
	cr_assert(t.seq == 30 && t.ack == 1100, "behind a gap");
	take(&t, PKT_F_ACK, 1050, 50, 8);
	cr_assert(t.seq == 8 && t.ack == 1100, "late");
	take(&t, 0, 1100, 1, 99);
	cr_assert(t.seq == 8 && t.ack == 1101, "no acknowledgement");
	t.ack = UINT32_MAX;
	take(&t, PKT_F_ACK, UINT32_MAX, 2, 0);
	cr_assert(t.seq == 0 && t.ack == 1, "round the corner");
}
