/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "plan.h"
#include "sys.h"

static struct plan p;
static struct conf_port ports[2] = {{.name = "wan0", .device = (char *)"0000:03:00.0"},
				    {.name = "lab0", .device = (char *)"net_null0", .vdev = true}};
static struct conf conf = {.ports = ports, .n_ports = 1, .max_sessions = 65536, .max_streams = 65536};

static void lcores(const char *text, unsigned n)
{
	conf.eal.lcores = (char *)text;
	conf.eal.n_lcores = n;
}

static unsigned sum(void)
{
	unsigned mb = 0;

	for (unsigned i = 0; i < TOPO_NODES_MAX; i++)
		mb += p.node_mb[i];
	return mb;
}

TestSuite(plan, .init = sys_make, .fini = sys_drop);

Test(plan, one_node)
{
	lcores("0-1", 2);
	for (int huge = 0; huge < 2; huge++) {
		plan_make(&p, &conf, sys_root, huge);
		cr_expect_eq(p.n_nodes, 1);
		cr_expect_eq(p.mbufs, 16384);
		cr_expect_eq(p.node_mb[0], p.memory_mb);
		cr_expect_eq(p.memory_mb % 2, 0);
		cr_expect_gt((size_t)p.memory_mb << 20, p.heap + p.chunks * (size_t)16384);
	}
}

/* Heaps for all sessions that are allowed, and a tenth of them left over: the last sixteenth admits no new session. */
Test(plan, heaps_of_many_sessions)
{
	lcores("0-1", 2);
	for (conf.max_sessions = 1024; conf.max_sessions <= 1024 << 10; conf.max_sessions *= 2) {
		plan_make(&p, &conf, sys_root, true);
		cr_expect_geq(p.heap / 10 * 9 + 65536, conf.max_sessions * (size_t)2304, "%u sessions",
			      conf.max_sessions);
		cr_expect_eq(p.heap % 65536, 0);
	}
	conf.max_sessions = 65536;
}

Test(plan, memory_that_is_given)
{
	char why[256];

	lcores("0-2", 3);
	plan_make(&p, &conf, sys_root, true);
	for (conf.eal.memory = p.least_mb; conf.eal.memory < 9000; conf.eal.memory += 37) {
		plan_make(&p, &conf, sys_root, true);
		cr_expect_eq(plan_enough(&p, &conf, why, sizeof(why)), 0);
		cr_expect_eq(p.memory_mb, (conf.eal.memory + 1) / 2 * 2);
		cr_expect_geq(p.heap, 1u << 20, "%u MB", conf.eal.memory);
		cr_expect_gt(p.chunks, 0);
		cr_expect_lt(2 * p.heap + p.chunks * (size_t)16384 + p.chans * (size_t)512 + p.mbufs * (size_t)2368,
			     (size_t)p.memory_mb << 20);
	}
	conf.eal.memory = p.least_mb - 1;
	plan_make(&p, &conf, sys_root, true);
	cr_expect_lt(plan_enough(&p, &conf, why, sizeof(why)), 0);
	cr_expect(strstr(why, "eal.memory: found "), "%s", why);
}

/* Less is available than the defaults come to: all of it is made smaller, but not below what anything runs in. */
Test(plan, memory_that_is_there)
{
	unsigned all, least;

	lcores("0-1", 2);
	plan_make(&p, &conf, sys_root, false);
	all = p.memory_mb;
	least = p.least_mb;
	plan_fit(&p, &conf, 4 * all / 3 + 2);
	cr_expect_eq(p.memory_mb, all);
	for (unsigned mb = 16; mb < all; mb += 7) {
		unsigned most = mb / 4 * 3 < least ? least : mb / 4 * 3;

		plan_make(&p, &conf, sys_root, false);
		plan_fit(&p, &conf, mb);
		cr_expect_eq(p.memory_mb, (most + 1) / 2 * 2, "%u MB: %u", mb, p.memory_mb);
		cr_expect_lt(p.heap + p.chunks * (size_t)16384 + p.chans * (size_t)512 + p.mbufs * (size_t)2368,
			     (size_t)p.memory_mb << 20);
		cr_expect(p.chunks >= 64 && p.heap >= 1u << 20, "%u MB: %u chunks, heap %zu", mb, p.chunks, p.heap);
	}
	/* Hugepages are there or not, and who says how much means it. */
	plan_make(&p, &conf, sys_root, true);
	plan_fit(&p, &conf, 100);
	cr_expect_eq(p.memory_mb, all);
	conf.eal.memory = 300;
	plan_make(&p, &conf, sys_root, false);
	plan_fit(&p, &conf, 100);
	cr_expect_eq(p.memory_mb, 300);
	conf.eal.memory = 0;
}

/* A card on node 1, control and a worker on node 0, a worker on node 1. */
Test(plan, two_nodes)
{
	char text[256];

	sys_two_nodes();
	lcores("0@0,1@1,5@4", 3);
	plan_make(&p, &conf, sys_root, true);
	cr_expect_eq(p.n_nodes, 2);
	cr_expect_eq(p.lcore[2], 5);
	cr_expect_eq(p.place.ctl, 0);
	cr_expect_eq(p.place.worker[0], 0);
	cr_expect_eq(p.place.worker[1], 1);
	cr_expect_eq(p.place.pool[p.place.rx_pool[0][0]].node, 1);
	cr_expect_eq(p.place.pool[p.place.rx_pool[0][1]].node, 1);
	cr_expect_eq(sum(), p.memory_mb);
	cr_expect_gt(p.node_mb[0], 250, "a heap and all chunks: %u", p.node_mb[0]);
	cr_expect_gt(p.node_mb[1], 160, "a heap: %u", p.node_mb[1]);
	plan_fault_text(&p, &conf, PLACE_FAR, 0, 0, text, sizeof(text));
	cr_expect_str_eq(text, "lcore 1 (worker 0) runs on NUMA node 0, port wan0 is on node 1: choose CPUs of node 1");
	/* Without hugepages it is all one memory. */
	plan_make(&p, &conf, sys_root, false);
	cr_expect_eq(p.n_nodes, 1);
	cr_expect_eq(p.nodes, 3);
	cr_expect_eq(p.node_mb[0], p.memory_mb);
}

/* Hugepages on node 1 alone: everything is there. */
Test(plan, pages_on_one_node_of_two)
{
	sys_two_nodes();
	sys_pages(SYS_NODE1, "2048kB", 1000, 1000);
	lcores("0@0,1@1", 2);
	plan_make(&p, &conf, sys_root, true);
	cr_expect_eq(p.n_nodes, 1);
	cr_expect_eq(p.node_mb[1], p.memory_mb);
	cr_expect_eq(p.place.n_pools, 1);
}

Test(plan, ports_of_software)
{
	sys_two_nodes();
	conf.n_ports = 2;
	lcores("4@4,5@5", 2);
	plan_make(&p, &conf, sys_root, true);
	cr_expect_eq(p.n_nodes, 1);
	cr_expect_eq(p.node_mb[1], p.memory_mb);
	cr_expect_eq(p.mbufs, 16384 + 3072);
}
