/* SPDX-License-Identifier: MIT */

/*
 * What the sockets of a queue have received.  A call takes several messages, each of which may be a run of datagrams
 * that the kernel has joined (UDP_GRO).  While runs come, messages are received right into the buffers in which their
 * datagrams go on, cut where the last runs were; else each into one, and a run that comes unforeseen into its spill.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_ring.h>

#include "kudp_int.h"

#define RUN_MSGS   8 /* messages of a call while runs come */
#define MOST_IOV   (RUN_MSGS * (KUDP_SEGS + 1))
#define MOST_BUFS  (RUN_MSGS * KUDP_SEGS)
#define MOST_OUT   (KUDP_RX_MSGS * KUDP_SEGS)
#define RUN_BYTES  65535
#define MOST_BURST 256 /* what the device's ring holds */

_Static_assert(MOST_IOV >= 2 * KUDP_RX_MSGS && MOST_BUFS >= KUDP_RX_MSGS, "either layout fits");

static unsigned room(const struct kudp_rx *rx)
{
	return rte_pktmbuf_data_room_size(rx->pool) - KUDP_AT;
}

/* ---- buffers ---- */

static void point(struct kudp_rx *rx, unsigned i, unsigned j)
{
	struct rte_mbuf *m = rx->bufs[i * rx->n_buf + j];

	rx->iov[i * (rx->n_buf + 1) + j] = (struct iovec){(uint8_t *)m->buf_addr + KUDP_AT, rx->seg};
}

static void give_back(struct kudp_rx *rx)
{
	for (unsigned i = 0; i < rx->n_msg * rx->n_buf; i++)
		rte_pktmbuf_free(rx->bufs[i]);
	rx->n_msg = 0;
}

bool kudp_refill(struct kudp_rx *rx)
{
	struct rte_mbuf *fresh[KUDP_SEGS];

	for (unsigned i = 0; i < rx->n_msg; i++) {
		struct rte_mbuf **bufs = rx->bufs + i * rx->n_buf;
		unsigned n = 0;

		while (n < rx->n_buf && !bufs[n])
			n++;
		if (n == 0)
			continue;
		if (rte_pktmbuf_alloc_bulk(rx->pool, fresh, n))
			return false;
		for (unsigned j = 0; j < n; j++) {
			bufs[j] = fresh[j];
			point(rx, i, j);
		}
	}
	return true;
}

static void lay_message(struct kudp_rx *rx, unsigned i)
{
	struct iovec *iov = rx->iov + i * (rx->n_buf + 1);

	iov[rx->n_buf] = (struct iovec){rx->spill + (size_t)i * KUDP_SPILL, KUDP_SPILL};
	rx->mm[i].msg_hdr = (struct msghdr){.msg_name = &rx->msg[i].from,
					    .msg_iov = iov,
					    .msg_iovlen = rx->n_buf + 1,
					    .msg_control = rx->msg[i].control};
}

bool kudp_lay(struct kudp_rx *rx, unsigned n_msg, unsigned n_buf, unsigned seg)
{
	give_back(rx);
	rx->n_msg = n_msg;
	rx->n_buf = n_buf;
	rx->seg = seg;
	memset(rx->bufs, 0, (size_t)n_msg * n_buf * sizeof(*rx->bufs));
	for (unsigned i = 0; i < n_msg; i++)
		lay_message(rx, i);
	return kudp_refill(rx);
}

static bool lay_single(struct kudp_rx *rx)
{
	return kudp_lay(rx, KUDP_RX_MSGS, 1, room(rx));
}

/* As the last runs were cut; where there are no buffers for that, or runs have ceased, for single datagrams. */
static void lay_anew(struct kudp_rx *rx, unsigned segment)
{
	unsigned n = segment ? RUN_BYTES / segment + 1 : 0;

	if (segment == 0 || segment > room(rx) || !kudp_lay(rx, RUN_MSGS, n < KUDP_SEGS ? n : KUDP_SEGS, segment))
		lay_single(rx);
}

