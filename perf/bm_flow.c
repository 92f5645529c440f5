/* SPDX-License-Identifier: MIT */

/*
 * Flow key to session, ns a packet: bursts of 64 packets of as many flows, chosen at random from tables of 1, 10,000
 * and 100,000 flows, so that the larger tables are met as cold as their size makes them; the same with runs of 8
 * packets a flow, as a busy peer sends; the hash alone; and adding and deleting a flow at each size.  1024 bursts are
 * prepared, so that the choice itself costs nothing.
 */

#include <stdio.h>

#include <rte_malloc.h>

#include "bench.h"
#include "eal.h"
#include "flow.h"
#include "pkts.h"

#define BURST  64
#define BURSTS 1024
#define SPARE  64 /* flows beyond those in the table, to add and delete */

static struct flow_tbl *tbl;
static struct flow_key *keys;
static uint32_t *hashes;
static struct pkt *v; /* BURSTS * BURST */
static unsigned flows, at;
static char *sessions; /* two lines each, which the lookup prefetches */

static struct sess *session(unsigned i)
{
	return (struct sess *)(sessions + (size_t)i * 128);
}

static void find(void *arg)
{
	(void)arg;
	flow_find_burst(tbl, v + (size_t)(at++ % BURSTS) * BURST, BURST);
}

static void hash(void *arg)
{
	(void)arg;
	flow_hash_burst(v + (size_t)(at++ % BURSTS) * BURST, BURST);
}

static void add_del(void *arg)
{
	(void)arg;
	for (unsigned i = flows; i < flows + SPARE; i++) {
		if (flow_add(tbl, &keys[i], hashes[i], session(i)))
			bench_wrong("no room for a flow");
	}
	for (unsigned i = flows; i < flows + SPARE; i++)
		flow_del(tbl, &keys[i], hashes[i]);
}

static void check(void)
{
	for (unsigned i = 0; i < BURSTS * BURST; i++) {
		if (v[i].sess != session((unsigned)(v[i].key - keys))) {
			bench_wrong("packet %u: another flow's session", i);
			return;
		}
	}
}

static void choose(unsigned run)
{
	uint64_t rnd = 11;
	unsigned f = 0;

	for (unsigned i = 0; i < BURSTS * BURST; i++) {
		if (i % run == 0)
			f = (unsigned)(pkts_rnd(&rnd) % flows);
		v[i] = (struct pkt){.verdict = VERDICT_OK, .key = &keys[f], .hash = hashes[f]};
	}
}

static bool fill(void)
{
	if (flow_tbl_create(&tbl, "bm", flows + SPARE, -1))
		return false;
	for (unsigned i = 0; i < flows + SPARE; i++) {
		keys[i] = (struct flow_key){.peer = addr_v4(0x0a000000u + i * 7919u % 0x00ffffffu),
					    .local = addr_v4(0xc0000201u),
					    .peer_port = (uint16_t)(1024 + i % 60000),
					    .local_port = 4000};
		hashes[i] = flow_hash(&keys[i]);
		if (i < flows && flow_add(tbl, &keys[i], hashes[i], session(i)))
			return false;
	}
	return true;
}

static void measure(unsigned n)
{
	struct bench_series s;
	char name[64];
	struct bench_job j = {name, find, NULL, NULL, BURST, 0};

	flows = n;
	keys = rte_malloc(NULL, (n + SPARE) * sizeof(*keys), 64);
	hashes = rte_malloc(NULL, (n + SPARE) * sizeof(*hashes), 64);
	sessions = rte_zmalloc(NULL, (size_t)(n + SPARE) * 128, 64);
	if (!keys || !hashes || !sessions || !fill()) {
		bench_wrong("no table for %u flows", n);
		return;
	}
	choose(1);
	snprintf(name, sizeof(name), "flow find, %u flows", n);
	bench_job(&j, &s);
	at = 0;
	for (unsigned i = 0; i < BURSTS; i++)
		find(NULL);
	check();
	choose(8);
	snprintf(name, sizeof(name), "flow find, %u flows, runs of 8", n);
	bench_job(&j, &s);
	snprintf(name, sizeof(name), "flow hash, %u flows", n);
	j.run = hash;
	bench_job(&j, &s);
	snprintf(name, sizeof(name), "flow add and delete, %u flows", n);
	j.run = add_del;
	j.packets = SPARE;
	bench_job(&j, &s);
	flow_tbl_destroy(tbl);
	rte_free(sessions);
	rte_free(hashes);
	rte_free(keys);
}

int main(int argc, char **argv)
{
	bench_begin(argc, argv, "bm_flow", "finding a packet's session");
	if (bench_eal(256, NULL)) {
		bench_wrong("no EAL");
		return bench_end();
	}
	v = rte_zmalloc(NULL, (size_t)BURSTS * BURST * sizeof(*v), 64);
	measure(1);
	measure(10000);
	measure(100000);
	rte_free(v);
	return bench_end();
}
