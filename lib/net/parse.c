/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <string.h>

#include "icmp.h"
#include "le.h"
#include "net.h"
#include "net_wire.h"

#define PREFETCH 4 /* packets ahead; their first line holds all headers */

/* What a burst is parsed against. */
struct parse {
	const struct net_tbl *t;
	const struct net_ports *ports;
	struct addr hit; /* address of ours that was met last: most of a burst goes to the same */
	bool has_hit;
	bool sockets;  /* all that comes by the packet's port is for us */
	uint8_t stray; /* verdict for what is not ours, on the packet's port */
};

static bool to_us(struct parse *c, const struct addr *dst)
{
	if (c->sockets || (c->has_hit && addr_eq(&c->hit, dst)))
		return true;
	if (!net_is_local(c->t, dst))
		return false;
	c->hit = *dst;
	c->has_hit = true;
	return true;
}

/* The link that a peer's address belongs to, where it says nothing without. */
static uint16_t zone(const struct pkt *k, const struct flow_key *key)
{
	return addr_needs_zone(&key->peer) ? (uint16_t)(k->dev + 1) : 0;
}

static uint8_t parse_udp(const struct parse *c, struct pkt *k, struct flow_key *key, uint8_t *udp, unsigned n)
{
	unsigned len, tunnel;

	if (n < UDP_HEAD)
		return DROP_FRAME_SHORT;
	key->local_port = be16_get(udp + UDP_DST);
	tunnel = atomic_load_explicit(&c->ports->of[key->local_port], memory_order_relaxed);
	if (!tunnel)
		return c->stray;
	len = be16_get(udp + UDP_LEN);
	if (len < UDP_HEAD || len > n)
		return DROP_UDP_LENGTH;
	/*
	 * The sum itself is not checked: the cipher's check is stronger.  IPv6 knows no datagram without one (RFC
	 * 8200, 8.1).  In IPv4 there is nothing to be wrong then, and a device that finds it so (Intel's 82599 does)
	 * does not know better.
	 */
	if (le16_get(udp + UDP_CSUM) == 0 ? !addr_is_v4(&key->local) : k->flags & PKT_F_L4_BAD)
		return DROP_UDP_CHECKSUM;
	key->peer_port = be16_get(udp + UDP_SRC);
	key->dev = zone(k, key);
	key->proto = FLOW_UDP;
	k->key = key;
	k->tunnel = (uint16_t)(tunnel - 1);
	k->p = udp + UDP_HEAD;
	k->n = (uint16_t)(len - UDP_HEAD);
	return VERDICT_OK;
}

/*
 * By flags and ports only: a tunnel's segments bear options of illegal length, and numbers that repeat (wire.md 12,
 * 34). What the peer's kernel says by itself, its RST too, does not end a flow that it knows nothing of.
 */
static uint8_t parse_tcp(const struct parse *c, struct pkt *k, struct flow_key *key, uint8_t *tcp, unsigned n)
{
	unsigned head, tunnel;
	uint8_t flags;

	if (n < TCP_HEAD)
		return DROP_FRAME_SHORT;
	key->local_port = be16_get(tcp + TCP_DST);
	tunnel = atomic_load_explicit(&c->ports->tcp[key->local_port], memory_order_relaxed);
	if (!tunnel)
		return c->stray;
	head = (tcp[TCP_OFF] >> 4) * 4u;
	if (head < TCP_HEAD || head > n)
		return DROP_UDP_LENGTH;
	if (k->flags & PKT_F_L4_BAD)
		return DROP_UDP_CHECKSUM;
	flags = tcp[TCP_FLAGS];
	if (flags & TCP_F_RST || !(flags & (TCP_F_SYN | TCP_F_PSH)) || (!(flags & TCP_F_SYN) && n == head))
		return DROP_TCP_CONTROL;
	key->peer_port = be16_get(tcp + TCP_SRC);
	key->dev = zone(k, key);
	key->proto = FLOW_TCP;
	k->key = key;
	k->tunnel = (uint16_t)(tunnel - 1);
	k->tcp_seq = be32_get(tcp + TCP_SEQ);
	k->tcp_ack = be32_get(tcp + TCP_ACK);
	k->tcp_end = k->tcp_seq + (flags & TCP_F_SYN ? 1 : n - head);
	if (flags & TCP_F_ACK)
		k->flags |= PKT_F_ACK;
	if (flags & TCP_F_SYN) {
		k->flags |= PKT_F_SYN;
		return VERDICT_SYN;
	}
	k->p = tcp + head;
	k->n = (uint16_t)(n - head);
	return VERDICT_OK;
}

static struct addr addr_from4(const uint8_t *p)
{
	struct addr a = addr_v4(0);

