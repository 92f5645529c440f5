/* SPDX-License-Identifier: MIT */

/*
 * ICMP errors about what our sockets have sent, as the kernel keeps them in a socket's error queue: turned into the
 * frames that they came in, as far as they are told, so that the pipeline learns of them as on any other port.
 */

#include <errno.h>
#include <time.h>
/* wants timespec */
#include <linux/errqueue.h>
#include <string.h>

#include "kudp_int.h"
#include "le.h"
#include "net_wire.h"

#define QUOTE	      64 /* bytes of the datagram that are quoted at most */
#define ICMP_HEAD     8
#define ICMP_SUM      2
#define ICMP_INFO     4
#define ICMP_UNREACH  3
#define ICMP_FRAG     4
#define ICMP6_TOO_BIG 2
#define MOST	      8 /* errors that are read at once */

/* What the error is about: our address, whom the datagram was for, and who complains. */
struct about {
	struct addr local, peer, from;
	uint16_t local_port, peer_port;
	uint8_t type, code;
	uint32_t info; /* the MTU, if that is what it is about */
	uint8_t quote[QUOTE];
	unsigned n;
};

static void ip4(uint8_t *ip, const struct addr *src, const struct addr *dst, uint8_t proto, unsigned n)
{
	memset(ip, 0, IP4_HEAD);
	ip[0] = 0x45;
	be16_put(ip + IP4_LEN, (uint16_t)(IP4_HEAD + n));
	be16_put(ip + IP4_FRAG, IP4_DF);
	ip[IP4_TTL] = 64;
	ip[IP4_PROTO] = proto;
	memcpy(ip + IP4_SRC, src->b + 12, 4);
	memcpy(ip + IP4_DST, dst->b + 12, 4);
	le16_put(ip + IP4_CSUM, net_sum_fold(net_sum(ip, IP4_HEAD, 0)));
}

static void ip6(uint8_t *ip, const struct addr *src, const struct addr *dst, uint8_t proto, unsigned n)
{
	memset(ip, 0, IP6_HEAD);
	ip[0] = 0x60;
	be16_put(ip + IP6_LEN, (uint16_t)n);
	ip[IP6_NEXT] = proto;
	ip[IP6_HOPS] = 64;
	memcpy(ip + IP6_SRC, src->b, 16);
	memcpy(ip + IP6_DST, dst->b, 16);
}

static void put_udp(uint8_t *udp, const struct about *a)
{
	be16_put(udp + UDP_SRC, a->local_port);
	be16_put(udp + UDP_DST, a->peer_port);
	be16_put(udp + UDP_LEN, (uint16_t)(UDP_HEAD + a->n));
	be16_put(udp + UDP_CSUM, 0);
	memcpy(udp + UDP_HEAD, a->quote, a->n);
}

static void put_icmp(uint8_t *icmp, const struct about *a, unsigned n, uint64_t sum)
{
	icmp[0] = a->type;
	icmp[1] = a->code;
	le16_put(icmp + ICMP_SUM, 0);
	be32_put(icmp + ICMP_INFO, a->info);
	le16_put(icmp + ICMP_SUM, net_sum_fold(net_sum(icmp, n, sum)));
}

/* The frame's length. */
static unsigned put_v4(uint8_t *p, const struct about *a)
{
	unsigned n = ICMP_HEAD + IP4_HEAD + UDP_HEAD + a->n;
	uint8_t *ip = p + ETH_HEAD, *icmp = ip + IP4_HEAD, *quoted = icmp + ICMP_HEAD;

	be16_put(p + ETH_TYPE, ETH_T_IPV4);
	ip4(ip, &a->from, &a->local, PROTO_ICMP, n);
	ip4(quoted, &a->local, &a->peer, PROTO_UDP, UDP_HEAD + a->n);
	put_udp(quoted + IP4_HEAD, a);
	put_icmp(icmp, a, n, 0);
	return ETH_HEAD + IP4_HEAD + n;
}

