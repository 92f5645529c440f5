/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <rte_mbuf.h>

#include "drop.h"
#include "gso.h"
#include "le.h"
#include "net_wire.h"

unsigned gso_begin(struct gso *g, const struct rte_mbuf *m, const struct rte_mempool *pool)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct net_tcp_at *at = &g->at;
	uint32_t room = rte_pktmbuf_data_room_size((struct rte_mempool *)(uintptr_t)pool) - RTE_PKTMBUF_HEADROOM;

	memset(g, 0, sizeof(*g));
	if (!m->tso_segsz || !net_find_tcp(p, m->data_len, m->pkt_len, at) || !at->data_n)
		return DROP_SEGMENT;
	g->head = p;
	g->buf = m;
	g->off = at->data;
	g->mss = m->tso_segsz;
	g->left = at->data_n;
	if (at->data + (g->left < g->mss ? g->left : g->mss) > room)
		return DROP_TX_LONG;
	g->id = at->v6 ? 0 : be16_get(p + at->ip + IP4_ID);
	g->addr_sum = net_sum(p + at->ip + (at->v6 ? IP6_SRC : IP4_SRC), at->v6 ? 32 : 8,
			      __builtin_bswap16((uint16_t)PROTO_TCP));
	return 0;
}

/* The next n bytes of the stream, from as many buffers as they lie in; the frame is known to hold them. */
static void copy(struct gso *g, uint8_t *to, uint32_t n)
{
	while (n) {
		uint32_t k = g->buf->data_len - g->off;

		if (!k) {
			g->buf = g->buf->next;
			g->off = 0;
			continue;
		}
		k = k < n ? k : n;
		memcpy(to, rte_pktmbuf_mtod_offset(g->buf, const uint8_t *, g->off), k);
		g->off += k;
		to += k;
		n -= k;
	}
}

/* Length, and IPv4's identification and checksum. */
static void mend_ip(const struct gso *g, uint8_t *p, uint32_t l4_n)
{
	const struct net_tcp_at *at = &g->at;
	uint8_t *ip = p + at->ip;
	uint32_t head = at->tcp - at->ip;

	if (at->v6) {
		be16_put(ip + IP6_LEN, (uint16_t)(head - IP6_HEAD + l4_n));
		return;
	}
	be16_put(ip + IP4_LEN, (uint16_t)(head + l4_n));
	be16_put(ip + IP4_ID, g->id);
	le16_put(ip + IP4_CSUM, 0);
	le16_put(ip + IP4_CSUM, net_sum_fold(net_sum(ip, head, 0)));
}

/* What ends the stream's part, or pushes it, is the last segment's; that the window was cut is said once. */
static void mend_tcp(const struct gso *g, uint8_t *tcp, uint32_t l4_n, bool last)
{
	be32_put(tcp + TCP_SEQ, be32_get(tcp + TCP_SEQ) + g->done);
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_F_FIN | TCP_F_PSH);
	if (g->done)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_F_CWR;
	le16_put(tcp + TCP_CSUM, 0);
	le16_put(tcp + TCP_CSUM, net_sum_fold(net_sum(tcp, l4_n, g->addr_sum + __builtin_bswap16((uint16_t)l4_n))));
}

struct rte_mbuf *gso_next(struct gso *g, struct rte_mempool *pool)
{
	const struct net_tcp_at *at = &g->at;
	uint32_t n = g->left < g->mss ? g->left : g->mss, l4_n = at->data - at->tcp + n;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *p;

	if (!m)
		return NULL;
	p = rte_pktmbuf_mtod(m, uint8_t *);
	m->data_len = (uint16_t)(at->data + n);
	m->pkt_len = m->data_len;
	memcpy(p, g->head, at->data);
	copy(g, p + at->data, n);
	mend_ip(g, p, l4_n);
	mend_tcp(g, p + at->tcp, l4_n, n == g->left);
	g->left -= n;
	g->done += n;
	g->id++;
	return m;
}

unsigned gso_rest(const struct gso *g)
{
	unsigned n = 0;

	for (uint32_t left = g->left; left; left -= left < g->mss ? left : g->mss)
		n++;
	return n;
}
