/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Offsets, sizes and numbers of Ethernet II, IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768), and as much of TCP
 * (RFC 9293) as fake TCP shows.
 */

#include "net.h"

#define ETH_HEAD   14
#define ETH_SRC	   6
#define ETH_TYPE   12
#define ETH_T_IPV4 0x0800
#define ETH_T_IPV6 0x86dd
#define ETH_T_ARP  0x0806
#define ETH_T_VLAN 0x8100
#define ETH_T_QINQ 0x88a8
#define ETH_VLAN   4

#define IP4_HEAD      20 /* without options */
#define IP4_TOS	      1
#define IP4_LEN	      2
#define IP4_ID	      4
#define IP4_FRAG      6
#define IP4_TTL	      8
#define IP4_PROTO     9
#define IP4_CSUM      10
#define IP4_SRC	      12
#define IP4_DST	      16
#define IP4_DF	      0x4000
#define IP4_MF	      0x2000
#define IP4_OFF	      0x1fff
#define IP4_MF_OR_OFF 0x3fff /* set bits: a fragment */

#define IP6_HEAD    40
#define IP6_LEN	    4
#define IP6_NEXT    6
#define IP6_HOPS    7
#define IP6_SRC	    8
#define IP6_DST	    24
#define IP6_EXT_MIN 8 /* every extension header is a multiple of it */
#define IP6_EXT_MAX 4 /* so many are skipped; more than that nobody sends */

#define IP6_FRAG_OFF	   2 /* within the fragment header */
#define IP6_FRAG_OFF_OR_MF 0xfff9
#define IP6_FRAG_MF	   0x0001
#define IP6_FRAG_ID	   4
#define IP6_FRAG_HEAD	   8
#define IP6_ROUTE_LEFT	   3 /* within a routing header: segments left */

#define ETH_LLC_MAX 1500 /* up to this the type is a length */

#define PROTO_HOPOPTS  0
#define PROTO_ICMP     1
#define PROTO_IGMP     2
#define PROTO_TCP      6
#define PROTO_UDP      17
#define PROTO_ROUTING  43
#define PROTO_FRAGMENT 44
#define PROTO_ICMP6    58
#define PROTO_DSTOPTS  60
#define PROTO_OSPF     89
#define PROTO_PIM      103
#define PROTO_VRRP     112

#define UDP_HEAD 8
#define UDP_SRC	 0
#define UDP_DST	 2
#define UDP_LEN	 4
#define UDP_CSUM 6

#define UDP_DHCP_SERVER	 67
#define UDP_DHCP_CLIENT	 68
#define UDP_DHCP6_CLIENT 546
#define UDP_DHCP6_SERVER 547
#define UDP_BFD		 3784
#define UDP_BFD_ECHO	 3785
#define UDP_BFD_FAR	 4784

#define ICMP_HEAD      8
#define ICMP_CODE      1
#define ICMP_CSUM      2
#define ICMP_MTU       6 /* two bytes: RFC 1191; ICMPv6 has four, from 4 on */
#define ICMP6_MTU      4
#define ICMP_UNREACH   3 /* type */
#define ICMP_TOO_BIG   4 /* code of that */
#define ICMP_QUOTE_MIN 8 /* bytes behind the quoted IP header (RFC 792): the ports are among them */
#define ICMP6_TOO_BIG  2 /* type */

#define ICMP6_ND_FIRST 133 /* router solicitation .. redirect */
#define ICMP6_ND_LAST  137

#define TCP_HEAD     20	 /* without options */
#define TCP_BGP	     179 /* port */
#define TCP_SRC	     0
#define TCP_DST	     2
#define TCP_SEQ	     4
#define TCP_ACK	     8
#define TCP_OFF	     12 /* high four bits: length of the header in words */
#define TCP_FLAGS    13
#define TCP_WINDOW   14
#define TCP_CSUM     16
#define TCP_SYN_HEAD 28 /* with the options of ours: largest segment, window scale */

#define TCP_F_FIN 0x01
#define TCP_F_SYN 0x02
#define TCP_F_RST 0x04
#define TCP_F_PSH 0x08
#define TCP_F_ACK 0x10
#define TCP_F_CWR 0x80

#define NET_HOPS     64	 /* TTL, hop limit */
#define HOPS_ON_LINK 255 /* of what no router has passed on */

#define NET_HEAD_V4 (ETH_HEAD + IP4_HEAD + UDP_HEAD)
#define NET_HEAD_V6 (ETH_HEAD + IP6_HEAD + UDP_HEAD)

_Static_assert(NET_HEAD_V4 == 42 && NET_HEAD_V6 == 62, "header sizes");
_Static_assert(ETH_HEAD + ETH_VLAN + IP6_HEAD + TCP_SYN_HEAD == NET_MAX_HEAD, "NET_MAX_HEAD is the largest head");
_Static_assert(PROTO_TCP == FLOW_TCP, "a flow's proto is the IP header's, but for UDP's 0");
