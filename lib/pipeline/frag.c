/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#include "frag.h"

#define FRAG_FLOWS 64
#define FRAG_MS	   2000

struct frag {
	struct rte_ip_frag_tbl *tbl;
	struct rte_ip_frag_death_row dead;
	struct rte_mempool *pool;
	unsigned dropped;
};

int frag_create(struct frag **out, struct rte_mempool *pool, int socket)
{
	struct frag *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->pool = pool;
	f->tbl = rte_ip_frag_table_create(FRAG_FLOWS, 4, FRAG_FLOWS * 4, rte_get_tsc_hz() * FRAG_MS / 1000, socket);
	if (!f->tbl) {
		free(f);
		return -ENOMEM;
	}
	*out = f;
	return 0;
}

void frag_destroy(struct frag *f)
{
	if (!f)
		return;
	rte_ip_frag_table_destroy(f->tbl);
	free(f);
}

/* Frees what the library has given up, whose list takes any number without looking at its end. */
static void frag_bury(struct frag *f)
{
	f->dropped += f->dead.cnt;
	rte_ip_frag_free_death_row(&f->dead, 3);
}

unsigned frag_dropped(struct frag *f)
{
	unsigned n = f->dropped;

	f->dropped = 0;
	return n;
}

/* The parser wants a frame in one piece: copies the chain into a buffer of its own. */
static struct rte_mbuf *frag_flatten(struct frag *f, struct rte_mbuf *m)
{
	struct rte_mbuf *whole = NULL;

	if (m->nb_segs == 1)
		return m;
	if (m->pkt_len + RTE_PKTMBUF_HEADROOM <= rte_pktmbuf_data_room_size(f->pool))
		whole = rte_pktmbuf_copy(m, f->pool, 0, UINT32_MAX);
	if (whole)
		whole->port = m->port;
	else
		f->dropped += m->nb_segs;
	rte_pktmbuf_free(m);
	return whole;
}

static struct rte_mbuf *frag_v4(struct frag *f, struct rte_mbuf *m, uint64_t tsc)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);

	m->l2_len = RTE_ETHER_HDR_LEN;
	m->l3_len = rte_ipv4_hdr_len(ip);
	m = rte_ipv4_frag_reassemble_packet(f->tbl, &f->dead, m, tsc, ip);
	if (!m)
		return NULL;
	/* Lengths and flags were mended by the library; the header checksum is left to us. */
	ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	return m;
}

static struct rte_mbuf *frag_v6(struct frag *f, struct rte_mbuf *m, uint64_t tsc)
{
	struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, RTE_ETHER_HDR_LEN);
	struct rte_ipv6_fragment_ext *ext = rte_ipv6_frag_get_ipv6_fragment_header(ip);

	if (!ext) {
		rte_pktmbuf_free(m); /* behind other extension headers: nobody sends those to a tunnel */
		f->dropped++;
		return NULL;
	}
	m->l2_len = RTE_ETHER_HDR_LEN;
	m->l3_len = sizeof(*ip) + sizeof(*ext);
	return rte_ipv6_frag_reassemble_packet(f->tbl, &f->dead, m, tsc, ip, ext);
}

struct rte_mbuf *frag_take(struct frag *f, struct rte_mbuf *m, uint64_t tsc)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		m = frag_v4(f, m, tsc);
	else
		m = frag_v6(f, m, tsc);
	frag_bury(f);
	return m ? frag_flatten(f, m) : NULL;
}
