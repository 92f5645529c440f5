/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Ethernet, IPv4/IPv6, UDP and fake TCP as bytes: parsing a burst of frames on the way in, pushing prebuilt headers on
 * the way out, and the immutable picture of the kernel's addresses, routes and neighbours that both are built from.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "fib.h"
#include "limit.h"
#include "pkt.h"

#define NET_MAX_HEAD 86 /* Ethernet 14, VLAN 4, IPv6 40, TCP 28 (a SYN's; a datagram's is 20, or UDP's 8) */

/* ---- the kernel's tables, mirrored: built by control, read-only afterwards, shared by all workers ---- */

struct net_route {
	struct addr prefix;
	uint8_t plen;	 /* bits of the 128-bit form: an IPv4 /24 is 120; 0..128 */
	uint8_t flags;	 /* NET_ROUTE_* */
	uint16_t dev;	 /* gateway port index that it leaves by */
	struct addr via; /* next hop; unspecified: on link */
	struct addr src; /* preferred source; unspecified: first fit of the port's addresses */
	uint32_t metric;
};
#define NET_ROUTE_UNREACHABLE 1 /* blackhole, prohibit, unreachable; also: leaves by an interface that is not ours */

struct net_neigh {
	struct addr addr;
	uint16_t dev;
	uint8_t mac[6];
};

struct net_local {
	struct addr addr;
	uint8_t plen;
	uint8_t flags;	/* NET_LOCAL_* */
	uint8_t scope;	/* IPv4's, of the kernel's: 0 everywhere, 253 on the link */
	uint16_t dev;	/* UINT16_MAX: the host's as a whole, on no port */
	uint32_t order; /* of the kernel's: among equal ones the lowest is taken as source */
};
#define NET_LOCAL_SECONDARY  1 /* IPv4: another one of the same subnet comes first */
#define NET_LOCAL_DEPRECATED 2 /* IPv6: for new flows only when there is no other */
#define NET_LOCAL_TEMPORARY  4 /* IPv6: RFC 8981's */

#define NET_DEV_MAX LIMIT_PORTS
struct net_dev {
	uint8_t mac[6]; /* all zero (loopback): frames bear no addresses, neighbours need no resolution */
	uint16_t mtu;
	uint16_t vlan;	/* whose tag all its frames bear outside, 1..4094; 0: frames bear none */
	bool exclusive; /* frames that are not ours are punted; false: they are the kernel's already */
	bool up;	/* it can send: open, set up, and with a link */
	bool closed;	/* its device is not there (any more): nobody may touch it */
	bool sockets; /* of the kernel's UDP sockets: what comes is ours, and wherever it goes the kernel knows the way
		       */
	bool temporary; /* of its IPv6 addresses the temporary ones are preferred */
	int32_t link;	/* what routes call it by: the number of the kernel's interface, 0 for none */
};

/* A member of a way that names a port itself, whatever the kernel calls it. */
#define NET_LINK_OF(dev) (-1 - (int32_t)(dev))

/* One snapshot.  net_tbl_sort must have been called before anyone else sees it. */
struct net_tbl {
	uint64_t gen;
	uint64_t gen_here; /* as gen was when anything but routes differed last */
	struct net_dev dev[NET_DEV_MAX];
	unsigned n_dev, n_route, n_neigh, n_local;
	struct net_route *route; /* to be put into `routes` by net_tbl_sort: for those who have no struct net_fib */
	struct net_neigh *neigh; /* by address, then dev */
	struct net_local *local; /* by address, then dev */
	struct net_fib_view routes;
	struct net_fib own; /* what `routes` shows of route[] */
	bool has_bare;	    /* made by net_tbl_sort: some port has no link address */
	uint16_t sockets;   /* made by net_tbl_sort: the port of sockets, or NET_DEV_MAX */
};

/*
 * An empty table with room for as many; the caller fills dev, route, neigh, local and their counts in any order.  One
 * block of memory, given back by net_tbl_free (which takes NULL); the arrays cannot be replaced.  Cold: malloc.  NULL:
 * out of memory.
 */
