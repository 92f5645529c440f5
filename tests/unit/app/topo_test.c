/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "pages.h"
#include "sys.h"
#include "topo.h"

TestSuite(topo, .init = sys_make, .fini = sys_drop);

Test(topo, nodes)
{
	struct topo t;

	sys_two_nodes();
	topo_read(&t, sys_root);
	cr_expect_eq(t.has_memory, 3);
	for (int cpu = 0; cpu < 12; cpu++)
		cr_expect_eq(t.cpu_node[cpu], (cpu >= 4 && cpu != 8), "cpu %d", cpu);
	cr_expect_eq(topo_pci_node(sys_root, "0000:03:00.0"), 1);
	cr_expect_eq(topo_pci_node(sys_root, "03:00.0,dev_arg=1"), 1);
	sys_put("bus/pci/devices/0000:0a:00.0/numa_node", "1\n");
	cr_expect_eq(topo_pci_node(sys_root, "0A:00.0"), 1);
	cr_expect_eq(topo_pci_node(sys_root, "0000:04:00.1"), TOPO_ANY);
	cr_expect_eq(topo_pci_node(sys_root, "0000:05:00.0"), TOPO_ANY);
}

Test(topo, lists)
{
	uint8_t has[8];
	char path[512];

	sys_put("list", "0-1,4,6-20\n");
	snprintf(path, sizeof(path), "%s/list", sys_root);
	cr_expect(topo_list(path, has, 8));
	cr_expect_arr_eq(has, ((uint8_t[]){1, 1, 0, 0, 1, 0, 1, 1}), 8);
	topo_list_text("2,5-7\n", has, 8);
	cr_expect_arr_eq(has, ((uint8_t[]){0, 0, 1, 0, 0, 1, 1, 1}), 8);
	topo_list_text("(null)", has, 8);
	cr_expect_arr_eq(has, (uint8_t[8]){0}, 8);
	sys_put("list", "");
	cr_expect_not(topo_list(path, has, 8));
	cr_expect_arr_eq(has, (uint8_t[8]){0}, 8);
}

Test(topo, kernel_without_nodes)
{
	struct topo t;

	topo_read(&t, sys_root);
	cr_expect_eq(t.has_memory, 1);
	cr_expect_eq(t.cpu_node[17], 0);
}

Test(topo, pages_of_the_machine)
{
	struct topo_pages p;

	cr_expect_eq(topo_pages(sys_root, TOPO_ANY, TOPO_SMALL_KB).total, 0);
	sys_pages(SYS_MACHINE, "2048kB", 100, 60);
	p = topo_pages(sys_root, TOPO_ANY, TOPO_SMALL_KB);
	cr_expect_eq(p.total, 100);
	cr_expect_eq(p.free, 60);
	/* What others have reserved is not ours; what the kernel would make beyond is. */
	sys_put(SYS_MACHINE "/hugepages-2048kB/resv_hugepages", "50\n");
	sys_put(SYS_MACHINE "/hugepages-2048kB/nr_overcommit_hugepages", "30\n");
	sys_put(SYS_MACHINE "/hugepages-2048kB/surplus_hugepages", "10\n");
	cr_expect_eq(topo_pages(sys_root, TOPO_ANY, TOPO_SMALL_KB).free, 30);
	cr_expect_eq(topo_pages(sys_root, TOPO_ANY, TOPO_BIG_KB).total, 0);
}

Test(topo, missing_on_one_node)
{
	unsigned mb[TOPO_NODES_MAX] = {400};
	char why[512] = "";

	sys_pages(SYS_MACHINE, "2048kB", 250, 199);
	cr_expect_lt(pages_missing(sys_root, 1, mb, why, sizeof(why)), 0);
	cr_expect(strstr(why, "200 hugepages of 2 MB needed (400 MB), 199 free, 1 missing"), "%s", why);
	cr_expect(strstr(why, "nr_hugepages=251") || strstr(why, "echo 251 >"), "%s", why);
	sys_pages(SYS_MACHINE, "2048kB", 250, 200);
	cr_expect_eq(pages_missing(sys_root, 1, mb, why, sizeof(why)), 0);
	/* A page of 1 GB serves as well. */
	sys_pages(SYS_MACHINE, "2048kB", 0, 0);
	sys_pages(SYS_MACHINE, "1048576kB", 1, 1);
	cr_expect_eq(pages_missing(sys_root, 1, mb, why, sizeof(why)), 0);
}

Test(topo, missing_on_one_of_two_nodes)
{
	unsigned mb[TOPO_NODES_MAX] = {100, 200};
	char why[512] = "";

	sys_two_nodes();
	sys_pages(SYS_MACHINE, "2048kB", 1000, 1000);
	sys_pages(SYS_NODE0, "2048kB", 910, 910);
	sys_pages(SYS_NODE1, "2048kB", 90, 90);
	cr_expect_eq(pages_nodes(sys_root, 3), 3);
	cr_expect_lt(pages_missing(sys_root, 3, mb, why, sizeof(why)), 0);
	cr_expect(strstr(why, "100 hugepages of 2 MB needed on NUMA node 1 (200 MB), 90 free, 10 missing"), "%s", why);
	cr_expect(strstr(why, "echo 100 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"),
		  "%s", why);
	sys_pages(SYS_NODE1, "2048kB", 100, 100);
	cr_expect_eq(pages_missing(sys_root, 3, mb, why, sizeof(why)), 0);
}

Test(topo, nodes_with_pages)
{
	cr_expect_eq(pages_nodes(sys_root, 3), 3, "none has: all may be asked for");
	sys_pages(SYS_NODE1, "2048kB", 1, 0);
	cr_expect_eq(pages_nodes(sys_root, 3), 2);
	sys_pages(SYS_NODE0, "1048576kB", 1, 0);
	cr_expect_eq(pages_nodes(sys_root, 3), 3);
	cr_expect_eq(pages_nodes(sys_root, 2), 2);
}
