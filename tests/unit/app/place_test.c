/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "place.h"

static struct place p;

static void one_node(unsigned ports, unsigned workers, int8_t port_node)
{
	struct place_in in = {.n_ports = ports, .n_workers = workers, .has_memory = 1};

	memset(in.port_node, port_node, sizeof(in.port_node));
	place_make(&p, &in);
}

static unsigned mbufs(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p.n_pools; i++)
		n += p.pool[i].mbufs;
	return n;
}

/* The node of the pool that a worker's receive queue of a port fills. */
static int rx_node(unsigned port, unsigned w)
{
	return p.pool[p.rx_pool[port][w]].node;
}

static int tx_node(unsigned w)
{
	return p.pool[p.tx_pool[w]].node;
}

Test(place, one_node_is_one_pool)
{
	for (unsigned ports = 1; ports <= CONF_PORTS_MAX; ports++) {
		for (unsigned workers = 1; workers <= CONF_WORKERS_MAX; workers++) {
			one_node(ports, workers, ports & 1 ? TOPO_ANY : 0);
			cr_assert_eq(p.n_pools, 1);
			cr_assert_eq(p.pool[0].mbufs, 4096 + workers * (12288 + 3072 * (ports - 1)));
			cr_assert_eq(p.ctl, 0);
			cr_assert_eq(p.worker[workers - 1], 0);
		}
	}
}

/* Two cards on two nodes, a worker on each of them. */
Test(place, each_port_fills_its_own_node)
{
	struct place_in in = {
		.n_ports = 2, .n_workers = 2, .port_node = {0, 1}, .lcore_node = {0, 0, 1}, .has_memory = 3};

	place_make(&p, &in);
	cr_assert_eq(p.n_pools, 2);
	for (unsigned w = 0; w < 2; w++) {
		cr_expect_eq(p.worker[w], (int)w);
		cr_expect_eq(tx_node(w), (int)w);
		cr_expect_eq(rx_node(0, w), 0);
		cr_expect_eq(rx_node(1, w), 1);
	}
	/* Either pool serves both workers' queues, and FEC groups that hold nothing but its buffers. */
	cr_expect_eq(p.pool[p.ctl_pool].mbufs, PLACE_BASE + 2 * PLACE_RX + PLACE_TX + PLACE_TX_MORE);
	cr_expect_eq(mbufs(), PLACE_BASE + 4 * PLACE_RX + 2 * (PLACE_TX + PLACE_TX_MORE));
}

Test(place, software_fills_its_workers_node)
{
	struct place_in in = {
		.n_ports = 1, .n_workers = 2, .port_node = {TOPO_ANY}, .lcore_node = {1, 0, 1}, .has_memory = 3};

	place_make(&p, &in);
	cr_expect_eq(p.ctl, 1);
	cr_expect_eq(rx_node(0, 0), 0);
	cr_expect_eq(rx_node(0, 1), 1);
	cr_expect_eq(p.pool[p.ctl_pool].mbufs, PLACE_BASE + PLACE_RX + PLACE_TX);
	/* A kernel interface that is a device has rings of its own, which each worker fills. */
	in.n_exc = 1;
	place_make(&p, &in);
	cr_expect_eq(mbufs(), PLACE_BASE + in.n_workers * (PLACE_RX + PLACE_TX + PLACE_EXC));
}

struct said {
	unsigned n;
	char text[16][32];
};

static void note(void *ctx, enum place_fault what, unsigned a, unsigned b)
{
	struct said *s = ctx;

	cr_assert_lt(s->n, 16);
	snprintf(s->text[s->n++], 32, "%s %u %u",
		 what == PLACE_FAR	? "far"
		 : what == PLACE_FLOATS ? "floats"
					: "no-memory",
		 a, b);
}

static void says(const struct place_in *in, unsigned n, const char *const *want)
{
	struct said s = {0};

	place_make(&p, in);
	place_faults(&p, in, note, &s);
	cr_assert_eq(s.n, n, "%u: %s", s.n, s.text[0]);
	for (unsigned i = 0; i < n; i++)
		cr_expect_str_eq(s.text[i], want[i]);
}

