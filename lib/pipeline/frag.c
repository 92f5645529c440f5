/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#include "frag.h"

/*
 * A stock peer over a path that takes less than its datagrams sends them all in fragments, and where one of those is
 * lost the others wait for it.
 */
#define FRAG_HOLD    512  /* buffers that wait; with so many, */
#define FRAG_FEW_MS  500  /* none waits longer than this, */
#define FRAG_MS	     2000 /* and else than this */
#define FRAG_BUCKETS 256  /* of FRAG_WAYS datagrams: with a buffer each, no bucket is full of them but by bad luck */
#define FRAG_WAYS    4

struct frag {
	struct rte_ip_frag_tbl *tbl;
	struct rte_ip_frag_death_row dead;
	struct rte_mempool *pool;
	unsigned dropped;
	unsigned held;	 /* buffers in the table */
	uint64_t few;	 /* FRAG_FEW_MS in cycles */
	uint64_t cycles; /* that a datagram may take to be whole */
	uint64_t due;	 /* TSC time at which no fragment may wait any more; UINT64_MAX: none does */
};

int frag_create(struct frag **out, struct rte_mempool *pool, int socket)
{
	struct frag *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->pool = pool;
	f->cycles = rte_get_tsc_hz() * FRAG_MS / 1000;
	f->few = rte_get_tsc_hz() * FRAG_FEW_MS / 1000;
	f->due = UINT64_MAX;
	f->tbl = rte_ip_frag_table_create(FRAG_BUCKETS, FRAG_WAYS, FRAG_BUCKETS * FRAG_WAYS, f->cycles, socket);
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
	f->held -= f->dead.cnt;
	rte_ip_frag_free_death_row(&f->dead, 3);
}

unsigned frag_expire(struct frag *f, uint64_t tsc)
{
	unsigned n;

	if (tsc < f->due)
		return 0;
	rte_ip_frag_table_del_expired_entries(f->tbl, &f->dead, tsc);
	frag_bury(f);
	n = frag_dropped(f);
	if (!n) /* the list may have been too short for all */
		f->due = UINT64_MAX;
	return n;
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
		f->held--;
		f->dropped++;
		return NULL;
	}
	m->l2_len = RTE_ETHER_HDR_LEN;
	m->l3_len = sizeof(*ip) + sizeof(*ext);
	return rte_ipv6_frag_reassemble_packet(f->tbl, &f->dead, m, tsc, ip, ext);
}

/* Whether one more may wait: with too many, those go that have waited for longest. */
static bool frag_room(struct frag *f, uint64_t tsc)
{
	if (f->held >= FRAG_HOLD) {
		rte_ip_frag_table_del_expired_entries(f->tbl, &f->dead, tsc + f->cycles - f->few);
		frag_bury(f);
	}
	return f->held < FRAG_HOLD;
}

struct rte_mbuf *frag_take(struct frag *f, struct rte_mbuf *m, uint64_t tsc)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if (!frag_room(f, tsc)) {
		rte_pktmbuf_free(m);
		f->dropped++;
		return NULL;
	}
	f->held++;
	f->due = tsc + f->cycles + 1;
	if (eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4))
		m = frag_v4(f, m, tsc);
	else
		m = frag_v6(f, m, tsc);
	frag_bury(f);
	if (!m)
		return NULL;
	f->held -= m->nb_segs;
	return frag_flatten(f, m);
}