int kudp_rx_init(struct kudp_rx *rx, struct rte_mempool *pool)
{
	rx->pool = pool;
	rx->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (rx->epoll < 0)
		return -errno;
	rx->iov = calloc(MOST_IOV, sizeof(*rx->iov));
	rx->bufs = calloc(MOST_BUFS, sizeof(*rx->bufs));
	rx->out = calloc(MOST_OUT, sizeof(*rx->out));
	rx->spill = mmap(NULL, (size_t)KUDP_RX_MSGS * KUDP_SPILL, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rx->spill == MAP_FAILED)
		rx->spill = NULL;
	return rx->iov && rx->bufs && rx->out && rx->spill ? 0 : -ENOMEM;
}

void kudp_rx_free(struct kudp_rx *rx)
{
	if (rx->bufs)
		give_back(rx);
	while (rx->out_at < rx->out_n)
		rte_pktmbuf_free(rx->out[rx->out_at++]);
	if (rx->epoll > 0)
		close(rx->epoll);
	if (rx->spill)
		munmap(rx->spill, (size_t)KUDP_RX_MSGS * KUDP_SPILL);
	free(rx->iov);
	free(rx->bufs);
	free(rx->out);
}

/* ---- reading ---- */

/* The kernel has written over what it was given. */
static void ready_messages(struct kudp_rx *rx)
{
	for (unsigned i = 0; i < rx->n_msg; i++) {
		rx->mm[i].msg_hdr.msg_namelen = sizeof(rx->msg[i].from);
		rx->mm[i].msg_hdr.msg_controllen = sizeof(rx->msg[i].control);
	}
}

/* Frames to out, from one call.  Whether the socket may hold more. */
static bool read_some(struct kudp_queue *q, struct kudp_sock *s)
{
	struct kudp_rx *rx = &q->rx;
	unsigned segment = 0;
	int n;

	rx->out_at = rx->out_n = 0;
	if (rx->n_msg == 0 ? !lay_single(rx) : !kudp_refill(rx)) {
		KUDP_COUNT(q, rx_no_buffer, 1);
		return false;
	}
	ready_messages(rx);
	n = recvmmsg(s->fd, rx->mm, rx->n_msg, MSG_DONTWAIT, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		kudp_errors(q, s);
	if (n <= 0)
		return false;
	KUDP_COUNT(q, rx_calls, 1);
	KUDP_COUNT(q, rx_messages, (unsigned)n);
	for (unsigned i = 0; i < (unsigned)n; i++) {
		unsigned cut = kudp_cut(q, s, i, rx->mm[i].msg_len);

		segment = cut ? cut : segment;
	}
	s = (unsigned)n == rx->n_msg ? s : NULL;
	if (segment ? segment != rx->seg : s && rx->n_buf > 1)
		lay_anew(rx, segment);
	return s != NULL;
}

/* The sockets that have something are asked for once a burst. */
static bool read_next(struct kudp_queue *q, bool *asked)
{
	struct kudp_rx *rx = &q->rx;
	struct epoll_event *e;

	rx->out_at = rx->out_n = 0;
	if (rx->hot) {
		if (!read_some(q, rx->hot))
			rx->hot = NULL;
		return rx->out_n > 0 || !*asked;
	}
	if (rx->at_ev == rx->n_ev) {
		int n = *asked ? 0 : epoll_wait(rx->epoll, rx->ev, KUDP_EVENTS, 0);

		*asked = true;
		rx->at_ev = 0;
		rx->n_ev = n > 0 ? (unsigned)n : 0;
		if (n <= 0)
			return false;
	}
	e = &rx->ev[rx->at_ev++];
	if (e->events & EPOLLERR)
		kudp_errors(q, e->data.ptr);
	else if (read_some(q, e->data.ptr))
		rx->hot = e->data.ptr;
	return true;
}

uint16_t kudp_rx_burst(void *queue, struct rte_mbuf **m, uint16_t most)
{
	struct kudp_queue *q = queue;
	struct kudp_rx *rx = &q->rx;
	bool asked = false;
	uint16_t n = 0;

	if (most > MOST_BURST)
		most = MOST_BURST;
	kudp_begin(&rx->half);
	if (kudp_changed(&rx->half)) {
		rx->hot = NULL;
		rx->at_ev = rx->n_ev = 0;
	}
	while (n < most && (rx->out_at < rx->out_n || read_next(q, &asked)))
		while (n < most && rx->out_at < rx->out_n)
			m[n++] = rx->out[rx->out_at++];
	if (n == most)
		rx->hot = NULL; /* others may have something too */
	kudp_end(&rx->half);
	return n ? port_front_received(q->front, m, n) : 0;
}
