/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "le.h"

#define MAX_N 1500

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};

/* The way from a to b. */
static void path_make(struct net_path *path, const char *a, const char *b, uint8_t tc, uint8_t csum)
{
	struct flow_key key = {.peer = addr_of(b), .local = addr_of(a), .peer_port = 4000, .local_port = 33333};
	struct net_ends ends = {.key = &key, .dev = 3, .traffic_class = tc, .csum = csum};

	memcpy(ends.src_mac, mac_a, 6);
	memcpy(ends.dst_mac, mac_b, 6);
	net_path_init(path, &ends);
	memset(&key, 0xee, sizeof(key)); /* nothing may be kept by reference */
}

/* A payload in a block with exactly NET_MAX_HEAD bytes before it. */
static uint8_t *block_make(unsigned n, uint64_t *seed)
{
	uint8_t *block = malloc(NET_MAX_HEAD + n);

	memset(block, 0xee, NET_MAX_HEAD);
	for (unsigned i = 0; i < n; i++)
		block[NET_MAX_HEAD + i] = (uint8_t)rnd(seed);
	return block;
}

static void check_v4(const uint8_t *ip, unsigned n, uint8_t tc)
{
	cr_assert_eq(ip[0], 0x45);
	cr_assert_eq(ip[1], tc);
	cr_assert_eq(be16_get(ip + 2), 28 + n);
	cr_assert_eq(be32_get(ip + 4), 0x4000, "id 0, DF");
	cr_assert_eq(ip[8], 64);
	cr_assert_eq(ip[9], 17);
	cr_assert_eq(ref_csum(ip, 20), 0);
}

static void check_v6(const uint8_t *ip, unsigned n, uint8_t tc)
{
	cr_assert_eq(be32_get(ip), 0x60000000u | (uint32_t)tc << 20);
	cr_assert_eq(be16_get(ip + 4), 8 + n);
	cr_assert_eq(ip[6], 17);
	cr_assert_eq(ip[7], 64);
}

/* Pushes, checks every field, and parses it at the other end. */
static void round_trip(const char *a, const char *b, unsigned n, uint8_t tc, const struct net_tbl *t,
		       const struct net_ports *ports, uint64_t *seed)
{
	bool v6 = strchr(a, ':');
	unsigned head = v6 ? 62 : 42;
	uint8_t *block = block_make(n, seed), *payload = malloc(n + 1);
	struct flow_key key, want = {.peer = addr_of(a), .local = addr_of(b), .peer_port = 33333, .local_port = 4000};
	struct pkt k = {.p = block + NET_MAX_HEAD, .n = (uint16_t)n};
	struct net_path path;
	const uint8_t *udp;

	path_make(&path, a, b, tc, 0);
	cr_assert_eq(path.head_n, head);
	cr_assert_eq(path.dev, 3);
	memcpy(payload, k.p, n);
	net_push(&path, &k);
	cr_assert_eq(k.p, block + NET_MAX_HEAD - head);
	cr_assert_eq(k.n, n + head);
	cr_assert(memcmp(k.p, mac_b, 6) == 0 && memcmp(k.p + 6, mac_a, 6) == 0);
	cr_assert_eq(be16_get(k.p + 12), v6 ? 0x86dd : 0x0800);
	(v6 ? check_v6 : check_v4)(k.p + 14, n, tc);
	udp = k.p + head - 8;
	cr_assert_eq(be16_get(udp + 6), ref_udp_csum(k.p + 14, udp, 8 + n), "n %u", n);

	net_parse_burst(&k, &key, 1, t, ports);
	cr_assert_eq(k.verdict, VERDICT_OK);
	cr_assert_eq(memcmp(&key, &want, sizeof(key)), 0);
	cr_assert_eq(k.p, block + NET_MAX_HEAD);
	cr_assert_eq(k.n, n);
	cr_assert_eq(memcmp(k.p, payload, n), 0);
	free(block);
	free(payload);
}

Test(build, round_trip_of_every_length)
{
	struct net_tbl *t = net_tbl_alloc(0, 0, 2);
	struct net_ports *ports = calloc(1, sizeof(*ports));
	uint64_t seed = 5;

	t->n_dev = 1;
	memcpy(t->dev[0].mac, mac_b, 6);
	t->local[t->n_local++].addr = addr_of("192.0.2.1");
	t->local[t->n_local++].addr = addr_of("2001:db8::1");
	net_tbl_sort(t);
	atomic_store(&ports->of[4000], 1);
	for (unsigned n = 0; n <= MAX_N; n++) {
		round_trip("203.0.113.255", "192.0.2.1", n, (uint8_t)n, t, ports, &seed);
		round_trip("2001:db8:ffff::9", "2001:db8::1", n, (uint8_t)n, t, ports, &seed);
	}
	net_tbl_free(t);
	free(ports);
}

