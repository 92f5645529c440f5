/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "flow.h"
#include "keys.h"

/* The key and the flows by which Microsoft lets drivers verify their RSS hash ("Verifying the RSS Hash Calculation").
 */
static const uint8_t ms_key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
				   0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
				   0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
	const char *dst;
	uint16_t dport;
	const char *src;
	uint16_t sport;
	uint32_t l3, l4;
} ms[] = {
	{"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
	{"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
	{"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
	{"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
	{"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
	{"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
	{"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
	{"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef},
};

static struct flow_rss rss_ms(void)
{
	struct flow_rss rss = {.hw = true, .workers = 5, .reta_n = 128};

	memcpy(rss.key, ms_key, sizeof(ms_key));
	for (unsigned i = 0; i < rss.reta_n; i++)
		rss.reta[i] = (uint16_t)(i * 7 % rss.workers);
	return rss;
}

/* A datagram that arrives has the peer as its source. */
Test(home, microsoft_vectors)
{
	struct flow_rss rss = rss_ms();

	for (unsigned i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
		struct flow_key key = {.peer_port = ms[i].sport, .local_port = ms[i].dport, .dev = 3};

		cr_assert_eq(addr_parse(ms[i].src, &key.peer), 0);
		cr_assert_eq(addr_parse(ms[i].dst, &key.local), 0);
		rss.hw_l4 = false;
		cr_assert_eq(flow_rss_hash(&rss, &key), ms[i].l3, "%s", ms[i].src);
		cr_assert_eq(flow_home(&rss, &key), (ms[i].l3 & 127) * 7 % 5);
		rss.hw_l4 = true;
		cr_assert_eq(flow_rss_hash(&rss, &key), ms[i].l4, "%s", ms[i].src);
		cr_assert_eq(flow_home(&rss, &key), (ms[i].l4 & 127) * 7 % 5);
	}
}

/* Toeplitz as its definition reads: for each set bit of the input, the 32 bits of the key that begin there. */
static uint32_t ref_toeplitz(const uint8_t *key, const uint8_t *in, unsigned n)
{
	uint32_t hash = 0;

	for (unsigned bit = 0; bit < 8 * n; bit++) {
		if (!(in[bit / 8] >> (7 - bit % 8) & 1))
			continue;
		for (unsigned i = 0; i < 32; i++) {
			unsigned at = bit + i;

			hash ^= (uint32_t)(key[at / 8] >> (7 - at % 8) & 1) << (31 - i);
		}
	}
	return hash;
}

Test(home, toeplitz_against_its_definition)
{
	static const uint16_t sizes[] = {1, 2, 64, 128, 512};
	struct flow_rss rss = {.hw = true, .workers = 512};
	uint64_t seed = 1;

	for (unsigned i = 0; i < FLOW_RETA_MAX; i++)
		rss.reta[i] = (uint16_t)(FLOW_RETA_MAX - 1 - i);
	for (unsigned round = 0; round < 2000; round++) {
		struct flow_key key = key_rnd(&seed);
		bool v4 = addr_is_v4(&key.peer);
		unsigned a = v4 ? 4 : 16;
		uint8_t in[36];
		uint32_t want;
		bool ports;

		for (unsigned i = 0; i < FLOW_RSS_KEY_MAX; i++)
			rss.key[i] = (uint8_t)rnd(&seed);
		/* Fake TCP goes by its own rule. */
		key.proto = rnd(&seed) & 1 ? FLOW_TCP : FLOW_UDP;
		rss.hw_l4 = rnd(&seed) & 1;
		rss.hw_tcp = rnd(&seed) & 1;
		ports = key.proto == FLOW_TCP ? rss.hw_tcp : rss.hw_l4;
		rss.reta_n = sizes[rnd(&seed) % 5];
		memcpy(in, key.peer.b + 16 - a, a);
		memcpy(in + a, key.local.b + 16 - a, a);
		in[2 * a] = (uint8_t)(key.peer_port >> 8);
		in[2 * a + 1] = (uint8_t)key.peer_port;
		in[2 * a + 2] = (uint8_t)(key.local_port >> 8);
		in[2 * a + 3] = (uint8_t)key.local_port;
		want = ref_toeplitz(rss.key, in, 2 * a + (ports ? 4 : 0));
		cr_assert_eq(flow_rss_hash(&rss, &key), want);
		cr_assert_eq(flow_home(&rss, &key), FLOW_RETA_MAX - 1 - want % rss.reta_n);
	}
}

/* CRC-32C bit by bit, reflected, as x86's instruction has it: no inversion at either end. */
static uint32_t ref_hash(const struct flow_key *key)
{
	const uint8_t *p = (const uint8_t *)key;
	uint32_t h = 0;

	for (unsigned i = 0; i < sizeof(*key); i++) {
		h ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			h = h >> 1 ^ (h & 1 ? 0x82f63b78 : 0);
	}
	h = (h ^ h >> 16) * 0x85ebca6b;
	h = (h ^ h >> 13) * 0xc2b2ae35;
	return h ^ h >> 16;
}

Test(home, hash_against_its_definition)
{
	struct flow_rss rss = {0};
	uint64_t seed = 2;

	for (unsigned round = 0; round < 5000; round++) {
		struct flow_key key = key_rnd(&seed);
		uint32_t want = ref_hash(&key);

		cr_assert_eq(flow_hash(&key), want);
		rss.workers = (uint16_t)(1 + rnd(&seed) % 300);
		cr_assert_eq(flow_home(&rss, &key), ((uint64_t)want * rss.workers) >> 32);
		cr_assert_lt(flow_home(&rss, &key), rss.workers);
	}
}

Test(home, every_byte_counts)
{
	struct flow_key key = key_v4(0xcb007105, 1234);
	uint32_t hash = flow_hash(&key);

	for (unsigned bit = 0; bit < 8 * sizeof(key); bit++) {
		uint8_t *p = (uint8_t *)&key + bit / 8;

		*p ^= (uint8_t)(1 << bit % 8);
		cr_assert_neq(flow_hash(&key), hash, "bit %u", bit);
		*p ^= (uint8_t)(1 << bit % 8);
	}
}

Test(home, hash_burst)
{
	struct flow_key keys[70];
	struct pkt v[70];
	uint64_t seed = 3;

	for (unsigned n = 0; n <= 70; n++) {
		for (unsigned i = 0; i < n; i++) {
			keys[i] = key_rnd(&seed);
			v[i] = (struct pkt){.key = &keys[i], .hash = 77};
			if (i % 5 == 3)
				v[i] = (struct pkt){.verdict = VERDICT_PUNT, .hash = 77}; /* no key to look at */
		}
		flow_hash_burst(v, n);
		for (unsigned i = 0; i < n; i++)
			cr_assert_eq(v[i].hash, v[i].verdict == VERDICT_OK ? flow_hash(&keys[i]) : 77);
	}
}

/* The families of keys that gateways meet. */
static struct flow_key family(unsigned which, uint32_t i)
{
	struct flow_key key = key_v4(0x0a000001, (uint16_t)i);

	switch (which) {
	case 0: /* one peer (a NAT), all its ports */
		break;
	case 1: /* neighbouring peers, one port */
		key = key_v4(0x0a000000 + i, 29900);
		break;
	case 2: /* a port to each peer */
		key = key_v4(0x0a000000 + i * 256, (uint16_t)(1024 + i));
		break;
	case 3: /* IPv6 peers in neighbouring /64s */
		key.peer = key.local = (struct addr){{0x20, 1, 0xd, 0xb8}};
		key.peer.b[5] = (uint8_t)(i >> 8);
		key.peer.b[6] = (uint8_t)i;
		break;
	default: /* a client: its own port varies, and so does the server's, over a range of ports */
		key = key_v4(0xcb007109, (uint16_t)(4000 + i % 100));
		key.local_port = (uint16_t)(32768 + i / 100);
	}
	return key;
}

/* Chi-square of n balls in `boxes`; a fair throw stays below dof + 5 standard deviations but once in a million. */
static void fair(const unsigned *box, unsigned boxes, unsigned n, const char *what, unsigned which)
{
	double chi = 0, mean = (double)n / boxes, dof = boxes - 1;

	for (unsigned i = 0; i < boxes; i++)
		chi += (box[i] - mean) * (box[i] - mean) / mean;
	cr_assert_lt(chi, dof + 5 * sqrt(2 * dof) + 5, "family %u, %s: chi-square %f of %f", which, what, chi, dof);
}

Test(home, both_ends_of_the_hash_spread)
{
	enum { N = 32768 };

	for (unsigned which = 0; which < 5; which++) {
		unsigned low[1024] = {0}, high[1024] = {0}, within[3][256] = {{0}};

		for (uint32_t i = 0; i < N; i++) {
			struct flow_key key = family(which, i);
			uint32_t hash = flow_hash(&key);

			low[hash & 1023]++;
			high[flow_home_sw(hash, 1024)]++;
			within[flow_home_sw(hash, 3)][hash & 255]++;
		}
		fair(low, 1024, N, "low bits", which);
		fair(high, 1024, N, "high bits", which);
		fair(within[0], 768, N, "low bits within a worker", which);
	}
}

Test(home, workers_share_alike)
{
	enum { N = 20000 };

	for (unsigned which = 0; which < 5; which++) {
		for (uint16_t workers = 1; workers <= 64; workers++) {
			unsigned box[64] = {0};

			for (uint32_t i = 0; i < N; i++) {
				struct flow_key key = family(which, i);

				box[flow_home_sw(flow_hash(&key), workers)]++;
			}
			fair(box, workers, N, "workers", which);
		}
	}
}