struct net_tbl *net_tbl_alloc(unsigned routes, unsigned neighs, unsigned locals);
void net_tbl_free(struct net_tbl *t);

/*
 * Brings the arrays into their order, and makes `routes` of route[] (whose host bits behind the prefixes are cleared)
 * unless that is empty and has been: then `routes` is whatever the caller has set it to.  0 or -ENOMEM, with routes
 * missing.
 */
int net_tbl_sort(struct net_tbl *t);

/*
 * Whether `a` is an address of any of our ports, or lies in a prefix of one without link addresses.  Cost grows with
 * the logarithm of n_local; where there is such a port, with n_local for what is not ours.
 */
bool net_is_local(const struct net_tbl *t, const struct addr *a);

/* How to reach a peer. */
struct net_hop {
	struct addr via; /* the neighbour to resolve: next hop, or the peer itself on link */
	struct addr src; /* source address to use when the caller has none */
	uint16_t dev;
	bool resolved;
	uint8_t mac[6]; /* of via, when resolved */
};

/*
 * Longest prefix match for dst (lowest metric among equals), past routes that leave by a port that is down, if any
 * other leads on; `local` is the source address already in use, or unspecified (NULL will do).  0; -ENETUNREACH: no
 * route or an unreachable one; -EADDRNOTAVAIL: no source address of dst's family; *hop is undefined after an error.
 * hop->resolved tells whether the next hop's MAC is known; on a port without link addresses it always is, and addresses
 * within such a port's prefixes are reached by it without a route.
 *
 * A port of sockets is the way to wherever no other is, and for a `local` that is none of ours: the kernel picks the
 * source, and `src` is the unspecified address of dst's family.
 *
 * A route by an interface that is not ours is unreachable, and hidden by one of the same prefix that is ours: a host
 * whose own traffic goes by a management port has its default route there, and another one for the gateway.
 *
 * Of several next hops of one route (ECMP) those by ports that are up come first, then those whose neighbour is known,
 * then those on the port that `local` is of; among these `hash`, all of whose 32 bits count, decides by their weights.
 *
 * The source: `local` as long as it is of dst's family and still ours, else the route's, else as the kernel takes it.
 * IPv4: of the port's addresses that are the first of their subnet and of a scope no narrower than the route's, one
 * whose subnet holds the next hop, else the first.  IPv6: RFC 6724, 5 (of its rules scope, deprecated, interface,
 * label, temporary, longest prefix), then the first; towards a link-local address only the port's own.
 *
 * Cost grows with the logarithm of routes and of neighbours; n_local is walked only where neither `local` nor the route
 * settles the source, and when there is a port without link addresses.
 */
int net_resolve_flow(const struct net_tbl *t, const struct addr *dst, const struct addr *local, uint32_t hash,
		     struct net_hop *hop);
/* Likewise, for no flow in particular. */
int net_resolve(const struct net_tbl *t, const struct addr *dst, const struct addr *local, struct net_hop *hop);

/*
 * The same towards flow_key.dev: a link-local dst is the neighbour on that port's link, whatever routes there are; of
 * others, and with 0, the zone says nothing.
 */
int net_resolve_in(const struct net_tbl *t, unsigned zone, const struct addr *dst, const struct addr *local,
		   uint32_t hash, struct net_hop *hop);

/* ---- source.c ---- */

/* The address to speak to dst from by port dev, next hop `via`, or NULL; scope: of the route. */
const struct addr *net_source(const struct net_tbl *t, unsigned dev, const struct addr *dst, const struct addr *via,
			      unsigned scope);
bool net_holds(const struct addr *prefix, unsigned plen, const struct addr *a);
bool net_is_link_local(const struct addr *a);

/* ---- in ---- */

/*
 * Ports of ours, UDP and fake TCP: [p] is tunnel index + 1, 0 for none.  Written by control with relaxed atomic stores
 * as client ports come and go, read by workers.
 */