/* A datagram's frame turned round where it lies: another's payload of the same length, back to the sender. */
Test(build, back_in_place)
{
	static const char *const ends[2][2] = {{"203.0.113.9", "192.0.2.1"}, {"2001:db8:2::9", "2001:db8::1"}};

	for (unsigned i = 0; i < 2; i++) {
		unsigned head = i ? 62 : 42;
		uint8_t block[NET_MAX_HEAD + 28];
		struct flow_key key = {.peer = addr_of(ends[i][0]),
				       .local = addr_of(ends[i][1]),
				       .peer_port = 33333,
				       .local_port = 4000};
		struct pkt k = {.p = block + NET_MAX_HEAD, .n = 28};
		struct net_path path;
		const uint8_t *ip;

		memset(block, 0x5a, sizeof(block));
		path_make(&path, ends[i][0], ends[i][1], 7, 0);
		net_push(&path, &k);
		k = (struct pkt){.p = block + NET_MAX_HEAD, .n = 28, .key = &key};
		block[NET_MAX_HEAD] = 1;
		net_push_back(block + NET_MAX_HEAD - head, &k, 0x88, 0);
		cr_assert_eq(k.p, block + NET_MAX_HEAD - head);
		cr_assert_eq(k.n, 28 + head);
		cr_assert(memcmp(k.p, mac_a, 6) == 0 && memcmp(k.p + 6, mac_b, 6) == 0, "to whom it came from");
		ip = k.p + 14;
		(i ? check_v6 : check_v4)(ip, 28, 0x88);
		cr_assert_eq(memcmp(ip + (i ? 8 : 12), key.local.b + (i ? 0 : 12), i ? 16 : 4), 0);
		cr_assert_eq(memcmp(ip + (i ? 24 : 16), key.peer.b + (i ? 0 : 12), i ? 16 : 4), 0);
		cr_assert_eq(be16_get(k.p + head - 8), 4000);
		cr_assert_eq(be16_get(k.p + head - 6), 33333);
		cr_assert_eq(be16_get(k.p + head - 2), ref_udp_csum(ip, k.p + head - 8, 36));
		cr_assert_eq(block[NET_MAX_HEAD], 1);
	}
}

/* A sum of zero is sent as ffff, as zero means "no checksum": a payload word is chosen so that it comes out zero. */
Test(build, zero_is_sent_as_ones)
{
	static const char *const ends[2][2] = {{"203.0.113.9", "192.0.2.1"}, {"2001:db8:2::9", "2001:db8::1"}};

	for (unsigned i = 0; i < 2; i++) {
		uint8_t block[NET_MAX_HEAD + 4] = {0};
		struct pkt k = {.p = block + NET_MAX_HEAD, .n = 4};
		struct net_path path;
		uint16_t sum;

		path_make(&path, ends[i][0], ends[i][1], 0, 0);
		net_push(&path, &k);
		sum = be16_get(block + NET_MAX_HEAD - 2);
		cr_assert_neq(sum, 0xffff);
		be16_put(block + NET_MAX_HEAD, sum);
		k = (struct pkt){.p = block + NET_MAX_HEAD, .n = 4};
		net_push(&path, &k);
		cr_assert_eq(be16_get(block + NET_MAX_HEAD - 2), 0xffff);
	}
}

/* What the port gets when it completes the sums: the pseudo header's sum, not complemented, and no IPv4 checksum. */
static void check_offload(const char *a, const char *b, uint8_t csum, unsigned n, uint64_t *seed)
{
	uint8_t *block = block_make(n, seed), *udp = block + NET_MAX_HEAD - 8;
	struct pkt k = {.p = block + NET_MAX_HEAD, .n = (uint16_t)n};
	struct net_path path;
	uint16_t full;

	path_make(&path, a, b, 0, csum);
	net_push(&path, &k);
	if (!path.v6 && csum & NET_CSUM_IP_HW)
		cr_assert_eq(be16_get(k.p + 24), 0);
	else if (!path.v6)
		cr_assert_eq(ref_csum(k.p + 14, 20), 0);
	full = ref_udp_csum(k.p + 14, udp, 8 + n);
	if (csum & NET_CSUM_UDP_HW) {
		/* A port sums the UDP part, field included, and stores the complement. */
		uint16_t port = ref_csum(udp, 8 + n);

		cr_assert_eq(port ? port : 0xffff, full);
	} else {
		cr_assert_eq(be16_get(udp + 6), full);
	}
	free(block);
}

Test(build, offload)
{
	uint64_t seed = 6;

	for (uint8_t csum = 0; csum < 4; csum++) {
		for (unsigned n = 0; n <= MAX_N; n += 13) {
			check_offload("203.0.113.9", "192.0.2.1", csum, n, &seed);
			check_offload("2001:db8:2::9", "2001:db8::1", csum, n, &seed);
		}
	}
}

/* The values that rte_ipv4_phdr_cksum and rte_ipv6_phdr_cksum give, worked out by hand. */
Test(build, pseudo_header_sum_by_hand)
{
	uint8_t block[NET_MAX_HEAD + 2] = {0};
	struct pkt k = {.p = block + NET_MAX_HEAD, .n = 2};
	struct net_path path;

	path_make(&path, "10.0.0.1", "10.0.0.2", 0, NET_CSUM_IP_HW | NET_CSUM_UDP_HW);
	net_push(&path, &k);
	/* 0a00 + 0001 + 0a00 + 0002 + 0011 + 000a */
	cr_assert_eq(be16_get(block + NET_MAX_HEAD - 2), 0x141e);
	cr_assert_eq(be16_get(block + NET_MAX_HEAD - 42 + 24), 0);

	k = (struct pkt){.p = block + NET_MAX_HEAD, .n = 2};
	path_make(&path, "fe80::1", "fe80::2", 0, NET_CSUM_UDP_HW);
	net_push(&path, &k);
	/* fe80 + 0001 + fe80 + 0002 + 0011 + 000a = 1fd1e, carry around */
	cr_assert_eq(be16_get(block + NET_MAX_HEAD - 2), 0xfd1f);
}
