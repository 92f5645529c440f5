/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_mbuf.h>
#include <rte_memcpy.h>
#include <rte_ring.h>

#include "xdp_sock.h"

#define SEND_SPACE 4096 /* of the socket's send buffer for each frame: the kernel's own buffer round it counts */
#define KICK	   32	/* frames that one call sends in copy mode */
#define BUSY_TRIES 3

/* ---- opening ---- */

static int make_umem(struct port_xsk *s, const struct port_xsk_conf *c)
{
	/* Twice: the kernel tells of a frame before it gives its place in the ring of empty ones back. */
	const struct xsk_umem_config uc = {
		.fill_size = 2 * c->rx, .comp_size = c->tx ? c->tx : KICK, .frame_size = c->frame, .frame_headroom = 0};

	s->frame = c->frame;
	s->area_n = (size_t)(c->rx + c->tx) * c->frame;
	s->area = mmap(NULL, s->area_n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->area == MAP_FAILED) {
		s->area = NULL;
		return -errno;
	}
	return xsk_umem__create(&s->umem, s->area, s->area_n, &s->fill, &s->comp, &uc);
}

static int make_socket(struct port_xsk *s, const struct port_xsk_conf *c)
{
	const struct xsk_socket_config sc = {.rx_size = c->rx,
					     .tx_size = c->tx,
					     .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
					     .bind_flags = (uint16_t)(XDP_USE_NEED_WAKEUP | (c->copy ? XDP_COPY : 0))};

	return xsk_socket__create(&s->sock, c->iface, c->queue, s->umem, &s->rx, c->tx ? &s->tx : NULL, &sc);
}

/* The first frames are for receiving, all of them the kernel's at first; the others for sending. */
static int share_frames(struct port_xsk *s, const struct port_xsk_conf *c)
{
	uint32_t at = 0;

	s->free = calloc(c->tx ? c->tx : 1, sizeof(*s->free));
	if (!s->free)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->tx; i++)
		s->free[s->n_free++] = (uint64_t)(c->rx + i) * c->frame;
	if (xsk_ring_prod__reserve(&s->fill, c->rx, &at) != c->rx)
		return -ENOSPC;
	for (uint32_t i = 0; i < c->rx; i++)
		*xsk_ring_prod__fill_addr(&s->fill, at + i) = (uint64_t)i * c->frame;
	xsk_ring_prod__submit(&s->fill, c->rx);
	return 0;
}

static void ask_options(struct port_xsk *s, const struct port_xsk_conf *c)
{
	int space = (int)(c->tx * SEND_SPACE);
	struct xdp_options o = {0};
	socklen_t n = sizeof(o);

	s->fd = xsk_socket__fd(s->sock);
	s->zero_copy = getsockopt(s->fd, SOL_XDP, XDP_OPTIONS, &o, &n) == 0 && o.flags & XDP_OPTIONS_ZEROCOPY;
	/* Without it only as many frames leave at once as fit the default, some ninety. */
	if (c->tx && setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &space, sizeof(space)))
		setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &space, sizeof(space));
}

int port_xsk_open(struct port_xsk *s, const struct port_xsk_conf *c)
{
	int err;

	memset(s, 0, sizeof(*s));
	err = make_umem(s, c);
	if (!err)
		err = make_socket(s, c);
	if (!err)
		err = share_frames(s, c);
	if (err) {
		port_xsk_close(s);
		return err;
	}
	ask_options(s, c);
	return 0;
}

void port_xsk_close(struct port_xsk *s)
{
	if (s->sock)
		xsk_socket__delete(s->sock);
	if (s->umem)
		xsk_umem__delete(s->umem);
	if (s->area)
		munmap(s->area, s->area_n);
	free(s->free);
	memset(s, 0, sizeof(*s));
}

uint64_t port_xsk_lost(const struct port_xsk *s)
{
	struct xdp_statistics st = {0};
	socklen_t n = sizeof(st);

	if (!s->sock || getsockopt(s->fd, SOL_XDP, XDP_STATISTICS, &st, &n))
		return 0;
	return st.rx_dropped + st.rx_ring_full + st.rx_fill_ring_empty_descs;
}

/* ---- in ---- */

static void take(const struct port_xsk *s, const struct xdp_desc *d, struct rte_mbuf *m)
{
	uint16_t room = rte_pktmbuf_tailroom(m), n = d->len < room ? (uint16_t)d->len : room;

	rte_memcpy(rte_pktmbuf_mtod(m, void *), s->area + d->addr, n);
	m->data_len = n;
	m->pkt_len = n;
}