struct net_ports {
	_Atomic uint16_t of[65536];
	_Atomic uint16_t tcp[65536];
};

/*
 * Parses v[0..n): p/n is a whole Ethernet frame on entry.  For UDP to one of our addresses and ports (or to a multicast
 * or broadcast address: never ours), p/n becomes the UDP payload, keys[i] and v[i].key the flow (peer = source),
 * v[i].tunnel the tunnel index, verdict VERDICT_OK.  Otherwise p/n stay and the verdict says why: VERDICT_PUNT for
 * everything else on an exclusive port (ARP, ICMP, TCP, other UDP, multicast: the kernel decides) but for frames to
 * another host's link address (DROP_OTHER_HOST), DROP_NOT_FOR_US on a shared one, VERDICT_FRAG for a fragment of UDP or
 * TCP to our address, or a DROP_* for malformed packets that would have been ours.  v[i].dev must be set.  Ethernet
 * padding is cut.
 *
 * 802.1Q: a tagged frame to the port is VERDICT_TAG, whatever it holds, and on a port with a VLAN every tagged frame;
 * without its tag and with PKT_F_UNTAGGED it may be parsed again.  A port with a VLAN takes nothing else (DROP_VLAN).
 * Returns how many are VERDICT_TAG.
 *
 * An ICMP or ICMPv6 message to one of our addresses that a packet from there, and from a tunnel's port, was too big is
 * VERDICT_BIG: p/n the message, keys[i], v[i].key and v[i].tunnel those of the flow that it quotes, for net_too_big.
 * What it is worth is the session's to say.
 *
 * v[i].flags (PKT_F_L4_BAD, PKT_F_UNTAGGED) must be set too; the UDP checksum is not summed here (net_sum_ok), only
 * a missing one refused in IPv6. IPv4 options are skipped, and up to four IPv6 extension headers (hop-by-hop,
 * destination options, routing with no segment left, atomic fragment).  A frame that ends before its addresses and
 * ports can be read is DROP_FRAME_SHORT on any port.  keys[] must outlive the use of v[i].key; keys[i] is undefined
 * unless the verdict is VERDICT_OK or VERDICT_SYN.
 *
 * Fake TCP (wire.md 10): a segment with PSH to one of our TCP ports is a datagram like UDP's, with tcp_seq, tcp_ack,
 * tcp_end and PKT_F_ACK set; sequence numbers, options, window and checksum (net_sum_ok) are not looked at.  A SYN, or
 * SYN and ACK, is VERDICT_SYN: key, tunnel, the fields named and PKT_F_SYN are set, p/n stay the frame.  All else that
 * the peer's kernel may say is DROP_TCP_CONTROL.
 */
unsigned net_parse_burst(struct pkt *v, struct flow_key *keys, unsigned n, const struct net_tbl *t,
			 const struct net_ports *ports);

/* ---- what is not ours ---- */

/*
 * Completes the TCP or UDP checksum of a whole frame whose sender left it to a device that the frame has not met, as
 * the guests of one host do to each other, and the ends of a veth: the field holds the pseudo header's sum.  partial:
 * the driver says that the field is not to be taken as it stands (and that the bytes are good); otherwise only a field
 * that is exactly that sum is completed.  A whole checksum stays what it is, also one that happens to be that sum.
 * Fragments, frames that are shorter than their headers say, and all other protocols are left alone.  Returns whether p
 * was written.
 */
bool net_finish_csum(uint8_t *p, unsigned n, bool partial);

/* Offsets in a frame of TCP; data_n: bytes of the stream by the IP header. */
struct net_tcp_at {
	uint16_t ip, tcp, data;
	uint32_t data_n;
	bool v6;
};

/*
 * Where they are in a frame of `whole` bytes, of which the first n lie at p: they must hold all its headers.  False,
 * and *at as it was, for what is not TCP, a fragment, and a frame shorter than its headers say.
 */
bool net_find_tcp(const uint8_t *p, unsigned n, unsigned whole, struct net_tcp_at *at);

