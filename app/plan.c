/* SPDX-License-Identifier: MIT */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#include "chan.h"
#include "pages.h"
#include "plan.h"

#define MB	       (1u << 20)
#define MBUF_BYTES     (RTE_MBUF_DEFAULT_BUF_SIZE + 256u) /* data, headroom, struct and pool header */
#define MBUFS_HOLD     6144u				  /* of PLACE_RX, for FEC groups */
#define POOL_BYTES     (1280u << 10) /* of a pool beside its objects: a cache for every lcore that DPDK could have */
#define CHAN_BYTES     512u	     /* and its place in the pool */
#define CHUNK_BYTES    (CHAN_CHUNK + 80u)
#define MAIL_BYTES     48u   /* of a worker's two rings with a control, a chan's place: they grow by powers of two */
#define HAND_BYTES     16u   /* of a further control's mailbox, likewise */
#define FLOW_BYTES     96u   /* a session's place in the flow table and the list of all */
#define SESSION_BYTES  2304u /* of a worker's heap: an idle session with a stream and FEC, between two keepalives */
#define HEAP_FOR(n)    ((n) / 9 * 10) /* of it, a tenth is for what sessions come to need (lib/session/share.c) */
#define STREAM_BYTES   256u	      /* likewise: a further stream of an idle session */
#define WORKER_BYTES   (2u * MB)
#define MESH_BYTES     (PLAN_RING_FRAMES * 8 + 512) /* of a worker, for each other and for each port: a ring */
#define EAL_BYTES      (8u * MB)
#define PORT_BYTES     (4u * MB)  /* a driver's rings */
#define DUMPCAP_BYTES  (16u * MB) /* counters of all queues that there could be; dpdk-dumpcap's own copies */
#define SPARE	       32	  /* this part of all is left over for what lies between two blocks */
#define DEFAULT_HEAP   (160u * MB)
#define DEFAULT_CHUNKS 6144u
#define CHANS_MIN      16384u
#define CHANS_MAX      (1u << 20)
#define CHANS_SHARE    8	 /* chans take no more than this part of a memory that was given */
#define LEAST_HEAP     (2u * MB) /* less than that runs nothing */
#define LEAST_CHUNKS   64u

/* ---- where ---- */

/* Control on the first CPU that we may use, one worker on the second. */
static void default_lcores(char *buf, size_t n)
{
	int cpu[2] = {-1, -1};
	cpu_set_t set;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	for (int i = 0; i < CPU_SETSIZE && cpu[1] < 0; i++)
		if (CPU_ISSET(i, &set))
			cpu[cpu[0] < 0 ? 0 : 1] = i;
	snprintf(buf, n, "0@%d,1@%d", cpu[0] < 0 ? 0 : cpu[0], cpu[1] < 0 ? (cpu[0] < 0 ? 0 : cpu[0]) : cpu[1]);
}

/* Without hugepages DPDK knows one kind of memory, and the kernel places it. */
static void plan_place(struct plan *p, const struct conf *c)
{
	struct conf_lcore lcore[1 + CONF_WORKERS_MAX];
	struct place_in *in = &p->in;
	struct topo t;
	unsigned n = 0;

	topo_read(&t, p->sys);
	default_lcores(p->default_lcores, sizeof(p->default_lcores));
	conf_lcores(c->eal.lcores ? c->eal.lcores : p->default_lcores, t.cpu_node, lcore, 1 + CONF_WORKERS_MAX, &n);
	*in = (struct place_in){.n_ports = c->n_ports, .n_workers = p->workers, .has_memory = 1};
	for (unsigned i = 0; i < p->workers + p->controls; i++)
		p->lcore[i] = lcore[i].id;
	for (unsigned i = 0; i <= p->workers; i++) {
		in->lcore_node[i] = p->huge ? lcore[i].node : 0;
	}
	for (unsigned i = 0; i < c->n_ports; i++)
		in->n_exc += c->ports[i].exception == CONF_EXC_VIRTIO;
	for (unsigned i = 0; i < c->n_ports; i++)
		in->port_node[i] =
			(int8_t)(p->huge && !c->ports[i].vdev ? topo_pci_node(p->sys, c->ports[i].device) : TOPO_ANY);
	if (p->huge)
		in->has_memory = pages_nodes(p->sys, t.has_memory);
	p->nodes = t.has_memory;
	place_make(&p->place, in);
}

/* ---- how much ---- */

static size_t align_64k(size_t n)
{
	return n & ~(size_t)0xffff;
}

static size_t chan_bytes(const struct plan *p)
{
	return CHAN_BYTES + (size_t)p->workers * p->controls * MAIL_BYTES + (p->controls - 1) * (size_t)HAND_BYTES;
}

