/* SPDX-License-Identifier: MIT */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "pages.h"
#include "topo.h"

/* A sysfs of our own, with two nodes. */
static char sys[] = "/tmp/kcpgate-sys-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", sys, name);
	for (char *s = path + strlen(sys) + 1; (s = strchr(s, '/')); s++) {
		*s = '\0';
		mkdir(path, 0755);
		*s = '/';
	}
	f = fopen(path, "w");
	cr_assert_not_null(f, "%s", path);
	fputs(text, f);
	fclose(f);
}

static void put_pages(const char *where, const char *size, unsigned total, unsigned free)
{
	char name[256], text[16];

	snprintf(name, sizeof(name), "%s/hugepages-%s/nr_hugepages", where, size);
	snprintf(text, sizeof(text), "%u\n", total);
	put(name, text);
	snprintf(name, sizeof(name), "%s/hugepages-%s/free_hugepages", where, size);
	snprintf(text, sizeof(text), "%u\n", free);
	put(name, text);
}

#define MACHINE "kernel/mm/hugepages"
#define NODE0	"devices/system/node/node0/hugepages"
#define NODE1	"devices/system/node/node1/hugepages"

static void make(void)
{
	cr_assert_not_null(mkdtemp(sys));
}

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void unmake(void)
{
	nftw(sys, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static void two_nodes(void)
{
	put("devices/system/node/has_memory", "0-1\n");
	put("devices/system/node/node0/cpulist", "0-3,8\n");
	put("devices/system/node/node1/cpulist", "4-7,9-11\n");
	put("bus/pci/devices/0000:03:00.0/numa_node", "1\n");
	put("bus/pci/devices/0000:04:00.1/numa_node", "-1\n");
}

TestSuite(topo, .init = make, .fini = unmake);

Test(topo, nodes)
{
	struct topo t;

	two_nodes();
	topo_read(&t, sys);
	cr_expect_eq(t.has_memory, 3);
	for (int cpu = 0; cpu < 12; cpu++)
		cr_expect_eq(t.cpu_node[cpu], (cpu >= 4 && cpu != 8), "cpu %d", cpu);
	cr_expect_eq(topo_pci_node(sys, "0000:03:00.0"), 1);
	cr_expect_eq(topo_pci_node(sys, "03:00.0,dev_arg=1"), 1);
	cr_expect_eq(topo_pci_node(sys, "0000:04:00.1"), TOPO_ANY);
	cr_expect_eq(topo_pci_node(sys, "0000:05:00.0"), TOPO_ANY);
}

Test(topo, kernel_without_nodes)
{
	struct topo t;

	topo_read(&t, sys);
	cr_expect_eq(t.has_memory, 1);
	cr_expect_eq(t.cpu_node[17], 0);
}

Test(topo, pages_of_the_machine)
{
	struct topo_pages p;

	cr_expect_eq(topo_pages(sys, TOPO_ANY, TOPO_SMALL_KB).total, 0);
	put_pages(MACHINE, "2048kB", 100, 60);
	p = topo_pages(sys, TOPO_ANY, TOPO_SMALL_KB);
	cr_expect_eq(p.total, 100);
	cr_expect_eq(p.free, 60);
	/* What others have reserved is not ours; what the kernel would make beyond is. */
	put(MACHINE "/hugepages-2048kB/resv_hugepages", "50\n");
	put(MACHINE "/hugepages-2048kB/nr_overcommit_hugepages", "30\n");
	put(MACHINE "/hugepages-2048kB/surplus_hugepages", "10\n");
	cr_expect_eq(topo_pages(sys, TOPO_ANY, TOPO_SMALL_KB).free, 30);
	cr_expect_eq(topo_pages(sys, TOPO_ANY, TOPO_BIG_KB).total, 0);
}

Test(topo, missing_on_one_node)
{
	unsigned mb[TOPO_NODES_MAX] = {400};
	char why[512] = "";

	put_pages(MACHINE, "2048kB", 250, 199);
	cr_expect_lt(pages_missing(sys, 1, mb, why, sizeof(why)), 0);
	cr_expect(strstr(why, "200 hugepages of 2 MB needed (400 MB), 199 free, 1 missing"), "%s", why);
	cr_expect(strstr(why, "nr_hugepages=251") || strstr(why, "echo 251 >"), "%s", why);
	put_pages(MACHINE, "2048kB", 250, 200);
	cr_expect_eq(pages_missing(sys, 1, mb, why, sizeof(why)), 0);
	/* A page of 1 GB serves as well. */
	put_pages(MACHINE, "2048kB", 0, 0);
	put_pages(MACHINE, "1048576kB", 1, 1);
	cr_expect_eq(pages_missing(sys, 1, mb, why, sizeof(why)), 0);
}

Test(topo, missing_on_one_of_two_nodes)
{
	unsigned mb[TOPO_NODES_MAX] = {100, 200};
	char why[512] = "";

	two_nodes();
	put_pages(MACHINE, "2048kB", 1000, 1000);
	put_pages(NODE0, "2048kB", 910, 910);
	put_pages(NODE1, "2048kB", 90, 90);
	cr_expect_eq(pages_nodes(sys, 3), 3);
	cr_expect_lt(pages_missing(sys, 3, mb, why, sizeof(why)), 0);
	cr_expect(strstr(why, "100 hugepages of 2 MB needed on NUMA node 1 (200 MB), 90 free, 10 missing"), "%s", why);
	cr_expect(strstr(why, "echo 100 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"),
		  "%s", why);
	put_pages(NODE1, "2048kB", 100, 100);
	cr_expect_eq(pages_missing(sys, 3, mb, why, sizeof(why)), 0);
}

Test(topo, nodes_with_pages)
{
	cr_expect_eq(pages_nodes(sys, 3), 3, "none has: all may be asked for");
	put_pages(NODE1, "2048kB", 1, 0);
	cr_expect_eq(pages_nodes(sys, 3), 2);
	put_pages(NODE0, "1048576kB", 1, 0);
	cr_expect_eq(pages_nodes(sys, 3), 3);
	cr_expect_eq(pages_nodes(sys, 2), 2);
}
