/* SPDX-License-Identifier: MIT */

/*
 * A port's frames and back: what perf/forward runs beside dpdk-testpmd.  One lcore receives bursts from a device that
 * is set up as the gateway sets up its own, and sends each UDP datagram back whence it came; with --gate through what a
 * worker does with each of its own (parse, hash, find, push), with --swap with its addresses exchanged and nothing
 * else, which is testpmd's macswap.  Ends by SIGTERM or after --seconds, and prints one line of JSON.
 *
 *   bm_forward [--gate|--swap] --device "net_af_packet0,iface=wan0" --ip 192.0.2.1 --peer 192.0.2.2 [--seconds N]
 */

#include <getopt.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>

#include "bench.h"
#include "eal.h"
#include "kudp.h"
#include "net.h"
#include "port.h"
#include "xdp_port.h"

#define BURST	  256
#define MEMORY_MB 512
#define BUFFERS	  32767
#define UDP_PORT  4000
#define PEER_PORT 50000

struct forward {
	struct port port;
	struct kudp_set *sockets; /* of a port of them */
	struct rte_mempool *pool;
	struct flow_tbl *flows;
	struct net_tbl *tbl;
	struct net_ports *udp;
	struct net_path path;
	struct flow_key flow;
	uint64_t sess[16]; /* what the table finds: a session's first lines are fetched */
	uint64_t rx, tx, other, refused, bytes, busy;
	struct rte_mbuf *m[BURST];
	struct pkt v[BURST];
	struct flow_key keys[BURST];
};

static struct {
	const char *device, *ip, *peer;
	unsigned seconds;
	bool gate;
} opt = {.seconds = 5, .gate = true};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "bm_forward: %s\n", what);
	exit(1);
}

static void options(int argc, char **argv)
{
	static const struct option known[] = {{"device", 1, 0, 'd'},
					      {"ip", 1, 0, 'i'},
					      {"peer", 1, 0, 'p'},
					      {"seconds", 1, 0, 's'},
					      {"gate", 0, 0, 'g'},
					      {"swap", 0, 0, 'w'},
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'd':
			opt.device = optarg;
			break;
		case 'i':
			opt.ip = optarg;
			break;
		case 'p':
			opt.peer = optarg;
			break;
		case 's':
			opt.seconds = (unsigned)atoi(optarg);
			break;
		case 'g':
		case 'w':
			opt.gate = c == 'g';
			break;
		default:
			die("see its source");
		}
	}
	if (!opt.device || !opt.ip || !opt.peer || opt.seconds == 0)
		die("--device, --ip and --peer are needed");
}

/* One session, to which every datagram of the generator belongs. */
static void tables(struct forward *f)
{
	f->tbl = net_tbl_alloc(1, 1, 1);
	f->udp = calloc(1, sizeof(*f->udp));
	if (!f->tbl || !f->udp || addr_parse(opt.ip, &f->flow.local) || addr_parse(opt.peer, &f->flow.peer))
		die("the tables");
	f->tbl->dev[0] = (struct net_dev){.mtu = 1500, .up = true, .exclusive = true, .sockets = f->port.kudp != NULL};
	memcpy(f->tbl->dev[0].mac, f->port.mac, sizeof(f->port.mac));
	f->tbl->n_dev = 1;
	f->tbl->local[0] = (struct net_local){.addr = f->flow.local, .plen = 120};
	f->tbl->n_local = 1;
	net_tbl_sort(f->tbl);
	f->udp->of[UDP_PORT] = 1;
	port_xdp_serve(FLOW_UDP, UDP_PORT, true);
	port_xdp_locals(f->tbl);
	f->flow.peer_port = PEER_PORT;
	f->flow.local_port = UDP_PORT;
	if (flow_tbl_create(&f->flows, "forward", 64, 0) ||
	    flow_add(f->flows, &f->flow, flow_hash(&f->flow), (struct sess *)f->sess))
		die("the flow table");
}

static void open_socket(struct forward *f)
{
	const struct kudp_conf conf = {.port = UDP_PORT, .buffer = 4 << 20};
	uint16_t port;

	if (kudp_open(f->port.kudp, &conf, &f->sockets, &port))
		die("no socket");
}

/* To the generator's end; its frames may have any source, and go back to the first one's. */
static void path_to(struct forward *f, const uint8_t *mac)
{
	struct net_ends ends = {.key = &f->flow, .csum = f->port.csum};

	memcpy(ends.src_mac, f->port.mac, sizeof(f->port.mac));
	memcpy(ends.dst_mac, mac, sizeof(f->port.mac));
	net_path_init(&f->path, &ends);
}

