/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a configuration may ask for is what the rooms can do: said here once, for config, which refuses by it, and for
 * the room that is built on it.  So `kcpgate check` and the start cannot disagree.
 */

#include <stdbool.h>

#define LIMIT_WORKERS	   64
#define LIMIT_CONTROLS	   8	    /* control instances, each with its lcore */
#define LIMIT_LCORES	   128	    /* their numbers: RTE_MAX_LCORE of Debian's DPDK */
#define LIMIT_SESSIONS	   1048576  /* of a worker */
#define LIMIT_SESSIONS_ALL 16777215 /* of one source address: what its count holds (session/origin.c) */
#define LIMIT_PORTS	   16
#define LIMIT_DEVICE	   200	/* bytes of a port's device string; what is added to it fits the room's own buffer */
#define LIMIT_PORT_MTU	   2030 /* with link header and VLAN tag it is a packet buffer of 2 KiB */
#define LIMIT_PUNT_RATE	   100000000
#define LIMIT_EXC_QUEUES   8	 /* of the exception interface with virtio-user, which has a queue for each worker */
#define LIMIT_AFP_MTU	   1500	 /* AF_PACKET's driver takes no longer frames */
#define LIMIT_UDP	   1500	 /* bytes of a datagram's payload */
#define LIMIT_KCP_WND	   65535 /* packets, what the header can say; send windows too */
#define LIMIT_BW_MIN	   10000 /* bits/s that a path may be said to take: about a full datagram a second */
#define LIMIT_BW_MAX	   400000000000
#define LIMIT_FEC_SHARDS   256	 /* data and parity packets of a group: elements of GF(2^8) */
#define LIMIT_FRAME	   65535 /* bytes of a smux frame */
#define LIMIT_EAL_ARGS	   32
#define LIMIT_QPP_MIN	   2
#define LIMIT_QPP_FEW	   7	 /* below which stock warns, and we do */
#define LIMIT_QPP_MAX	   65521 /* the largest prime of 16 bits, in which a pad is chosen */

/* A limit as a string, for messages. */
#define LIMIT_TEXT(x)  LIMIT_TEXT_(x)
#define LIMIT_TEXT_(x) #x

/* Pads of QPP: a pad is chosen by a word modulo their number, and with a common factor some would be taken more often.
 */
static inline bool limit_qpp_count(unsigned n)
{
	for (unsigned d = 2; d * d <= n && n <= LIMIT_QPP_MAX; d++)
		if (n % d == 0)
			return false;
	return n >= LIMIT_QPP_MIN && n <= LIMIT_QPP_MAX;
}