/* Bytes that EAL's memory must hold on the node beside the workers' heaps and the chunks. */
static size_t fixed_bytes(const struct plan *p, const struct conf *c, int node)
{
	const struct place *at = &p->place;
	size_t n = 0;

	if (at->ctl == node)
		n += EAL_BYTES + (c->n_ports + p->in.n_exc) * PORT_BYTES + p->chans * (size_t)CHAN_BYTES +
		     2 * POOL_BYTES + (c->eal.dumpcap ? DUMPCAP_BYTES : 0) +
		     (p->controls - 1) * p->chans * (size_t)HAND_BYTES;
	for (unsigned i = 0; i < at->n_pools; i++)
		if (at->pool[i].node == node)
			n += POOL_BYTES + (size_t)at->pool[i].mbufs * MBUF_BYTES;
	for (unsigned w = 0; w < p->workers; w++)
		if (at->worker[w] == node)
			n += WORKER_BYTES + (p->workers - 1) * (size_t)MESH_BYTES +
			     (p->workers > 1 && w == 0 ? p->workers * c->n_ports * (size_t)MESH_BYTES : 0) +
			     c->max_sessions * (size_t)FLOW_BYTES + p->controls * p->chans * (size_t)MAIL_BYTES;
	return n;
}

static size_t all_bytes(const struct plan *p, const struct conf *c, int node)
{
	size_t n = fixed_bytes(p, c, node);

	if (p->place.ctl == node)
		n += p->chunks * (size_t)CHUNK_BYTES;
	for (unsigned w = 0; w < p->workers; w++)
		n += p->place.worker[w] == node ? p->heap : 0;
	return n;
}

static size_t fixed_of_all(const struct plan *p, const struct conf *c)
{
	size_t n = 0;

	for (int node = 0; node < TOPO_NODES_MAX; node++)
		n += fixed_bytes(p, c, node);
	return n;
}

/* A stream for every session that there may be, if what is given beyond the least allows. */
static unsigned plan_chans(const struct plan *p, const struct conf *c)
{
	uint64_t want = (uint64_t)c->max_sessions * p->workers, fit = 0;

	if (p->given_mb > p->least_mb)
		fit = (uint64_t)(p->given_mb - p->least_mb) * MB / CHANS_SHARE / chan_bytes(p);
	if (p->given_mb && want > fit)
		want = fit;
	if (want > CHANS_MAX)
		want = CHANS_MAX;
	return want < CHANS_MIN ? CHANS_MIN : (unsigned)want;
}

static void defaults(struct plan *p, const struct conf *c)
{
	p->chunks = DEFAULT_CHUNKS;
	p->heap = DEFAULT_HEAP;
	if (p->heap < HEAP_FOR((size_t)c->max_sessions * SESSION_BYTES))
		p->heap = align_64k(HEAP_FOR((size_t)c->max_sessions * SESSION_BYTES) + 0xffff);
}

/* What is given beyond the fixed part goes to streams in transit (a third) and to the sessions' heaps. */
static void share_out(struct plan *p, size_t fixed)
{
	size_t all = (size_t)p->memory_mb * MB, rest;

	all -= all / SPARE;
	rest = all > fixed ? all - fixed : 0;
	p->chunks = (unsigned)(rest / 3 / CHUNK_BYTES);
	p->heap = align_64k(rest * 2 / 3 / p->workers);
}

static unsigned mb_of(size_t bytes)
{
	bytes += bytes / SPARE;
	return (unsigned)((bytes + 2 * MB - 1) / (2 * MB) * 2);
}

/* The memory of each node, in whole pages of 2 MB; of one node all that is given. */
static void plan_nodes(struct plan *p, const struct conf *c)
{
	unsigned sum = 0;

	p->n_nodes = 0;
	for (int node = 0; node < TOPO_NODES_MAX; node++) {
		unsigned mb = mb_of(all_bytes(p, c, node));

		p->node_mb[node] = mb;
		p->n_nodes += mb != 0;
		sum += mb;
	}
	if (p->given_mb && p->n_nodes == 1)
		p->node_mb[p->place.ctl] = sum = (p->memory_mb + 1) / 2 * 2;
	p->memory_mb = sum;
}

static void plan_sizes(struct plan *p, const struct conf *c)
{
	p->chans = CHANS_MIN;
	p->least_mb = mb_of(fixed_of_all(p, c) + (size_t)LEAST_CHUNKS * CHUNK_BYTES + p->workers * (size_t)LEAST_HEAP);
	p->chans = plan_chans(p, c);
	p->memory_mb = p->given_mb;
	if (p->given_mb)
		share_out(p, fixed_of_all(p, c));
	else
		defaults(p, c);
	plan_nodes(p, c);
}

void plan_make(struct plan *p, const struct conf *c, const char *sys, bool huge)
{
	memset(p, 0, sizeof(*p));
	p->sys = sys;
	p->huge = huge;
	p->workers = conf_workers(c);
	p->controls = conf_controls(c);
	p->hold = MBUFS_HOLD;
	p->given_mb = c->eal.memory;
	plan_place(p, c);
	for (unsigned i = 0; i < p->place.n_pools; i++)
		p->mbufs += p->place.pool[i].mbufs;
	plan_sizes(p, c);
}

