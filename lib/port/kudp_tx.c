/* SPDX-License-Identifier: MIT */

/*
 * Frames on their way out: the payload of each leaves by the socket that has its source port.  Equal datagrams to one
 * peer, one behind the other, are handed over as one run (UDP_SEGMENT; the last of it may be shorter), many runs in one
 * call.  The bytes are taken from the buffers as they lie.
 */

#include <errno.h>
#include <string.h>

#include <rte_ring.h>

#include "kudp_int.h"
#include "le.h"
#include "net_wire.h"

#define RUN_BYTES 65000 /* with headers it is a datagram of IP */

/* A frame as it is to be sent. */
struct out {
	const uint8_t *ends; /* source and destination address, source and destination port, as they lie */
	const uint8_t *payload;
	unsigned n;
	uint8_t tclass;
	bool v6;
	uint16_t sport;
};

static unsigned ends_n(const struct out *o)
{
	return o->v6 ? 36 : 12;
}

static bool look(const struct rte_mbuf *m, struct out *o)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *ip = p + ETH_HEAD, *udp;

	if (m->data_len < ETH_HEAD + IP4_HEAD + UDP_HEAD)
		return false;
	o->v6 = be16_get(p + ETH_TYPE) == ETH_T_IPV6;
	if (o->v6 ? m->data_len < ETH_HEAD + IP6_HEAD + UDP_HEAD || ip[IP6_NEXT] != PROTO_UDP
		  : be16_get(p + ETH_TYPE) != ETH_T_IPV4 || ip[0] != 0x45 || ip[IP4_PROTO] != PROTO_UDP)
		return false;
	udp = ip + (o->v6 ? IP6_HEAD : IP4_HEAD);
	o->ends = ip + (o->v6 ? IP6_SRC : IP4_SRC);
	o->tclass = o->v6 ? (uint8_t)(be16_get(ip) >> 4) : ip[IP4_TOS];
	o->payload = udp + UDP_HEAD;
	o->n = be16_get(udp + UDP_LEN);
	o->sport = be16_get(udp + UDP_SRC);
	if (o->n < UDP_HEAD || udp + o->n > p + m->data_len)
		return false;
	o->n -= UDP_HEAD;
	return true;
}

static void read_ends(const struct out *o, struct addr *src, struct addr *dst, uint16_t *dport)
{
	unsigned n = o->v6 ? 16 : 4;

	*src = *dst = addr_v4(0);
	memcpy(src->b + 16 - n, o->ends, n);
	memcpy(dst->b + 16 - n, o->ends + n, n);
	*dport = be16_get(o->ends + 2 * n + UDP_DST);
}

/* ---- messages ---- */

static void set_class(struct kudp_sock *s, uint8_t tclass)
{
	int v = tclass;

	setsockopt(s->fd, IPPROTO_IP, IP_TOS, &v, sizeof(v));
	if (s->v6)
		setsockopt(s->fd, IPPROTO_IPV6, IPV6_TCLASS, &v, sizeof(v));
	s->tclass = tclass;
}

/* The run that the frames of a message make; what closes it is another peer, another size, or its end. */
struct run {
	struct out first;
	unsigned bytes, n;
	bool closed;
};

static bool joins(const struct run *r, const struct out *o)
{
	return !r->closed && r->n < KUDP_SEGS && o->n && o->n <= r->first.n && r->bytes + o->n <= RUN_BYTES &&
	       o->v6 == r->first.v6 && memcmp(o->ends, r->first.ends, ends_n(o)) == 0;
}

static void begin_message(struct kudp_tx *tx, const struct kudp_sock *s, const struct out *o)
{
	struct kudp_msg *msg = &tx->msg[tx->n_msg];
	struct msghdr *h = &tx->mm[tx->n_msg].msg_hdr;
	struct addr src, dst;
	uint16_t port;

	read_ends(o, &src, &dst, &port);
	*h = (struct msghdr){.msg_name = &msg->from, .msg_iov = &tx->iov[tx->n_frame], .msg_control = msg->control};
	h->msg_namelen = kudp_name_put(s, &dst, port, &msg->from);
	if (s->exact && !addr_is_any(&src))
		h->msg_controllen = kudp_source_put(s, &src, msg->control);
	tx->frames[tx->n_msg++] = 0;
}

static void end_message(struct kudp_tx *tx, const struct run *r)
{
	struct msghdr *h = &tx->mm[tx->n_msg - 1].msg_hdr;

	if (r->n < 2)
		return;
	h->msg_controllen += kudp_segment_put((uint16_t)r->first.n, (uint8_t *)h->msg_control + h->msg_controllen);
}

static void add_frame(struct kudp_tx *tx, struct run *r, const struct out *o)
{
	tx->iov[tx->n_frame++] = (struct iovec){(void *)o->payload, o->n};
	tx->mm[tx->n_msg - 1].msg_hdr.msg_iovlen++;
	tx->frames[tx->n_msg - 1]++;
	r->bytes += o->n;
	r->n++;
	r->closed = o->n < r->first.n;
}

/* Messages from the first of n frames on, as far as they leave by one socket and can be sent.  NULL: the first cannot
 * be, and is counted. */
static struct kudp_sock *gather(struct kudp_queue *q, struct rte_mbuf **m, unsigned n)
{
	struct kudp_tx *tx = &q->tx;
	struct kudp_sock *s = NULL;
	struct run run = {.closed = true};
	struct out o;

