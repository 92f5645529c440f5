/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The inside of a port of UDP sockets.  A queue is two halves, which two threads may serve: receiving and sending.
 * Control adds and takes away sockets while they run: a half says when it is at work (struct kudp_half), and a socket
 * that was taken away is closed when no half that may still see it is.
 */

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "kudp.h"
#include "list.h"
#include "net.h"
#include "port.h"
#include "port_front.h"

#define KUDP_PORTS   65536
#define KUDP_SEGS    64				 /* datagrams that the kernel joins to a run, or takes as one */
#define KUDP_SPILL   65536			 /* bytes of the longest run */
#define KUDP_AT	     (RTE_PKTMBUF_HEADROOM + 64) /* of the payload in a received buffer: headers go before it */
#define KUDP_EVENTS  32
#define KUDP_RX_MSGS 32
#define KUDP_TX_MSGS 64
#define KUDP_TX_MOST 256 /* frames of a sendmmsg */

struct kudp_sock {
	int fd;
	uint16_t port;
	uint8_t tclass;	   /* what it sends with now */
	bool v6;	   /* AF_INET6, for both families; false: where the host has no IPv6 */
	bool exact;	   /* bound to all addresses, and a datagram's own is told and said */
	struct addr local; /* !exact: what received frames bear; unspecified: the family's */
	uint32_t lost;	   /* as the kernel has counted it */
};

/* Odd while a burst is under way; `changed` is control's: sockets have gone, and none that were remembered hold. */
struct kudp_half {
	_Atomic unsigned turn;
	_Atomic unsigned changed;
	unsigned seen;
};

struct kudp_msg {
	struct sockaddr_in6 from;
	uint8_t control[128] __attribute__((aligned(8)));
};

struct kudp_rx {
	struct kudp_half half;
	int epoll;
	struct rte_mempool *pool;
	struct epoll_event ev[KUDP_EVENTS];
	unsigned n_ev, at_ev;
	struct kudp_sock *hot; /* gave as much as it was asked for: is read first */

	/*
	 * How the next messages are received: n_msg of them, each into n_buf buffers of `seg` bytes of payload, and
	 * what goes beyond that into its spill.  seg is what runs were cut by lately, so that they lie as they are to
	 * go on.
	 */
	unsigned n_msg, n_buf, seg;
	struct mmsghdr mm[KUDP_RX_MSGS];
	struct kudp_msg msg[KUDP_RX_MSGS];
	struct iovec *iov;	/* [message * (n_buf + 1)] */
	struct rte_mbuf **bufs; /* [message * n_buf]; NULL: used up */
	uint8_t *spill;

	/* Frames that are ready. */
	struct rte_mbuf **out;
	unsigned out_at, out_n;

	/* Headers for the last sender. */
	struct flow_key key;
	uint8_t path_class;
	bool path_ok;
	struct net_path path;
};

struct kudp_tx {
	struct kudp_half half;
	unsigned n_msg, n_frame;
	struct mmsghdr mm[KUDP_TX_MSGS];
	struct kudp_msg msg[KUDP_TX_MSGS];
	uint16_t frames[KUDP_TX_MSGS]; /* of each message */
	struct iovec iov[KUDP_TX_MOST];
};

struct kudp_queue {
	struct kudp_rx rx __attribute__((aligned(64)));
	struct kudp_tx tx __attribute__((aligned(64)));
	struct kudp_stats stats; /* rx_* by the one half, tx_* by the other */
	_Atomic(struct kudp_sock *) *by_port;
	uint16_t port_id;
	struct port_front_queue *front;
};

struct kudp_set {
	struct list dying; /* struct kudp.dying */
	uint16_t port;
	unsigned n;
	int first; /* queue of sock[0] */
	unsigned turns[KUDP_QUEUES][2];
	struct kudp_sock sock[];
};

struct kudp {
	struct port_front front;
	unsigned n;
	struct kudp_queue *queue[KUDP_QUEUES];
	struct list dying;
};

_Static_assert(KUDP_QUEUES == PORT_FRONT_QUEUES, "each has its place");

#define KUDP_COUNT(q, name, by) ((q)->stats.name += (by))

static inline void kudp_begin(struct kudp_half *h)
{
	atomic_fetch_add_explicit(&h->turn, 1, memory_order_seq_cst);
}

static inline void kudp_end(struct kudp_half *h)
{
	atomic_store_explicit(&h->turn, atomic_load_explicit(&h->turn, memory_order_relaxed) + 1, memory_order_release);
}

/* Whether sockets have been taken away since the last burst: call between kudp_begin and kudp_end. */
static inline bool kudp_changed(struct kudp_half *h)
{
	unsigned now = atomic_load_explicit(&h->changed, memory_order_seq_cst);
	bool yes = now != h->seen;

	h->seen = now;
	return yes;
}

/* ---- kudp_name.c: addresses as the kernel has them, in a socket's own family ---- */

socklen_t kudp_name_put(const struct kudp_sock *s, const struct addr *a, uint16_t port, struct sockaddr_in6 *to);
void kudp_name_get(const struct sockaddr_in6 *from, struct addr *a, uint16_t *port);
/* Appends the control message that says the source address; returns the bytes that it takes. */
size_t kudp_source_put(const struct kudp_sock *s, const struct addr *a, uint8_t *at);
size_t kudp_segment_put(uint16_t bytes, uint8_t *at);

/* What came with a message. */
struct kudp_info {
	struct addr local;
	bool has_local;
	uint8_t tclass;
	uint16_t segment; /* bytes that a run is cut by; 0: it is none */
	uint32_t lost;	  /* of the socket so far, by its full buffer */
	bool has_lost;
	const struct sock_extended_err *err; /* of the error queue */
};
void kudp_info_get(const struct msghdr *m, struct kudp_info *info);

/* ---- kudp_rx.c, kudp_cut.c ---- */
int kudp_rx_init(struct kudp_rx *rx, struct rte_mempool *pool);
void kudp_rx_free(struct kudp_rx *rx);
uint16_t kudp_rx_burst(void *queue, struct rte_mbuf **m, uint16_t n);
/* Lays the receive buffers out for messages of n_buf datagrams of seg bytes each.  False: no buffers. */
bool kudp_lay(struct kudp_rx *rx, unsigned n_msg, unsigned n_buf, unsigned seg);
/* Replaces what has been used up.  False: no buffers. */
bool kudp_refill(struct kudp_rx *rx);
/* Cuts message i, of `bytes`, into frames.  Returns by how many bytes it was cut, 0: it is no run. */
unsigned kudp_cut(struct kudp_queue *q, struct kudp_sock *s, unsigned i, unsigned bytes);

/* ---- kudp_err.c ---- */
/* Turns what the socket's error queue holds into frames of ICMP, as long as there is room for them. */
void kudp_errors(struct kudp_queue *q, const struct kudp_sock *s);

/* ---- kudp_tx.c ---- */
uint16_t kudp_tx_burst(void *queue, struct rte_mbuf **m, uint16_t n);

/* ---- kudp.c: the device, for port.c ---- */
bool kudp_is(const struct port_conf *conf);
/* Makes the ethdev, not yet configured.  0 with *out and *id, or -errno and why. */
int kudp_create(const struct port_conf *conf, struct kudp **out, uint16_t *id, char *why, size_t why_n);
/* The ethdev has been started: from now on bursts are the sockets'. */
void kudp_attach(struct kudp *k, struct port *p);
void kudp_destroy(struct kudp *k);