static uint16_t rx_one(struct port_xdp_queue *q, struct port_xsk *s, struct rte_mbuf **m, uint16_t n)
{
	uint32_t from = 0, to = 0, got = xsk_ring_cons__peek(&s->rx, n, &from);

	if (got == 0) {
		if (xsk_ring_prod__needs_wakeup(&s->fill))
			recvfrom(s->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
		return 0;
	}
	if (rte_pktmbuf_alloc_bulk(q->pool, m, got)) {
		xsk_ring_cons__cancel(&s->rx, got);
		q->no_buffer++;
		return 0;
	}
	xsk_ring_prod__reserve(&s->fill, got, &to); /* there is room for twice as many frames as there are */
	for (uint32_t i = 0; i < got; i++) {
		const struct xdp_desc *d = xsk_ring_cons__rx_desc(&s->rx, from + i);

		if (i + 2 < got)
			rte_prefetch0(s->area + xsk_ring_cons__rx_desc(&s->rx, from + i + 2)->addr);
		take(s, d, m[i]);
		m[i]->port = q->port;
		*xsk_ring_prod__fill_addr(&s->fill, to + i) = d->addr & ~(uint64_t)(s->frame - 1);
	}
	xsk_ring_prod__submit(&s->fill, got);
	xsk_ring_cons__release(&s->rx, got);
	return (uint16_t)got;
}

/* ---- out ---- */

static bool tx_waits(const struct port_xsk *s)
{
	return __atomic_load_n(s->tx.consumer, __ATOMIC_ACQUIRE) != *s->tx.producer;
}

/* In copy mode a call sends a few frames, and as many calls are needed; what is refused waits for the next turn. */
static void kick(struct port_xsk *s)
{
	uint32_t waiting = *s->tx.producer - __atomic_load_n(s->tx.consumer, __ATOMIC_ACQUIRE);
	unsigned left = waiting / KICK + 1, busy = 0;

	while (left > 0 && xsk_ring_prod__needs_wakeup(&s->tx) && tx_waits(s)) {
		if (sendto(s->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0 || errno == EAGAIN) {
			left--;
			continue;
		}
		if (errno != EBUSY || ++busy == BUSY_TRIES)
			return;
	}
}

static void reclaim(struct port_xsk *s)
{
	uint32_t at = 0, n = xsk_ring_cons__peek(&s->comp, s->comp.size, &at);

	for (uint32_t i = 0; i < n; i++)
		s->free[s->n_free++] = *xsk_ring_cons__comp_addr(&s->comp, at + i);
	if (n)
		xsk_ring_cons__release(&s->comp, n);
}

/* Bytes that were copied; 0: longer than a frame. */
static uint32_t put(const struct port_xsk *s, uint64_t addr, const struct rte_mbuf *m)
{
	uint8_t *to = s->area + addr;

	if (m->pkt_len > s->frame)
		return 0;
	for (const struct rte_mbuf *seg = m; seg; seg = seg->next) {
		rte_memcpy(to, rte_pktmbuf_mtod(seg, const void *), seg->data_len);
		to += seg->data_len;
	}
	return m->pkt_len;
}

static uint16_t tx_one(struct port_xdp_queue *q, struct port_xsk *s, struct rte_mbuf **m, uint16_t n)
{
	uint32_t at = 0, put_n = 0;

	reclaim(s);
	if (n > s->n_free)
		n = (uint16_t)s->n_free;
	if (n == 0 || xsk_ring_prod__reserve(&s->tx, n, &at) != n)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		uint64_t addr = s->free[s->n_free - 1];
		uint32_t len = put(s, addr, m[i]);

		if (len == 0) {
			q->too_long++;
			continue;
		}
		s->n_free--;
		*xsk_ring_prod__tx_desc(&s->tx, at + put_n++) = (struct xdp_desc){.addr = addr, .len = len};
	}
	s->tx.cached_prod -= n - put_n;
	xsk_ring_prod__submit(&s->tx, put_n);
	return n;
}

/* ---- as the device has it ---- */

uint16_t port_xdp_rx(void *queue, struct rte_mbuf **m, uint16_t n)
{
	struct port_xdp_queue *q = queue;
	uint16_t got = 0;

	/* Another comes first each time, so that none is left out. */
	for (unsigned i = 0; i < q->n && got < n; i++) {
		q->at = q->at + 1 < q->n ? q->at + 1 : 0;
		got = (uint16_t)(got + rx_one(q, &q->sk[q->at], m + got, (uint16_t)(n - got)));
	}
	if (tx_waits(&q->sk[0]))
		kick(&q->sk[0]);
	if (!got)
		return 0;
	return port_front_received(q->front, m, got);
}

uint16_t port_xdp_tx(void *queue, struct rte_mbuf **m, uint16_t n)
{
	struct port_xdp_queue *q = queue;
	struct port_xsk *s = &q->sk[0];
	uint16_t sent = 0;

	while (sent < n) {
		uint16_t got = tx_one(q, s, m + sent, (uint16_t)(n - sent));

		kick(s);
		if (!got)
			break;
		port_front_sent(q->front, m + sent, got);
		sent = (uint16_t)(sent + got);
	}
	return sent;
}