/*
 * Whether the checksum of a datagram of UDP or fake TCP that net_parse_burst has just taken from `frame` is right, or
 * the pseudo header's alone, for a neighbour on the same host has left the rest to a device that was not there; or, of
 * UDP, none.  For what nothing behind checks: a tunnel without a cipher.  Stock's fake TCP bears right ones (2021's,
 * captured).
 */
bool net_sum_ok(const uint8_t *frame, const struct pkt *k);

/* What a frame is to the kernel, and what it stands to lose when there are too many of another kind. */
#define NET_KINDS_LIST(X)                                                                                          \
	X(LINK, "link") /* ARP, neighbour discovery, LLDP, LACP, spanning tree: without them nothing is reached */ \
	X(ROUTING, "routing") /* OSPF, VRRP, PIM, IS-IS; of a neighbour, by its TTL, BFD and BGP */                \
	X(TCP, "tcp")	      /* of connections that stand, by their ACK: SSH, BGP */                              \
	X(SYN, "syn")	      /* and of those that begin */                                                        \
	X(ICMP, "icmp")	      /* ICMP, IGMP, MLD, DHCP, BFD over several hops */                                   \
	X(OTHER, "other")     /* UDP, fragments, what is not understood */

enum net_kind {
#define X(name, str) NET_KIND_##name,
	NET_KINDS_LIST(X)
#undef X
		NET_KINDS
};

/*
 * Of a whole frame that is for the port's link address or for many: the parser drops what is another host's.  VLAN tags
 * are passed over.  Reads what it needs of n bytes.
 */
enum net_kind net_kind(const uint8_t *p, unsigned n);

/* What an ICMP message with VERDICT_BIG tells: RFC 792 and 1191, RFC 4443. */
struct net_too_big {
	uint32_t mtu;  /* of the path, as the router says; 0: it does not (RFC 1191, 5) */
	uint32_t mark; /* of the packet that it quotes: what net_ends.mark was, as far as the family has bits for it */
	uint16_t len;  /* and its length, IP header and all */
	bool v6;
};
void net_too_big(const struct pkt *k, struct net_too_big *b);

/* ---- out ---- */

#define NET_CSUM_IP_HW	1 /* the port computes the IPv4 header checksum */
#define NET_CSUM_UDP_HW 2 /* the port computes the UDP checksum from the pseudo header's */

/* Everything in front of a datagram, prebuilt for one peer.  Opaque but for l3, l3_n, v6, tcp, csum, dev and most. */
struct net_path {
	uint8_t head[NET_MAX_HEAD]; /* Ethernet, IP, UDP or TCP; lengths and checksums open */
	uint8_t head_n;
	uint8_t l3;   /* offset of the IP header */
	uint8_t l3_n; /* and its length */
	bool v6;
	bool tcp;     /* by the flow's proto: for net_push_tcp, not net_push */
	uint8_t csum; /* NET_CSUM_* */
	uint16_t dev;
	uint16_t most;	 /* longest IP packet that goes out whole; what is longer is for net_cut */
	uint32_t sum_ip; /* partial sums over the constant fields */
	uint32_t sum_l4;
};

struct net_ends {
	uint8_t src_mac[6], dst_mac[6];
	const struct flow_key *key; /* local -> peer */
	uint16_t dev;		    /* gateway port that the path leaves by */
	uint8_t traffic_class;	    /* the whole TOS / traffic class byte */
	uint8_t csum;		    /* NET_CSUM_* */
	bool cuttable;		    /* IPv4: routers may cut it: no DF */
	uint32_t mark;		    /* 20 bits: IPv6's flow label, and the low 16 IPv4's id: what ICMP must quote */
	uint16_t most;		    /* struct net_path; 0: any length */
};

#define NET_MARK_V4 0xffffu
#define NET_MARK_V6 0xfffffu

/* key->local and key->peer are of one family.  Nothing of *e is kept by reference. */
void net_path_init(struct net_path *p, const struct net_ends *e);

