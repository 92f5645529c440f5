/* SPDX-License-Identifier: MIT */

/*
 * Frames as a port receives them: Ethernet, VLAN, IPv4, IPv6, UDP, fake TCP, ICMP.  What the parser says is a datagram
 * lies in its frame, and is what its headers say, read plainly; whatever else looks at foreign frames looks at these.
 *
 *	port(1) flags(1) frame
 */

#include "fuzz.h"
#include "le.h"
#include "netbed.h"

/* Where the last header begins that the key was read from, by walking the frame anew. */
static const uint8_t *find_l4(const uint8_t *f, const struct pkt *k, const struct flow_key *key)
{
	const uint8_t *ip = f + ETH_HEAD;
	unsigned at = IP6_HEAD, type = ip[IP6_NEXT];

	if (be16_get(f + ETH_TYPE) == ETH_T_IPV4) {
		fuzz_must(memcmp(key->peer.b + 12, ip + IP4_SRC, 4) == 0 &&
			  memcmp(key->local.b + 12, ip + IP4_DST, 4) == 0);
		fuzz_must((be16_get(ip + IP4_FRAG) & IP4_MF_OR_OFF) == 0);
		fuzz_must(net_sum_fold(net_sum(ip, (ip[0] & 15) * 4u, 0)) == 0);
		fuzz_must(ip[IP4_PROTO] == (key->proto == FLOW_TCP ? PROTO_TCP : PROTO_UDP));
		return ip + (ip[0] & 15) * 4;
	}
	fuzz_must(be16_get(f + ETH_TYPE) == ETH_T_IPV6);
	fuzz_must(memcmp(key->peer.b, ip + IP6_SRC, 16) == 0 && memcmp(key->local.b, ip + IP6_DST, 16) == 0);
	for (unsigned i = 0; type != PROTO_UDP && type != PROTO_TCP; i++) {
		unsigned len = type == PROTO_FRAGMENT ? 8 : 8u * (ip[at + 1] + 1u);

		fuzz_must(i < IP6_EXT_MAX && ip + at + len <= k->p);
		type = ip[at];
		at += len;
	}
	return ip + at;
}

static void check_datagram(const uint8_t *f, unsigned n, const struct pkt *k, const struct flow_key *key)
{
	const uint8_t *l4;

	fuzz_must(k->p > f && k->p + k->n <= f + n);
	fuzz_must(k->key == key && k->tunnel == NETBED_TUNNEL && key->local_port == NETBED_PORT);
	l4 = find_l4(f, k, key);
	fuzz_must(be16_get(l4) == key->peer_port && be16_get(l4 + 2) == key->local_port);
	if (key->proto == FLOW_TCP) {
		fuzz_must(k->p == l4 + (l4[12] >> 4) * 4);
		fuzz_must(k->tcp_seq == be32_get(l4 + 4) && k->tcp_end == k->tcp_seq + k->n);
	} else {
		fuzz_must(k->p == l4 + 8 && k->n == be16_get(l4 + 4) - 8);
	}
}

/* It goes back where it came from, and there it is a datagram of the other direction. */
static void check_back(const uint8_t *f, unsigned n, const struct pkt *k)
{
	uint8_t *room = malloc(NET_MAX_HEAD + n), *frame = room + NET_MAX_HEAD;
	struct pkt b = *k;

	memcpy(frame, f, n);
	b.p = frame + (k->p - f);
	net_push_back(frame, &b, 0, 0);
	fuzz_must(b.p >= room && b.p + b.n <= frame + n);
	fuzz_must(memcmp(b.p, f + 6, 6) == 0 || k->dev == 2, "not to whom it came from");
	free(room);
}

/* Those who see what is not ours. */
static void check_others(const uint8_t *p, unsigned n)
{
	uint8_t *copy = fuzz_exact(p, n);
	struct net_tcp_at at = {0};

	fuzz_must(net_kind(copy, n) < NET_KINDS);
	for (unsigned partial = 0; partial < 2; partial++) {
		if (!net_finish_csum(copy, n, partial))
			fuzz_must(partial || memcmp(copy, p, n) == 0);
	}
	if (net_find_tcp(copy, n, n, &at))
		fuzz_must(at.ip < at.tcp && at.tcp < at.data && at.data + at.data_n <= n);
	if (net_find_tcp(copy, n, n + 4000, &at))
		fuzz_must(at.data <= n && at.data + at.data_n <= n + 4000);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n < 10000 ? n : 10000};
	struct pkt k = {0};
	struct flow_key key;
	struct net_too_big big;
	uint8_t *frame, *f;
	unsigned len;

	k.dev = fuzz_u8(&in) % NETBED_DEVS;
	k.flags = fuzz_u8(&in) & (PKT_F_L4_BAD | PKT_F_UNTAGGED);
	check_others(in.p, (unsigned)in.n);
	frame = f = fuzz_exact(in.p, in.n);
	k.p = frame;
	k.n = (uint16_t)in.n;
	netbed_parse(&k, &key);
	if (k.verdict == VERDICT_TAG && netbed_untag(&k)) {
		f = k.p;
		netbed_parse(&k, &key);
		fuzz_must(k.verdict != VERDICT_TAG, "a second tag is the kernel's");
	}
	len = (unsigned)(frame + in.n - f);
	if (k.verdict == VERDICT_OK) {
		check_datagram(f, len, &k, &key);
		net_sum_ok(f, &k);
		check_back(f, len, &k);
	} else if (k.verdict == VERDICT_BIG) {
		fuzz_must(k.p > f && k.p + k.n <= f + len && k.key == &key && k.tunnel == NETBED_TUNNEL);
		net_too_big(&k, &big);
	} else {
		fuzz_must(k.p == f && k.n == len);
	}
	free(frame);
	return 0;
}
