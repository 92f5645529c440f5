/* SPDX-License-Identifier: MIT */

/*
 * Frames in and out, ns a packet of 1344 bytes of UDP payload.  `parse` turns bursts of 64 frames into flow keys and
 * payloads, `push` puts the headers before a payload.  Warm: 64 packets again and again, in the first caches.  Cold:
 * 65,536 packets (150 MB) in turn, so that every header comes from memory, as it does from a NIC without cache
 * injection.  The checksum of the payload is computed (`checksum`) or left to the port (`offload`); beside it the sum
 * alone.
 */

#include <stdio.h>

#include "bench.h"
#include "net.h"
#include "pkts.h"

#define BURST 64
#define COLD  65536

static struct pkts set;
static struct flow_key keys[BURST], flow;
static struct net_ports *ports;
static struct net_tbl *tbl;
static struct net_path path;
static unsigned at, span;

static const uint8_t ours[6] = {2, 0, 0, 0, 0, 1}, theirs[6] = {2, 0, 0, 0, 0, 2};

static struct pkt *next_burst(void)
{
	unsigned i = at;

	at = (at + BURST) % span;
	return set.v + i;
}

static void push(void *arg)
{
	unsigned first = at;
	struct pkt *v = next_burst();

	(void)arg;
	for (unsigned i = 0; i < BURST; i++) {
		v[i].p = pkts_at(&set, first + i);
		v[i].n = PKTS_BYTES;
		net_push(&path, &v[i]);
	}
}

/* Frames as push left them.  Only the vector's fields are set anew, as the driver's loop does. */
static void parse(void *arg)
{
	unsigned first = at, head = path.head_n;
	struct pkt *v = next_burst();

	(void)arg;
	for (unsigned i = 0; i < BURST; i++) {
		v[i].p = pkts_at(&set, first + i) - head;
		v[i].n = (uint16_t)(PKTS_BYTES + head);
		v[i].flags = 0;
		v[i].dev = 0;
	}
	net_parse_burst(v, keys, BURST, tbl, ports);
}

static void bare_sum(void *arg)
{
	unsigned first = at;
	uint64_t sum = 0;

	(void)arg;
	next_burst();
	for (unsigned i = 0; i < BURST; i++)
		sum += net_sum(pkts_at(&set, first + i), PKTS_BYTES, 0);
	bench_keep(&sum);
}

static void row(const char *what, const char *how, void (*run)(void *), unsigned packets)
{
	struct bench_series s;
	char name[64];
	struct bench_job j = {name, run, NULL, NULL, BURST, PKTS_BYTES};

	snprintf(name, sizeof(name), "net %s, %s", what, how);
	at = 0;
	span = packets;
	bench_job(&j, &s);
}

static void both(const char *what, void (*run)(void *), unsigned cold)
{
	row(what, "warm", run, BURST);
	row(what, "cold", run, cold);
}

static void check(void)
{
	for (unsigned i = 0; i < BURST; i++) {
		if (set.v[i].verdict != VERDICT_OK || set.v[i].n != PKTS_BYTES || set.v[i].tunnel != 6 ||
		    keys[i].peer_port != flow.local_port)
			bench_wrong("packet %u is not parsed as what was pushed", i);
	}
}

static void tables(bool v6)
{
	struct addr a, b;

	addr_parse(v6 ? "2001:db8::1" : "192.0.2.1", &a);
	addr_parse(v6 ? "2001:db8::2" : "192.0.2.2", &b);
	tbl->dev[0] = (struct net_dev){.mtu = 1500, .exclusive = true, .up = true};
	memcpy(tbl->dev[0].mac, ours, 6);
	tbl->n_dev = 1;
	tbl->local[0] = (struct net_local){.addr = a, .plen = 120};
	tbl->n_local = 1;
	net_tbl_sort(tbl);
	ports->of[4000] = 7;
	/* From the peer's end: what it pushes, we parse. */
	flow = (struct flow_key){.peer = a, .local = b, .peer_port = 4000, .local_port = 50000};
}

static void make_path(uint8_t csum)
{
	struct net_ends ends = {.key = &flow, .csum = csum};

	memcpy(ends.src_mac, theirs, 6);
	memcpy(ends.dst_mac, ours, 6);
	net_path_init(&path, &ends);
}

static void measure(bool v6, unsigned cold)
{
	const char *ip = v6 ? "IPv6" : "IPv4";
	char name[64];

	tables(v6);
	make_path(NET_CSUM_IP_HW | NET_CSUM_UDP_HW);
	snprintf(name, sizeof(name), "push %s, offload", ip);
	both(name, push, cold);
	make_path(0);
	snprintf(name, sizeof(name), "push %s, checksum", ip);
	both(name, push, cold);
	span = cold;
	at = 0;
	do
		push(NULL); /* with --only, nobody has yet */
	while (at);
	snprintf(name, sizeof(name), "parse %s", ip);
	both(name, parse, cold);
	at = 0;
	parse(NULL);
	check();
}

int main(int argc, char **argv)
{
	unsigned cold;

	bench_begin(argc, argv, "bm_net", "headers, a packet of 1344 bytes");
	cold = bench_opts.quick ? COLD / 16 : COLD;
	ports = calloc(1, sizeof(*ports));
	tbl = net_tbl_alloc(1, 1, 1);
	if (!ports || !tbl)
		abort();
	pkts_make(&set, cold, PKTS_BYTES);
	measure(false, cold);
	measure(true, cold);
	both("sum alone", bare_sum, cold);
	net_tbl_free(tbl);
	free(ports);
	return bench_end();
}
