/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "group.h"
#include "pages.h"
#include "sysfile.h"

#define SMALL_MB (TOPO_SMALL_KB / 1024)
#define BIG_MB	 (TOPO_BIG_KB / 1024)

static unsigned free_mb(const char *sys, int node)
{
	return topo_pages(sys, node, TOPO_SMALL_KB).free * SMALL_MB + topo_pages(sys, node, TOPO_BIG_KB).free * BIG_MB;
}

static bool has_pages(const char *sys, int node)
{
	return topo_pages(sys, node, TOPO_SMALL_KB).total || topo_pages(sys, node, TOPO_BIG_KB).total;
}

uint64_t pages_nodes(const char *sys, uint64_t has_memory)
{
	uint64_t nodes = 0;

	for (int i = 0; i < TOPO_NODES_MAX; i++)
		if (has_memory >> i & 1 && has_pages(sys, i))
			nodes |= UINT64_C(1) << i;
	return nodes ? nodes : has_memory;
}

/* 2 MB is what vm.nr_hugepages counts, unless the kernel was started with another default. */
static bool is_default(void)
{
	long long kb = TOPO_SMALL_KB;

	sysfile_field_number("/proc/meminfo", "Hugepagesize", &kb);
	return kb == TOPO_SMALL_KB;
}

void pages_command(char *buf, size_t n, int node, unsigned pages)
{
	if (node >= 0)
		snprintf(buf, n, "echo %u > /sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages",
			 pages, node);
	else if (is_default())
		snprintf(buf, n, "sysctl -w vm.nr_hugepages=%u", pages);
	else
		snprintf(buf, n, "echo %u > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", pages);
}

/* node TOPO_ANY: of the machine. */
static int check(const char *sys, int node, unsigned need, char *why, size_t n)
{
	unsigned have = free_mb(sys, node), missing;
	char where[32] = "", cmd[128];

	if (have >= need)
		return 0;
	missing = (need - have + SMALL_MB - 1) / SMALL_MB;
	if (node >= 0)
		snprintf(where, sizeof(where), " on NUMA node %d", node);
	pages_command(cmd, sizeof(cmd), node, topo_pages(sys, node, TOPO_SMALL_KB).total + missing);
	snprintf(why, n,
		 "eal.hugepages: %u hugepages of 2 MB needed%s (%u MB), %u free, %u missing: reserve them (%s), lower "
		 "eal.memory, or set eal.hugepages = false",
		 need / SMALL_MB, where, need, have / SMALL_MB, missing, cmd);
	return -ENOMEM;
}

int pages_missing(const char *sys, uint64_t has_memory, const unsigned node_mb[TOPO_NODES_MAX], char *why, size_t n)
{
	bool one = (has_memory & (has_memory - 1)) == 0;
	int ret = 0;

	for (int i = 0; ret == 0 && i < TOPO_NODES_MAX; i++)
		if (node_mb[i])
			ret = check(sys, one ? TOPO_ANY : i, node_mb[i], why, n);
	return ret;
}

unsigned pages_available_mb(const char *root)
{
	uint64_t most = group_memory(root) >> 20;
	long long kb = 0;
	char path[300];

	snprintf(path, sizeof(path), "%.250s/proc/meminfo", root);
	sysfile_field_number(path, "MemAvailable", &kb);
	return (unsigned)(most < (uint64_t)kb / 1024 ? most : (uint64_t)kb / 1024);
}
