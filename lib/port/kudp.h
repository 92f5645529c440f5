/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A port of the kernel's own UDP sockets ("net_kudp0"), for where there is no packet socket to be had, or no Ethernet.
 * To the pipeline it is an ethdev like any other: what a socket receives comes with synthesized headers in front of it,
 * and of a frame that is sent the payload leaves by the socket that has its source port.  Routes, neighbours, MTUs and
 * the firewall are the kernel's.
 *
 * The device is a ring device of DPDK's (its rings are passed through, and so its counters, capture and configuration
 * work), in front of which the burst functions of this room stand.  All frames bear link addresses of zeros.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct kudp;	 /* a device */
struct kudp_set; /* the sockets of one of our UDP ports */

#define KUDP_QUEUES 16 /* at most: PORT_FRONT_QUEUES */

/* What the queues count.  Written by their workers, read by anybody. */
#define KUDP_COUNTERS(X)                                                                                       \
	X(rx_calls, "receive_calls")	     /* of recvmmsg, that brought something */                         \
	X(rx_messages, "receive_messages")   /* datagrams, or runs of them that the kernel had joined */       \
	X(rx_joined, "receive_joined")	     /* datagrams that came in runs */                                 \
	X(rx_recut, "receive_recut")	     /* of them, those that had to be copied once more */              \
	X(rx_lost, "receive_lost")	     /* by the kernel: the socket's buffer was full */                 \
	X(rx_long, "receive_long")	     /* longer than a buffer: none of ours */                          \
	X(rx_group, "receive_group")	     /* to a multicast group or broadcast address */                   \
	X(rx_no_buffer, "receive_no_buffer") /* times that nothing was read, since there were no buffers */    \
	X(rx_errors, "receive_icmp")	     /* ICMP errors about what we sent, which went on as frames */     \
	X(tx_calls, "send_calls")                                                                              \
	X(tx_runs, "send_runs") /* of equal datagrams, each handed over as one */                              \
	X(tx_run_datagrams, "send_run_datagrams")                                                              \
	X(tx_cut, "send_cut")		      /* runs that the kernel would not have, sent one by one */       \
	X(tx_again, "send_full")	      /* times that the socket took no more */                         \
	X(tx_no_socket, "send_no_socket")     /* from here on: datagrams that were lost; by no port of ours */ \
	X(tx_no_udp, "send_no_udp")	      /* no UDP */                                                     \
	X(tx_refused, "send_refused")	      /* by the host's firewall */                                     \
	X(tx_unreachable, "send_unreachable") /* the kernel has no route, or no source address */              \
	X(tx_long, "send_long")		      /* longer than the kernel sends */                               \
	X(tx_failed, "send_failed")	      /* for another reason */

struct kudp_stats {
#define X(name, str) uint64_t name;
	KUDP_COUNTERS(X)
#undef X
};

struct kudp_conf {
	const struct addr *host; /* NULL or unspecified: all addresses of both families */
	uint16_t port;		 /* 0: one that the kernel picks */
	/*
	 * The queue that reads it and sends by it; KUDP_ALL: every queue has a socket of its own, among which the
	 * kernel spreads flows by their hash, each always to the same.
	 */
	int queue;
	/*
	 * The kernel picks the source address of each datagram anew, and received ones bear the unspecified address as
	 * destination.  false: they bear the address that the peer has sent to, and it is answered from that.
	 */
	bool floating;
	unsigned buffer; /* bytes of a socket's buffers, each way; 0: the kernel's default */
};
#define KUDP_ALL (-1)

/*
 * Opens the sockets of a port, and gives them to their queues, workers running or not.  0 with *out and *port, or
 * -errno: -EADDRINUSE also where another process would share the port.  By control.
 */
int kudp_open(struct kudp *k, const struct kudp_conf *conf, struct kudp_set **out, uint16_t *port);

/* Closes them, now or as soon as no worker is reading them: a later kudp_open, kudp_close or kudp_reap does it. */
void kudp_close(struct kudp *k, struct kudp_set *set);
void kudp_reap(struct kudp *k);

void kudp_stats(const struct kudp *k, struct kudp_stats *out);
