/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include <rte_hash_crc.h>
#include <rte_thash.h>

#include "flow.h"
#include "le.h"

_Static_assert(offsetof(struct flow_rss, key) % 4 == 0, "rte_softrss reads the key in words");

/*
 * A CRC alone is linear: keys that differ in few bits would give hashes that differ in the same bits, whatever the
 * keys. The multiplications (MurmurHash3's finisher) let every bit of the CRC reach both ends, as flow_home_sw takes
 * the high bits and the table the low ones.
 */
static uint32_t mix(uint32_t h)
{
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	return h ^ h >> 16;
}

uint32_t flow_hash(const struct flow_key *key)
{
	const uint8_t *p = (const uint8_t *)key;
	uint32_t crc = 0;

	for (unsigned i = 0; i < sizeof(*key); i += 8)
		crc = rte_hash_crc_8byte(le64_get(p + i), crc);
	return mix(crc);
}

void flow_hash_burst(struct pkt *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (v[i].verdict == VERDICT_OK)
			v[i].hash = flow_hash(v[i].key);
	}
}

/* The words that the port hashes, in host order; their number.  The packet comes from the peer: that is the source. */
static unsigned rss_tuple(const struct flow_key *key, bool l4, uint32_t tuple[RTE_THASH_V6_L4_LEN])
{
	unsigned n = 0;

	for (unsigned at = addr_is_v4(&key->peer) ? 12 : 0; at < 16; at += 4)
		tuple[n++] = be32_get(key->peer.b + at);
	for (unsigned at = addr_is_v4(&key->peer) ? 12 : 0; at < 16; at += 4)
		tuple[n++] = be32_get(key->local.b + at);
	if (l4)
		tuple[n++] = (uint32_t)key->peer_port << 16 | key->local_port;
	return n;
}

uint32_t flow_rss_hash(const struct flow_rss *rss, const struct flow_key *key)
{
	uint32_t tuple[RTE_THASH_V6_L4_LEN];
	unsigned n = rss_tuple(key, key->proto == FLOW_TCP ? rss->hw_tcp : rss->hw_l4, tuple);

	return rte_softrss(tuple, n, rss->key);
}

uint16_t flow_home(const struct flow_rss *rss, const struct flow_key *key)
{
	if (!rss->hw)
		return flow_home_sw(flow_hash(key), rss->workers);
	return rss->reta[flow_rss_hash(rss, key) & (rss->reta_n - 1u)];
}
