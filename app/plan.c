/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <rte_mbuf.h>

#include "app.h"

#define MB	       (1u << 20)
#define MBUF_BYTES     (RTE_MBUF_DEFAULT_BUF_SIZE + 256u) /* data, headroom, struct and pool header */
#define MBUFS_BASE     4096u				  /* control's frames, rings between workers */
#define MBUFS_WORKER   12288u /* a port's rings, a vector lent, frames that wait for the port, FEC groups */
#define MBUFS_PORT     3072u  /* of a worker for every further port: its rings, and frames that wait for it */
#define CHAN_BYTES     512u   /* and its place in the pool */
#define MAIL_BYTES     48u    /* of each worker's two rings, a chan's place: they grow by powers of two */
#define FLOW_BYTES     96u    /* a session's place in the flow table and the list of all */
#define SESSION_BYTES  2304u  /* of a worker's heap: an idle session with a stream and FEC, between two keepalives */
#define EAL_BYTES      (48u * MB)
#define DEFAULT_HEAP   (160u * MB)
#define DEFAULT_CHUNKS 6144u
#define CHANS_MIN      16384u
#define CHANS_MAX      (1u << 20)
#define CHANS_SHARE    8 /* chans take no more than this part of a memory that was given */

static size_t align_64k(size_t n)
{
	return n & ~(size_t)0xffff;
}

static size_t chan_bytes(const struct plan *p)
{
	return CHAN_BYTES + (size_t)p->workers * MAIL_BYTES;
}

/* Bytes that EAL's heap must hold beside the workers' own heaps and the chunks. */
static size_t fixed_bytes(const struct plan *p, const struct conf *c)
{
	return EAL_BYTES + (size_t)p->mbufs * MBUF_BYTES + p->chans * chan_bytes(p) +
	       (size_t)p->workers * c->max_sessions * FLOW_BYTES;
}

/* A stream for every session that there may be, if memory allows. */
static unsigned plan_chans(const struct plan *p, const struct conf *c)
{
	uint64_t want = (uint64_t)c->max_sessions * p->workers;
	uint64_t fit = (uint64_t)c->eal.memory * MB / CHANS_SHARE / chan_bytes(p);

	if (c->eal.memory && want > fit)
		want = fit;
	if (want > CHANS_MAX)
		want = CHANS_MAX;
	return want < CHANS_MIN ? CHANS_MIN : (unsigned)want;
}

void plan_make(struct plan *p, const struct conf *c)
{
	size_t fixed, rest;

	p->workers = c->eal.n_lcores - 1;
	p->mbufs = MBUFS_BASE + (MBUFS_WORKER + MBUFS_PORT * (c->n_ports - 1)) * p->workers;
	p->hold = MBUFS_WORKER / 2;
	p->chans = plan_chans(p, c);
	p->chunks = DEFAULT_CHUNKS;
	p->heap = DEFAULT_HEAP;
	if (p->heap < (size_t)c->max_sessions * SESSION_BYTES)
		p->heap = align_64k((size_t)c->max_sessions * SESSION_BYTES + 0xffff);
	fixed = fixed_bytes(p, c);
	p->memory_mb = c->eal.memory;
	if (p->memory_mb == 0) {
		p->memory_mb = (unsigned)((fixed + p->chunks * (size_t)CHAN_CHUNK + p->workers * p->heap) / MB + 64);
		return;
	}
	/* What is given beyond the fixed part goes to streams in transit (a third) and to the sessions' heaps. */
	rest = (size_t)p->memory_mb * MB > fixed ? (size_t)p->memory_mb * MB - fixed : 0;
	rest -= rest / 8;
	p->chunks = (unsigned)(rest / 3 / CHAN_CHUNK);
	p->heap = align_64k(rest * 2 / 3 / p->workers);
}

void plan_print(const struct plan *p, const struct conf *c)
{
	printf("workers            %u\n", p->workers);
	printf("memory             %u MB in all (%u hugepages of 2 MB)\n", p->memory_mb, (p->memory_mb + 1) / 2);
	printf("packet buffers     %u, %zu MB\n", p->mbufs, (size_t)p->mbufs * MBUF_BYTES / MB);
	printf("bytes in transit   %zu MB to and from TCP\n", (size_t)p->chunks * CHAN_CHUNK / MB);
	printf("sessions' memory   %zu MB a worker\n", p->heap / MB);
	printf("sessions           up to %u a worker\n", c->max_sessions);
	printf("streams            up to %u\n", p->chans);
}
