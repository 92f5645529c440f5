/* SPDX-License-Identifier: MIT */

/* A received message as frames: cut where the kernel has joined it, and headers in front of each piece. */

#include <string.h>

#include "kudp_int.h"
#include "net_wire.h"

/* To a group, or to all: nothing that could be answered from there. */
static bool is_group(const struct addr *a)
{
	return addr_is_v4(a) ? a->b[12] >= 224 : a->b[0] == 0xff;
}

/* The address that the message was sent to, as frames are to bear it. */
static struct addr local_of(const struct kudp_sock *s, const struct kudp_info *info, const struct addr *peer)
{
	if (s->exact && info->has_local)
		return info->local;
	if (!addr_is_any(&s->local))
		return s->local;
	return addr_is_v4(peer) ? addr_v4(0) : (struct addr){{0}};
}

/* Headers from the sender to us; most messages are from the last one. */
static bool headers(struct kudp_queue *q, const struct kudp_sock *s, unsigned i, const struct kudp_info *info)
{
	struct kudp_rx *rx = &q->rx;
	struct flow_key key = {.peer_port = s->port};
	struct net_ends ends = {.key = &rx->key, .traffic_class = info->tclass, .csum = NET_CSUM_UDP_HW};

	kudp_name_get(&rx->msg[i].from, &key.local, &key.local_port);
	key.peer = local_of(s, info, &key.local);
	if (is_group(&key.peer) || addr_is_v4(&key.peer) != addr_is_v4(&key.local))
		return false;
	if (rx->path_ok && rx->path_class == info->tclass && memcmp(&rx->key, &key, sizeof(key)) == 0)
		return true;
	rx->key = key;
	rx->path_class = info->tclass;
	rx->path_ok = true;
	net_path_init(&rx->path, &ends);
	return true;
}

static void put_frame(struct kudp_queue *q, struct rte_mbuf *m, unsigned n)
{
	struct kudp_rx *rx = &q->rx;
	struct pkt k = {.p = (uint8_t *)m->buf_addr + KUDP_AT, .n = (uint16_t)n};

	net_push(&rx->path, &k);
	m->data_off = (uint16_t)(k.p - (uint8_t *)m->buf_addr);
	m->data_len = k.n;
	m->pkt_len = k.n;
	m->port = q->port_id;
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	rx->out[rx->out_n++] = m;
}

/* The pieces lie each in a buffer of its own. */
static void in_place(struct kudp_queue *q, unsigned i, unsigned bytes, unsigned segment)
{
	struct rte_mbuf **bufs = q->rx.bufs + i * q->rx.n_buf;

	do {
		unsigned n = bytes < segment ? bytes : segment;

		put_frame(q, *bufs, n);
		*bufs++ = NULL;
		bytes -= n;
	} while (bytes);
}

/* n bytes from `at` on of what lies in buffers of rx->seg bytes, and behind them in the spill. */
static void copy_out(const struct kudp_rx *rx, unsigned i, unsigned at, uint8_t *to, unsigned n)
{
	unsigned j = 0, spill = rx->n_buf * rx->seg;

	while (n && at < spill) {
		unsigned begin = j * rx->seg, end = begin + rx->seg, some;

		if (at < end) {
			some = end - at < n ? end - at : n;
			memcpy(to, (uint8_t *)rx->bufs[i * rx->n_buf + j]->buf_addr + KUDP_AT + (at - begin), some);
			at += some;
			to += some;
			n -= some;
		}
		j++;
	}
	if (n)
		memcpy(to, rx->spill + (size_t)i * KUDP_SPILL + (at - spill), n);
}

static void recut(struct kudp_queue *q, unsigned i, unsigned bytes, unsigned segment)
{
	for (unsigned at = 0; at < bytes; at += segment) {
		unsigned n = bytes - at < segment ? bytes - at : segment;
		struct rte_mbuf *m = rte_pktmbuf_alloc(q->rx.pool);

		if (!m) {
			KUDP_COUNT(q, rx_no_buffer, 1);
			return;
		}
		copy_out(&q->rx, i, at, (uint8_t *)m->buf_addr + KUDP_AT, n);
		put_frame(q, m, n);
		KUDP_COUNT(q, rx_recut, 1);
	}
}

static void count_lost(struct kudp_queue *q, struct kudp_sock *s, const struct kudp_info *info)
{
	if (!info->has_lost)
		return;
	KUDP_COUNT(q, rx_lost, info->lost - s->lost);
	s->lost = info->lost;
}

unsigned kudp_cut(struct kudp_queue *q, struct kudp_sock *s, unsigned i, unsigned bytes)
{
	struct kudp_rx *rx = &q->rx;
	struct kudp_info info;
	unsigned segment;

	kudp_info_get(&rx->mm[i].msg_hdr, &info);
	count_lost(q, s, &info);
	segment = info.segment ? info.segment : bytes;
	if (segment + KUDP_AT > rte_pktmbuf_data_room_size(rx->pool)) {
		KUDP_COUNT(q, rx_long, 1);
		return 0;
	}
	if (!headers(q, s, i, &info)) {
		KUDP_COUNT(q, rx_group, 1);
		return 0;
	}
	if (bytes <= rx->seg && bytes <= segment)
		in_place(q, i, bytes, rx->seg);
	else if (segment == rx->seg && bytes <= rx->n_buf * rx->seg)
		in_place(q, i, bytes, segment);
	else
		recut(q, i, bytes, segment);
	if (bytes <= segment)
		return 0;
	KUDP_COUNT(q, rx_joined, (bytes + segment - 1) / segment);
	return segment;
}