/* Frames that are not the generator's go; the others' places in m[] are closed up. */
static unsigned gate(struct forward *f, unsigned n)
{
	unsigned out = 0;

	for (unsigned i = 0; i < n; i++) {
		if (i + 4 < n)
			rte_prefetch0(rte_pktmbuf_mtod(f->m[i + 4], void *));
		f->v[i] =
			(struct pkt){.p = rte_pktmbuf_mtod(f->m[i], uint8_t *), .n = f->m[i]->data_len, .own = f->m[i]};
	}
	if (!f->path.head_n)
		path_to(f, f->v[0].p + RTE_ETHER_ADDR_LEN);
	net_parse_burst(f->v, f->keys, n, f->tbl, f->udp);
	flow_hash_burst(f->v, n);
	flow_find_burst(f->flows, f->v, n);
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = f->v[i].own;

		if (f->v[i].verdict != VERDICT_OK || !f->v[i].sess) {
			f->other++;
			rte_pktmbuf_free(m);
			continue;
		}
		net_push(&f->path, &f->v[i]);
		m->data_off = (uint16_t)(f->v[i].p - (uint8_t *)m->buf_addr);
		m->data_len = f->v[i].n;
		m->pkt_len = f->v[i].n;
		m->ol_flags = 0;
		f->m[out++] = m;
	}
	return out;
}

static unsigned swap(struct forward *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rte_ether_hdr *h = rte_pktmbuf_mtod(f->m[i], struct rte_ether_hdr *);
		struct rte_ether_addr a = h->dst_addr;

		if (i + 4 < n)
			rte_prefetch0(rte_pktmbuf_mtod(f->m[i + 4], void *));
		h->dst_addr = h->src_addr;
		h->src_addr = a;
		f->m[i]->ol_flags = 0;
	}
	return n;
}

static void turn(struct forward *f)
{
	uint64_t begin = bench_tsc();
	unsigned n = rte_eth_rx_burst(f->port.id, 0, f->m, BURST), sent;

	if (n == 0)
		return;
	f->rx += n;
	n = opt.gate ? gate(f, n) : swap(f, n);
	for (unsigned i = 0; i < n; i++)
		f->bytes += f->m[i]->pkt_len;
	sent = rte_eth_tx_burst(f->port.id, 0, f->m, (uint16_t)n);
	f->tx += sent;
	f->refused += n - sent;
	if (sent < n)
		rte_pktmbuf_free_bulk(f->m + sent, n - sent);
	f->busy += bench_tsc() - begin;
}

static void forward(struct forward *f)
{
	uint64_t hz = rte_get_tsc_hz(), begin, end, first = 0;

	printf("ready\n");
	fflush(stdout);
	begin = bench_tsc();
	do {
		turn(f);
		if (!first && f->rx)
			begin = first = bench_tsc(); /* the generator has begun */
		end = bench_tsc();
	} while (!stop && (end - begin < opt.seconds * hz));
	printf("{\"mode\": \"%s\", \"seconds\": %.3f, \"rx\": %lu, \"tx\": %lu, \"other\": %lu, \"refused\": %lu, "
	       "\"bytes\": %lu, \"ns\": %.1f}\n",
	       opt.gate ? "gate" : "swap", (double)(end - begin) / (double)hz, f->rx, f->tx, f->other, f->refused,
	       f->bytes, f->rx ? (double)f->busy * 1e9 / (double)hz / (double)f->rx : 0.0);
}

int main(int argc, char **argv)
{
	static struct forward f;
	struct port_conf pc = {.name = "forward", .vdev = true, .workers = 1, .mtu = 1500, .shared = true};
	struct rte_mempool *pools[1];
	char why[256];

	options(argc, argv);
	pc.device = opt.device;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	bench_opts.core = sched_getcpu();
	if (bench_eal(MEMORY_MB, NULL))
		die("EAL does not start");
	pools[0] = f.pool = rte_pktmbuf_pool_create("frames", BUFFERS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	if (!f.pool)
		die("no buffers");
	pc.pools = pools;
	if (port_start(&pc, &f.port, why, sizeof(why)))
		die(why);
	tables(&f);
	if (f.port.kudp)
		open_socket(&f);
	forward(&f);
	if (f.sockets)
		kudp_close(f.port.kudp, f.sockets);
	port_stop(&f.port);
	return 0;
}
