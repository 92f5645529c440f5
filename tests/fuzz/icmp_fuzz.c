/* SPDX-License-Identifier: MIT */

/*
 * "Too big" from a router, behind headers that are right: what the parser believes is whole, quotes a packet of a
 * tunnel of ours, and its numbers are those that it quotes.
 *
 *	flags(1): 1 IPv6, 2 the checksum is put right, 4 the quote's source is us; message
 */

#include "fuzz.h"
#include "le.h"
#include "netbed.h"

#define ROOM 2048

static void check(const uint8_t *ip, const struct pkt *k, bool v6)
{
	const uint8_t *q = k->p + 8, *l4 = q + (v6 ? 40 : (q[0] & 15) * 4);
	struct net_too_big b;

	net_too_big(k, &b);
	fuzz_must(b.v6 == v6 && k->tunnel == NETBED_TUNNEL && k->key->local_port == NETBED_PORT);
	fuzz_must(k->n >= 8 + (v6 ? 40 : 20) + 8u);
	if (v6) {
		l4 += q[IP6_NEXT] == PROTO_FRAGMENT ? 8 : 0;
		fuzz_must(b.mtu == be32_get(k->p + 4) && b.mark == (be32_get(q) & 0xfffff));
		fuzz_must(memcmp(k->key->local.b, q + 8, 16) == 0 && memcmp(k->key->peer.b, q + 24, 16) == 0);
		fuzz_must(memcmp(ip + 24, q + 8, 16) == 0, "the quoted packet was another's");
	} else {
		fuzz_must(b.mtu == be16_get(k->p + 6) && b.mark == be16_get(q + 4) && b.len == be16_get(q + 2));
		fuzz_must(memcmp(k->key->local.b + 12, q + 12, 4) == 0 && memcmp(k->key->peer.b + 12, q + 16, 4) == 0);
		fuzz_must(memcmp(ip + 16, q + 12, 4) == 0, "the quoted packet was another's");
		fuzz_must(net_sum_fold(net_sum(k->p, k->n, 0)) == 0);
	}
	fuzz_must(be16_get(l4) == k->key->local_port && be16_get(l4 + 2) == k->key->peer_port);
}

static void put_sum(const uint8_t *ip, uint8_t *msg, unsigned n, bool v6)
{
	uint64_t sum = v6 ? net_sum(ip + 8, 32, (uint64_t)__builtin_bswap16(58) + __builtin_bswap16((uint16_t)n)) : 0;

	if (n < 4)
		return;
	le16_put(msg + 2, 0);
	le16_put(msg + 2, net_sum_fold(net_sum(msg, n, sum)));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n < ROOM ? n : ROOM};
	unsigned flags = fuzz_u8(&in), head;
	const bool v6 = flags & 1;
	uint8_t made[14 + 40 + ROOM] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9}, *ip = made + 14, *frame;
	struct flow_key key;
	struct pkt k = {.dev = 0};

	be16_put(made + 12, v6 ? ETH_T_IPV6 : ETH_T_IPV4);
	head = netbed_ip(ip, v6, v6 ? 58 : 1, (unsigned)in.n);
	memcpy(ip + head, in.p, in.n);
	if (flags & 4 && in.n >= 8 + 40)
		memcpy(ip + head + 8 + (v6 ? 8 : 12), ip + (v6 ? 24 : 16), v6 ? 16 : 4);
	if (flags & 2)
		put_sum(ip, ip + head, (unsigned)in.n, v6);
	k.n = (uint16_t)(14 + head + in.n);
	k.p = frame = fuzz_exact(made, k.n);
	netbed_parse(&k, &key);
	fuzz_must(k.verdict != VERDICT_OK && k.verdict != VERDICT_SYN && k.verdict != VERDICT_TAG);
	if (k.verdict == VERDICT_BIG)
		check(frame + 14, &k, v6);
	else
		fuzz_must(k.p == frame);
	free(frame);
	return 0;
}