Test(place, far_lcores_are_told)
{
	struct place_in in = {
		.n_ports = 2, .n_workers = 2, .port_node = {0, TOPO_ANY}, .lcore_node = {0, 0, 1}, .has_memory = 3};

	says(&in, 1, (const char *const[]){"far 1 0"});
	/* What the card writes stays on its node, what the worker writes on its own. */
	cr_expect_eq(rx_node(0, 1), 0);
	cr_expect_eq(tx_node(1), 1);
	cr_expect_eq(p.worker[1], 1);
}

Test(place, floating_lcores_follow_the_port)
{
	struct place_in in = {
		.n_ports = 1, .n_workers = 1, .port_node = {1}, .lcore_node = {TOPO_ANY, TOPO_ANY}, .has_memory = 3};

	says(&in, 2, (const char *const[]){"floats 0 0", "floats 1 0"});
	cr_expect_eq(p.ctl, 1);
	cr_expect_eq(p.worker[0], 1);
	cr_expect_eq(p.n_pools, 1);
}

Test(place, nodes_without_memory_borrow)
{
	struct place_in in = {.n_ports = 2,
			      .n_workers = 2,
			      .port_node = {3, 0},
			      .lcore_node = {2, 2, 3},
			      .has_memory = 1 << 1 | 1 << 3};

	says(&in, 5, (const char *const[]){"no-memory 2 3", "no-memory 0 1", "far 0 0", "far 0 1", "far 1 1"});
	/* An lcore without memory of its own takes the port's, and the lowest that there is when the port has none. */
	cr_expect_eq(p.ctl, 3);
	cr_expect_eq(p.worker[0], 3);
	cr_expect_eq(rx_node(1, 0), 1);
	cr_expect_eq(p.n_pools, 2);
}

Test(place, one_node_says_nothing)
{
	struct place_in in = {.n_ports = 2,
			      .n_workers = 2,
			      .port_node = {TOPO_ANY, 0},
			      .lcore_node = {0, TOPO_ANY, 0},
			      .has_memory = 1};

	says(&in, 0, NULL);
	cr_expect_eq(p.n_pools, 1);
	in.has_memory = 0; /* cannot be; but nothing breaks */
	says(&in, 0, NULL);
	cr_expect_eq(p.n_pools, 1);
}

/* Whatever the machine: every buffer belongs to a pool, no node has two, and all lie on nodes with memory. */
Test(place, every_machine)
{
	uint64_t x = 88172645463325252u;

	for (unsigned round = 0; round < 20000; round++) {
		struct place_in in = {.n_ports = 1, .n_workers = 1};
		uint64_t used = 0;

#define NEXT(n) (x ^= x << 13, x ^= x >> 7, x ^= x << 17, (unsigned)(x % (n)))
		in.n_ports += NEXT(4);
		in.n_workers += NEXT(8);
		in.has_memory = 1 + NEXT(255);
		for (unsigned i = 0; i < in.n_ports; i++)
			in.port_node[i] = (int8_t)((int)NEXT(9) - 1);
		for (unsigned i = 0; i <= in.n_workers; i++)
			in.lcore_node[i] = (int8_t)((int)NEXT(9) - 1);
		place_make(&p, &in);
		for (unsigned i = 0; i < p.n_pools; i++) {
			cr_assert(in.has_memory >> p.pool[i].node & 1);
			cr_assert_not(used >> p.pool[i].node & 1);
			used |= UINT64_C(1) << p.pool[i].node;
			cr_assert_gt(p.pool[i].mbufs, 0);
		}
		for (unsigned w = 0; w < in.n_workers; w++) {
			cr_assert(used >> p.worker[w] & 1);
			cr_assert_eq(tx_node(w), p.worker[w]);
			for (unsigned i = 0; i < in.n_ports; i++)
				cr_assert_lt(p.rx_pool[i][w], p.n_pools);
		}
		cr_assert_geq(mbufs(), 4096 + in.n_workers * (12288 + 3072 * (in.n_ports - 1)));
	}
}
