/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Every reason for which kcpgate drops a packet, a session or a stream, in one list.  A room that drops names the
 * reason as the packet's verdict; the worker counts it by its number; telemetry prints it by its name.
 */

#include <stdint.h>

#define DROP_LIST(X)                                                                                          \
	/* net */                                                                                             \
	X(FRAME_SHORT, "frame_short", "frame ends inside a header")                                           \
	X(NOT_FOR_US, "not_for_us", "shared port: the kernel's packet, not a tunnel's")                       \
	X(OTHER_HOST, "other_host", "exclusive port: a frame to another host's link address")                 \
	X(VLAN, "vlan", "not of the port's VLAN")                                                             \
	X(IP_HEADER, "ip_header", "bad IPv4 or IPv6 header")                                                  \
	X(IP_CHECKSUM, "ip_checksum", "IPv4 header checksum wrong")                                           \
	X(IP_FRAGMENT, "ip_fragment", "IP fragment of a datagram of ours that could not be completed")        \
	X(UDP_LENGTH, "udp_length", "UDP length, or TCP header, beyond the packet")                           \
	X(UDP_CHECKSUM, "udp_checksum", "the UDP or TCP checksum is bad, says the driver, or we")             \
	X(TCP_CONTROL, "tcp_control", "fake TCP: a segment of the peer's kernel, without a datagram")         \
	X(ICMP_CHECKSUM, "icmp_checksum", "ICMP \"too big\" of a tunnel's packet: the checksum is wrong")     \
	X(ICMP_QUOTE, "icmp_quote", "ICMP \"too big\" that quotes no packet that a session has sent")         \
	X(ICMP_MTU, "icmp_mtu", "ICMP \"too big\" with an MTU that no path has, or that its packet fits")     \
	/* pipeline */                                                                                        \
	X(MULTI_SEGMENT, "multi_segment", "received in more than one buffer")                                 \
	X(SEGMENT, "segment", "from the kernel: said to be TCP that is to be cut up, and is not")             \
	X(STEER_FULL, "steer_full", "ring to the home worker full")                                           \
	X(PUNT_FULL, "punt_full", "no room to the kernel: TCP that begins, ICMP, UDP and all the rest")       \
	X(PUNT_FIRST_FULL, "punt_first_full", "no room to the kernel: ARP, routing, standing TCP")            \
	X(PUNT_LINK, "punt_link", "beyond punt_rate: ARP, neighbour discovery and the like")                  \
	X(PUNT_ROUTING, "punt_routing", "beyond punt_rate: OSPF, VRRP, PIM, IS-IS, BFD")                      \
	X(PUNT_TCP, "punt_tcp", "beyond punt_rate: TCP of standing connections")                              \
	X(PUNT_SYN, "punt_syn", "beyond punt_rate: TCP that begins")                                          \
	X(PUNT_ICMP, "punt_icmp", "beyond punt_rate: ICMP, IGMP, DHCP")                                       \
	X(PUNT_OTHER, "punt_other", "beyond punt_rate: UDP, fragments and all the rest")                      \
	X(INJECT_FULL, "inject_full", "ring from the exception path full")                                    \
	X(NO_MBUF, "no_mbuf", "packet buffers exhausted")                                                     \
	X(TX_FULL, "tx_full", "port took no more packets")                                                    \
	X(TX_LONG, "tx_long", "longer than the port's frames")                                                \
	X(PORT_DOWN, "port_down", "the port's interface is down, or gone")                                    \
	X(NO_ROUTE, "no_route", "no route or source address for the peer")                                    \
	X(NO_NEIGHBOUR, "no_neighbour", "next hop's link address not known (yet)")                            \
	/* crypt */                                                                                           \
	X(KEY_LIMIT, "key_limit", "of no session, and beyond the keys that are tried a second")               \
	X(CRYPT_SHORT, "crypt_short", "shorter than the cipher's header")                                     \
	X(CRYPT_BAD, "crypt_bad", "checksum or tag wrong: wrong key, cipher or noise")                        \
	/* session */                                                                                         \
	X(REPLAYED, "replayed", "was seen before")                                                            \
	X(REFLECTED, "reflected", "is one that we have sent, and somebody has sent back")                     \
	X(NO_LISTENER, "no_listener", "the tunnel does not listen on this address or port")                   \
	X(ACL, "acl", "from an address that the tunnel's allow and deny keep out")                            \
	X(FOREIGN, "foreign", "datagram from an address that is not the session's peer")                      \
	X(SHORT, "short", "decrypted payload too short for KCP or FEC")                                       \
	X(CONV, "conv", "conversation id of another session, and not a new one's start")                      \
	X(STRAY, "stray", "datagram of a session that is not known, and that cannot begin one")               \
	X(MOVING, "moving", "from where a session's peer has not shown that it receives")                     \
	X(MOVE_LIMIT, "move_limit", "the same, beyond what is asked and judged of it a second")               \
	X(PARITY_ALONE, "parity_alone", "parity without a session")                                           \
	X(SESSION_LIMIT, "session_limit", "no room for a new session")                                        \
	X(TUNNEL_LIMIT, "tunnel_limit", "no room for a new session in its tunnel's part")                     \
	X(DRAINING, "draining", "its tunnel takes nothing new, or its time was over")                         \
	X(ADDRESS_LIMIT, "address_limit", "new session of an address that has as many as it may")             \
	X(PREFIX_LIMIT, "prefix_limit", "new session of a /24 or /56 that has as many as it may")             \
	X(SESSION_RATE, "session_rate", "new session of an address that has begun too many just now")         \
	X(KCP_INPUT, "kcp_input", "malformed KCP segment")                                                    \
	X(OOB, "oob", "out-of-band packet, which kcptun does not use")                                        \
	X(ASK_LIMIT, "ask_limit", "question for a session, beyond those answered a second")                   \
	X(FEC, "fec", "FEC packet malformed, or not fit for its group")                                       \
	X(FEC_UNPROVED, "fec_unproved", "FEC might have rebuilt it, had the shape of the groups been proved") \
	X(COMP, "comp", "snappy stream corrupt: session closed")                                              \
	X(MUX, "mux", "smux protocol error: session closed")                                                  \
	X(TRIED, "tried", "session closed: the server does not seem to speak this version of smux, nor any")  \
	X(TIMEOUT, "timeout", "session closed: nothing heard from the peer")                                  \
	X(NEVER_BEGAN, "never_began", "session closed: the peer's first bytes never came")                    \
	X(FORGOTTEN, "forgotten", "session closed: the server says that it does not know it")                 \
	X(ADDRESS_GONE, "address_gone", "session closed: our address is another now")                         \
	X(REPLACED, "replaced", "session closed: the peer began a new one")                                   \
	X(RIVAL, "rival", "began a session where another one is that may be alive: asked first")              \
	X(UNCONFIRMED, "unconfirmed", "session closed: too many whose peers have acknowledged nothing yet")   \
	X(DOUBTED, "doubted", "session closed: one of before, and its peer proved nothing")                   \
	X(KICKED, "kicked", "session closed: somebody who may has asked for it (kcpgate kick)")               \
	X(STREAM_LIMIT, "stream_limit", "no room for a new stream")                                           \
	X(TARGET, "target", "stream closed: the target could not be reached")                                 \
	X(DIAL_LIMIT, "dial_limit", "stream closed: too many dials to the tunnel's target wait")              \
	X(OVER_SHARE, "over_share", "a session held most when memory ran out (closed), or all that it may")   \
	X(NO_MEMORY, "no_memory", "the worker's memory budget is used up")

/* Verdicts of a packet on its way in.  Anything from VERDICT_DROP on is a reason to drop it. */
enum verdict {
	VERDICT_OK = 0,
	VERDICT_PUNT = 1,   /* not ours: to the kernel */
	VERDICT_FRAG = 2,   /* fragment of what may be ours: to reassembly */
	VERDICT_SYN = 3,    /* fake TCP: begins a flow, or answers our beginning (PKT_F_ACK) */
	VERDICT_ANSWER = 4, /* an answer lies in its place: to be sealed and sent back where it came from */
	VERDICT_TAG = 5,    /* bears an 802.1Q tag, which the parser does not look into */
	VERDICT_BIG = 6,    /* ICMP: a packet of a flow of ours was too big for its path */
	VERDICT_DROP = 8,
#define X(name, str, why) DROP_##name,
	DROP_LIST(X)
#undef X
		VERDICT_MAX
};

#define DROP_COUNT (VERDICT_MAX - VERDICT_DROP)

/* Name and explanation of a reason; "?" for what is none. */
const char *drop_name(unsigned verdict);
const char *drop_why(unsigned verdict);