static unsigned put_v6(uint8_t *p, const struct about *a)
{
	unsigned n = ICMP_HEAD + IP6_HEAD + UDP_HEAD + a->n;
	uint8_t *ip = p + ETH_HEAD, *icmp = ip + IP6_HEAD, *quoted = icmp + ICMP_HEAD;
	uint64_t sum = (uint64_t)__builtin_bswap16(PROTO_ICMP6) + __builtin_bswap16((uint16_t)n);

	be16_put(p + ETH_TYPE, ETH_T_IPV6);
	ip6(ip, &a->from, &a->local, PROTO_ICMP6, n);
	ip6(quoted, &a->local, &a->peer, PROTO_UDP, UDP_HEAD + a->n);
	put_udp(quoted + IP6_HEAD, a);
	put_icmp(icmp, a, n, net_sum(ip + IP6_SRC, 32, sum));
	return ETH_HEAD + IP6_HEAD + n;
}

static void put_frame(struct kudp_queue *q, const struct about *a)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(q->rx.pool);
	uint8_t *p;

	if (!m) {
		KUDP_COUNT(q, rx_no_buffer, 1);
		return;
	}
	p = rte_pktmbuf_mtod(m, uint8_t *);
	memset(p, 0, ETH_HEAD);
	m->data_len = (uint16_t)(addr_is_v4(&a->peer) ? put_v4(p, a) : put_v6(p, a));
	m->pkt_len = m->data_len;
	m->port = q->port_id;
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	q->rx.out[q->rx.out_n++] = m;
	KUDP_COUNT(q, rx_errors, 1);
}

/* The kernel's own word that a datagram is too long is told like a router's. */
static bool read_kind(struct about *a, const struct sock_extended_err *e)
{
	const bool v4 = addr_is_v4(&a->peer);

	a->type = e->ee_type;
	a->code = e->ee_code;
	a->info = e->ee_errno == EMSGSIZE ? e->ee_info : 0;
	if (e->ee_origin == SO_EE_ORIGIN_LOCAL && e->ee_errno == EMSGSIZE) {
		a->type = v4 ? ICMP_UNREACH : ICMP6_TOO_BIG;
		a->code = v4 ? ICMP_FRAG : 0;
		a->from = a->local;
		return true;
	}
	return e->ee_origin == (v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6);
}

static bool read_error(struct kudp_queue *q, const struct kudp_sock *s, const struct msghdr *m, struct about *a)
{
	const struct sockaddr_in6 *to = m->msg_name, *from;
	struct kudp_info info;
	uint16_t port;

	(void)q;
	kudp_info_get(m, &info);
	if (!info.err || m->msg_namelen == 0)
		return false;
	kudp_name_get(to, &a->peer, &a->peer_port);
	a->local_port = s->port;
	if (s->exact && info.has_local)
		a->local = info.local;
	else if (!addr_is_any(&s->local))
		a->local = s->local;
	else
		a->local = addr_is_v4(&a->peer) ? addr_v4(0) : (struct addr){{0}};
	from = (const void *)SO_EE_OFFENDER(info.err);
	a->from = a->peer;
	if (from->sin6_family == AF_INET || from->sin6_family == AF_INET6)
		kudp_name_get(from, &a->from, &port);
	return read_kind(a, info.err) && addr_is_v4(&a->from) == addr_is_v4(&a->peer) &&
	       addr_is_v4(&a->local) == addr_is_v4(&a->peer);
}

void kudp_errors(struct kudp_queue *q, const struct kudp_sock *s)
{
	socklen_t len = sizeof(int);
	int err;

	for (unsigned i = 0; i < MOST; i++) {
		struct about a;
		struct iovec iov = {a.quote, sizeof(a.quote)};
		uint8_t control[256] __attribute__((aligned(8)));
		struct sockaddr_in6 name;
		struct msghdr m = {.msg_name = &name,
				   .msg_namelen = sizeof(name),
				   .msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(s->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);

		if (n < 0)
			break;
		a.n = (unsigned)n;
		if (read_error(q, s, &m, &a))
			put_frame(q, &a);
	}
	/* What is left pending by it would be the answer to a datagram that has nothing to do with it. */
	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
}