/*
 * Pushes the headers of `path` before k->p (NET_MAX_HEAD writable bytes), moving p and n; checksums are right, or
 * prepared for the port as path->csum says: the IPv4 checksum 0, UDP's the pseudo header's sum, as DPDK's
 * RTE_MBUF_F_TX_IP_CKSUM and RTE_MBUF_F_TX_UDP_CKSUM want them (l2_len is path->l3, l3_len is path->l3_n).
 * k->n is at most 65535 - NET_MAX_HEAD.  IPv4 goes out with DF (unless cuttable), the mark as its id and TTL 64, IPv6
 * with hop limit 64 and the mark as its flow label; UDP always bears a checksum.
 */
void net_push(const struct net_path *path, struct pkt *k);

/* No router may cut this frame that net_push, or net_push_tcp, has made, though the path is cuttable. */
void net_whole(const struct net_path *path, struct pkt *k);

/*
 * Fake TCP: what a flow's next segment bears.  All zero on a server until the first datagram has been taken; on a
 * client, `seq` is the number that its SYN bears until the answer has been taken.
 */
struct net_tcp {
	uint32_t seq, ack;
};

/*
 * A segment came that belongs to the flow beyond doubt (authenticated; or the answer to our SYN): seq follows its
 * acknowledgement, ack moves on when it is the next in order (wire.md 10).  Numbers may repeat: nobody checks them but
 * the firewalls on the way.
 */
void net_tcp_take(struct net_tcp *t, const struct pkt *k);

/*
 * net_push for a path with `tcp`: PSH and ACK, a header of 20 bytes without options, window 65535; t->seq moves on.
 * With PKT_F_SYN in k->flags, a SYN in place of whatever k holds.  The TCP checksum is always computed here: csum of
 * the path has lost NET_CSUM_UDP_HW.
 */
void net_push_tcp(const struct net_path *path, struct net_tcp *t, struct pkt *k);

/*
 * Turns a frame with VERDICT_SYN into its answer, in place, NET_MAX_HEAD writable bytes from k->p on: SYN and ACK with
 * sequence number isn to a SYN; ACK to the answer to ours.  Back to the link address that it came from; csum: of the
 * port, as in struct net_ends.  Needs no flow: a lost or repeated segment is answered the same again.
 */
void net_answer_syn(struct pkt *k, uint32_t isn, uint8_t csum);

/*
 * The headers of a datagram that goes back where one came from, without a path: k->key is that of the frame at `frame`,
 * in which k may lie itself.  Its link addresses, and fake TCP's numbers, are taken from there.
 */
void net_push_back(const uint8_t *frame, struct pkt *k, uint8_t traffic_class, uint8_t csum);

/*
 * The fragments of a frame of n bytes that net_push or net_push_tcp has made, of path->most bytes of IP packet at most
 * (RFC 791, RFC 8200 4.5): what the kernel sends for a socket with IP_PMTUDISC_WANT.  net_cut_begin completes the UDP
 * checksum, if that was left to the port.  net_cut_next writes the next one, whole in its checksums, to `to` (path->l3
 * and path->most bytes) and returns its length, 0 after the last.  `id` tells the packet's fragments from those of
 * others between the same addresses.
 */
struct net_cut {
	const uint8_t *frame;
	uint32_t id;
	uint16_t l3, l3_n, most;
	uint16_t at, end; /* what is left of the payload, from the frame's start */
	bool v6;
};
void net_cut_begin(struct net_cut *c, const struct net_path *path, uint8_t *frame, unsigned n, uint32_t id);
unsigned net_cut_next(struct net_cut *c, uint8_t *to);

/*
 * Internet checksum helpers (RFC 1071): a running sum over n bytes, and its folded complement.  Words are summed as
 * they lie in memory, so the result of net_sum_fold is stored as it is (memcpy, le16_put), and a constant is added
 * byte-swapped.  `sum` is 0 or what net_sum gave; every run but the last is of even length; fewer than 2^32 bytes in
 * all.
 */
uint64_t net_sum(const void *p, size_t n, uint64_t sum);
uint16_t net_sum_fold(uint64_t sum);