	memcpy(a.b + 12, p, 4);
	return a;
}

/* No datagram can rightly come from 0/8, a multicast group or the broadcast address, and no answer may go there. */
static bool source4_bad(const uint8_t *src)
{
	return src[0] == 0 || (src[0] & 0xf0) == 0xe0 || le32_get(src) == UINT32_MAX;
}

static uint8_t parse_v4(struct parse *c, struct pkt *k, struct flow_key *key)
{
	uint8_t *ip = k->p + ETH_HEAD;
	unsigned room = k->n - ETH_HEAD, head, len;

	if (room < IP4_HEAD)
		return DROP_FRAME_SHORT;
	if (ip[IP4_PROTO] != PROTO_UDP && ip[IP4_PROTO] != PROTO_TCP && !net_says_big4(ip, room))
		return c->stray;
	key->local = addr_from4(ip + IP4_DST);
	if (!to_us(c, &key->local))
		return c->stray;
	head = (ip[0] & 0xf) * 4u;
	len = be16_get(ip + IP4_LEN);
	if (ip[0] >> 4 != 4 || head < IP4_HEAD || len < head)
		return DROP_IP_HEADER;
	if (room < head)
		return DROP_FRAME_SHORT;
	if (room < len)
		return DROP_IP_HEADER;
	if (net_sum_fold(net_sum(ip, head, 0)))
		return DROP_IP_CHECKSUM;
	if (source4_bad(ip + IP4_SRC))
		return DROP_IP_HEADER;
	if (be16_get(ip + IP4_FRAG) & IP4_MF_OR_OFF)
		return ip[IP4_PROTO] != PROTO_ICMP ? VERDICT_FRAG : c->stray;
	if (ip[IP4_PROTO] == PROTO_ICMP)
		return net_parse_big(k, key, ip, ip + head, len - head, c->ports, c->stray);
	key->peer = addr_from4(ip + IP4_SRC);
	if (ip[IP4_PROTO] == PROTO_TCP)
		return parse_tcp(c, k, key, ip + head, len - head);
	return parse_udp(c, k, key, ip + head, len - head);
}

/*
 * Walks the extension headers in ip[*at..end) from header type *type; for VERDICT_OK *at ends at the UDP or TCP header,
 * *type tells which.
 * What is not understood is the kernel's: it knows more headers, and how to complain.
 */
static uint8_t skip_ext(const struct parse *c, const uint8_t *ip, uint8_t *type, unsigned *at, unsigned end)
{
	uint8_t next = *type;

	for (unsigned i = 0; next != PROTO_UDP && next != PROTO_TCP; i++) {
		const uint8_t *ext = ip + *at;
		unsigned len = IP6_EXT_MIN;

		if (i == IP6_EXT_MAX)
			return c->stray;
		if (next != PROTO_DSTOPTS && next != PROTO_ROUTING && next != PROTO_FRAGMENT &&
		    (next != PROTO_HOPOPTS || i > 0)) /* allowed in first place only */
			return c->stray;
		if (end - *at < IP6_EXT_MIN)
			return DROP_FRAME_SHORT;
		if (next == PROTO_FRAGMENT) {
			/* An "atomic" fragment is a whole datagram (RFC 6946): just skipped. */
			if (be16_get(ext + IP6_FRAG_OFF) & IP6_FRAG_OFF_OR_MF)
				return ext[0] == PROTO_UDP || ext[0] == PROTO_TCP ? VERDICT_FRAG : c->stray;
		} else {
			len += ext[1] * 8u;
		}
		if (next == PROTO_ROUTING && ext[IP6_ROUTE_LEFT])
			return c->stray; /* we are a waypoint, not the destination */
		if (end - *at < len)
			return DROP_FRAME_SHORT;
		next = ext[0];
		*at += len;
	}
	*type = next;
	return VERDICT_OK;
}