void plan_fit(struct plan *p, const struct conf *c, unsigned available_mb)
{
	unsigned most = available_mb / 4 * 3;

	if (c->eal.memory || p->huge || p->memory_mb <= most)
		return;
	p->given_mb = most < p->least_mb ? p->least_mb : most;
	plan_sizes(p, c);
}

int plan_enough(const struct plan *p, const struct conf *c, char *why, size_t n)
{
	if (c->eal.memory == 0 || c->eal.memory >= p->least_mb)
		return 0;
	snprintf(why, n, "eal.memory: found %u; allowed: %u or more for %u workers, %u ports and limits.sessions of %u",
		 c->eal.memory, p->least_mb, p->workers, c->n_ports, c->max_sessions);
	return -1;
}

/* ---- for people ---- */

static void print_nodes(const struct plan *p)
{
	for (int node = 0; p->n_nodes > 1 && node < TOPO_NODES_MAX; node++)
		if (p->node_mb[node])
			printf("  NUMA node %-7d %u MB\n", node, p->node_mb[node]);
}

static void print_pages(const struct plan *p)
{
	struct topo_pages small = topo_pages(p->sys, TOPO_ANY, TOPO_SMALL_KB),
			  big = topo_pages(p->sys, TOPO_ANY, TOPO_BIG_KB);

	printf("hugepages          %u of 2 MB; this machine has %u, %u free\n", p->memory_mb / 2, small.total,
	       small.free);
	if (big.total)
		printf("  and of 1 GB      it has %u, %u free: they are taken first for what fills them\n", big.total,
		       big.free);
}

static void print_fault(void *ctx, enum place_fault what, unsigned a, unsigned b)
{
	const struct plan_names *n = ctx;
	char text[256];

	plan_fault_text(n->plan, n->conf, what, a, b, text, sizeof(text));
	printf("warning            %s\n", text);
}

/* Idle sessions with one stream each, of all workers: the least that heaps, chans and limits.sessions allow. */
static size_t idle_sessions(const struct plan *p, const struct conf *c)
{
	size_t a = p->heap / 10 * 9 / SESSION_BYTES;

	if (a > c->max_sessions)
		a = c->max_sessions;
	a *= p->workers;
	return a < p->chans ? a : p->chans;
}

/* What servers take of one source; 0 is no limit. */
static void print_sources(const struct conf *c)
{
	printf("sessions from      one address: up to %u, and %u new ones a second; one /24 or /56: up to %u (0: no "
	       "limit)\n",
	       c->max_address, c->max_rate, c->max_prefix);
}

void plan_print(const struct plan *p, const struct conf *c)
{
	struct plan_names names = {p, c};

	printf("workers            %u\n", p->workers);
	if (p->controls > 1)
		printf("control            %u lcores share the TCP connections\n", p->controls);
	printf("memory             %u MB in all, %s\n", p->memory_mb,
	       c->eal.hugepages == CONF_HUGE_NO	   ? "in ordinary pages"
	       : c->eal.hugepages == CONF_HUGE_YES ? "in hugepages"
						   : "in hugepages if so many are free, else in ordinary pages");
	if (p->huge)
		print_pages(p);
	print_nodes(p);
	if (!p->huge || c->eal.hugepages == CONF_HUGE_AUTO)
		puts("  ordinary pages   are taken as they are used, up to that");
	printf("packet buffers     %u, %zu MB\n", p->mbufs, (size_t)p->mbufs * MBUF_BYTES / MB);
	printf("bytes in transit   %zu MB to and from TCP\n", (size_t)p->chunks * CHAN_CHUNK / MB);
	printf("sessions' memory   %zu MB a worker\n", p->heap / MB);
	printf("idle sessions      %zu with a stream each (%u bytes, %u of them its stream); %u a worker allowed\n",
	       idle_sessions(p, c), SESSION_BYTES + FLOW_BYTES + (unsigned)chan_bytes(p),
	       STREAM_BYTES + (unsigned)chan_bytes(p), c->max_sessions);
	printf("streams            up to %u\n", p->chans);
	print_sources(c);
	place_faults(&p->place, &p->in, print_fault, &names);
}

void plan_fault_text(const struct plan *p, const struct conf *c, enum place_fault what, unsigned a, unsigned b,
		     char *buf, size_t n)
{
	if (what == PLACE_FAR)
		snprintf(buf, n,
			 "lcore %u (worker %u) runs on NUMA node %d, port %s is on node %d: choose CPUs of node %d",
			 p->lcore[1 + a], a, p->in.lcore_node[1 + a], c->ports[b].name, p->in.port_node[b],
			 p->in.port_node[b]);
	else if (what == PLACE_FLOATS)
		snprintf(buf, n, "lcore %u may run on several NUMA nodes: its memory is on node %d", p->lcore[a],
			 a ? p->place.worker[a - 1] : p->place.ctl);
	else
		snprintf(buf, n, "NUMA node %u has no hugepages, or no memory at all: that of node %u is used for it",
			 a, b);
}