	tx->n_msg = tx->n_frame = 0;
	for (unsigned i = 0; i < n && i < KUDP_TX_MOST; i++) {
		struct kudp_sock *by;

		if (i + 2 < n)
			__builtin_prefetch(rte_pktmbuf_mtod(m[i + 2], void *));
		if (!look(m[i], &o)) {
			KUDP_COUNT(q, tx_no_udp, i == 0);
			break;
		}
		by = atomic_load_explicit(&q->by_port[o.sport], memory_order_acquire);
		if (!by || (o.v6 && !by->v6)) {
			KUDP_COUNT(q, tx_no_socket, i == 0);
			break;
		}
		if ((s && s != by) || (s && s->tclass != o.tclass))
			break;
		if (!s && by->tclass != o.tclass)
			set_class(by, o.tclass);
		s = by;
		if (!joins(&run, &o)) {
			if (tx->n_msg == KUDP_TX_MSGS)
				break;
			if (tx->n_msg)
				end_message(tx, &run);
			begin_message(tx, s, &o);
			run = (struct run){.first = o};
		}
		add_frame(tx, &run, &o);
	}
	if (tx->n_msg)
		end_message(tx, &run);
	return s;
}

/* ---- sending ---- */

enum after { AFTER_FULL, AFTER_AGAIN, AFTER_CUT, AFTER_LOST };

/* What to do about a message that the kernel did not take.  `again`: it was tried twice. */
static enum after after_error(int err, unsigned frames, bool again)
{
	switch (err) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return AFTER_FULL;
	case EINTR:
		return AFTER_AGAIN;
	case EINVAL:
	case EMSGSIZE:
	case EIO:
		/* The path takes no datagram of that size in one piece, or the device has nothing to cut runs with. */
		if (frames > 1)
			return AFTER_CUT;
		break;
	default:
		break;
	}
	/* It may be the answer to an earlier one, which an ICMP error has brought. */
	return again ? AFTER_LOST : AFTER_AGAIN;
}

static void count_lost(struct kudp_queue *q, int err, unsigned n)
{
	switch (err) {
	case EPERM:
	case EACCES:
		KUDP_COUNT(q, tx_refused, n);
		break;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EADDRNOTAVAIL:
	case ENODEV:
		KUDP_COUNT(q, tx_unreachable, n);
		break;
	case EMSGSIZE:
		KUDP_COUNT(q, tx_long, n);
		break;
	default:
		KUDP_COUNT(q, tx_failed, n);
		break;
	}
}

/* A run's frames each for itself.  How many are done with; fewer than all: the socket takes no more. */
static unsigned send_cut(struct kudp_queue *q, const struct kudp_sock *s, unsigned i)
{
	const struct msghdr *run = &q->tx.mm[i].msg_hdr;
	struct msghdr h = *run;
	unsigned n = q->tx.frames[i], done = 0;
	bool again = false;

	KUDP_COUNT(q, tx_cut, 1);
	h.msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
	h.msg_iovlen = 1;
	while (done < n) {
		enum after then;

		h.msg_iov = run->msg_iov + done;
		if (sendmsg(s->fd, &h, MSG_DONTWAIT) >= 0) {
			done++;
			again = false;
			continue;
		}
		then = after_error(errno, 1, again);
		again = then == AFTER_AGAIN;
		if (then == AFTER_FULL)
			break;
		if (then == AFTER_LOST) {
			count_lost(q, errno, 1);
			done++;
		}
	}
	return done;
}

static unsigned sent_messages(struct kudp_queue *q, unsigned from, unsigned n)
{
	unsigned frames = 0;

	for (unsigned i = from; i < from + n; i++) {
		frames += q->tx.frames[i];
		if (q->tx.frames[i] < 2)
			continue;
		KUDP_COUNT(q, tx_runs, 1);
		KUDP_COUNT(q, tx_run_datagrams, q->tx.frames[i]);
	}
	return frames;
}

/* The gathered messages; how many frames are done with.  *full: the socket takes no more. */
static unsigned send_all(struct kudp_queue *q, const struct kudp_sock *s, bool *full)
{
	struct kudp_tx *tx = &q->tx;
	unsigned at = 0, done = 0, some;
	bool again = false;

	while (at < tx->n_msg && !*full) {
		int n = sendmmsg(s->fd, tx->mm + at, tx->n_msg - at, MSG_DONTWAIT);
		int err = errno;
		enum after then;

		KUDP_COUNT(q, tx_calls, 1);
		if (n > 0) {
			done += sent_messages(q, at, (unsigned)n);
			at += (unsigned)n;
			again = false;
			continue;
		}
		then = after_error(err, tx->frames[at], again);
		again = then == AFTER_AGAIN;
		*full = then == AFTER_FULL;
		if (again || *full)
			continue;
		some = tx->frames[at];
		if (then == AFTER_LOST)
			count_lost(q, err, some);
		else
			some = send_cut(q, s, at);
		*full = some < tx->frames[at];
		done += some;
		at++;
	}
	return done;
}

uint16_t kudp_tx_burst(void *queue, struct rte_mbuf **m, uint16_t n)
{
	struct kudp_queue *q = queue;
	unsigned done = 0;
	bool full = false;

	kudp_begin(&q->tx.half);
	while (done < n && !full) {
		const struct kudp_sock *s = gather(q, m + done, n - done);

		done += q->tx.n_msg ? send_all(q, s, &full) : 1;
	}
	kudp_end(&q->tx.half);
	KUDP_COUNT(q, tx_again, full);
	port_front_sent(q->front, m, (uint16_t)done);
	return (uint16_t)done;
}