static uint8_t parse_v6(struct parse *c, struct pkt *k, struct flow_key *key)
{
	uint8_t *ip = k->p + ETH_HEAD, next, verdict;
	unsigned room = k->n - ETH_HEAD, at = IP6_HEAD, len;

	if (room < IP6_HEAD)
		return DROP_FRAME_SHORT;
	next = ip[IP6_NEXT];
	if (next != PROTO_UDP && next != PROTO_TCP && next != PROTO_HOPOPTS && next != PROTO_ROUTING &&
	    next != PROTO_FRAGMENT && next != PROTO_DSTOPTS && !net_says_big6(ip, room))
		return c->stray;
	memcpy(&key->local, ip + IP6_DST, 16);
	memcpy(&key->peer, ip + IP6_SRC, 16);
	/* ::ffff:a.b.c.d on the wire would pass for the IPv4 address that it stands for in a key. */
	if (addr_is_v4(&key->local) || !to_us(c, &key->local))
		return c->stray;
	len = IP6_HEAD + be16_get(ip + IP6_LEN);
	if (ip[0] >> 4 != 6 || room < len)
		return DROP_IP_HEADER;
	verdict = next == PROTO_ICMP6 ? VERDICT_BIG : skip_ext(c, ip, &next, &at, len);
	if (verdict == VERDICT_BIG)
		return net_parse_big(k, key, ip, ip + at, len - at, c->ports, c->stray);
	if (verdict != VERDICT_OK && verdict != VERDICT_FRAG)
		return verdict;
	if (addr_is_v4(&key->peer) || addr_is_any(&key->peer) || key->peer.b[0] == 0xff)
		return DROP_IP_HEADER;
	if (verdict != VERDICT_OK)
		return verdict;
	return next == PROTO_TCP ? parse_tcp(c, k, key, ip + at, len - at) : parse_udp(c, k, key, ip + at, len - at);
}

/*
 * To another link address than the port's.  What many are meant by is the kernel's; what another host is, reaches a
 * device that cannot choose, and there it ends: the kernel would drop it too, at the price of a call.
 */
static uint8_t not_to_port(const struct parse *c, const struct net_dev *dev, const uint8_t *dst)
{
	return dev->exclusive && !(dst[0] & 1) ? DROP_OTHER_HOST : c->stray;
}

static uint8_t parse_frame(struct parse *c, struct pkt *k, struct flow_key *key)
{
	const struct net_dev *dev = &c->t->dev[k->dev];
	unsigned type;

	c->stray = dev->exclusive ? VERDICT_PUNT : DROP_NOT_FOR_US;
	c->sockets = dev->sockets;
	if (k->n < ETH_HEAD)
		return DROP_FRAME_SHORT;
	type = be16_get(k->p + ETH_TYPE);
	if (dev->vlan && !(k->flags & PKT_F_UNTAGGED))
		return type == ETH_T_VLAN ? VERDICT_TAG : DROP_VLAN;
	if (memcmp(k->p, dev->mac, sizeof(dev->mac)) != 0)
		return not_to_port(c, dev, k->p);
	switch (type) {
	case ETH_T_VLAN:
		return k->flags & PKT_F_UNTAGGED ? c->stray : VERDICT_TAG;
	case ETH_T_IPV4:
		return parse_v4(c, k, key);
	case ETH_T_IPV6:
		return parse_v6(c, k, key);
	default:
		return c->stray;
	}
}

/* Where the header lies that the payload at k->p is behind. */
static const uint8_t *l4_of(const uint8_t *frame, const struct pkt *k)
{
	const struct parse c = {0};
	const uint8_t *ip = frame + ETH_HEAD;
	unsigned at = IP6_HEAD;
	uint8_t next = ip[IP6_NEXT];

	if (addr_is_v4(&k->key->local))
		return ip + (ip[0] & 0xf) * 4u;
	skip_ext(&c, ip, &next, &at, (unsigned)(k->p - ip));
	return ip + at;
}

bool net_sum_ok(const uint8_t *frame, const struct pkt *k)
{
	const bool tcp = k->key->proto == FLOW_TCP;
	const unsigned from = addr_is_v4(&k->key->local) ? 12 : 0;
	const uint8_t *l4 = tcp ? l4_of(frame, k) : k->p - UDP_HEAD;
	const unsigned n = (unsigned)(k->p - l4) + k->n;
	const uint16_t sum = le16_get(l4 + (tcp ? TCP_CSUM : UDP_CSUM));
	uint16_t half;
	uint64_t pseudo = (uint64_t)__builtin_bswap16(tcp ? PROTO_TCP : PROTO_UDP) + __builtin_bswap16((uint16_t)n);

	pseudo = net_sum(k->key->peer.b + from, 16 - from, pseudo);
	pseudo = net_sum(k->key->local.b + from, 16 - from, pseudo);
	half = (uint16_t)~net_sum_fold(pseudo);
	return (sum == 0 && !tcp) || sum == half || net_sum_fold(net_sum(l4, n, pseudo)) == 0;
}

unsigned net_parse_burst(struct pkt *v, struct flow_key *keys, unsigned n, const struct net_tbl *t,
			 const struct net_ports *ports)
{
	struct parse c = {.t = t, .ports = ports};
	unsigned tagged = 0;

	for (unsigned i = 0; i < n; i++) {
		if (i + PREFETCH < n)
			__builtin_prefetch(v[i + PREFETCH].p);
		v[i].verdict = parse_frame(&c, &v[i], &keys[i]);
		tagged += v[i].verdict == VERDICT_TAG;
	}
	return tagged;
}
