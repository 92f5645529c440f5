/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pciaddr.h"
#include "sysfile.h"
#include "topo.h"

/* "0-3,8": the next range of it, *s moved behind; false at the end. */
static bool next_range(const char **s, unsigned *from, unsigned *to)
{
	char *end;

	*from = *to = (unsigned)strtoul(*s, &end, 10);
	if (end == *s)
		return false;
	if (*end == '-')
		*to = (unsigned)strtoul(end + 1, &end, 10);
	*s = *end == ',' ? end + 1 : end;
	return true;
}

void topo_list_text(const char *list, uint8_t *has, unsigned n)
{
	unsigned from, to;

	memset(has, 0, n);
	while (next_range(&list, &from, &to))
		for (unsigned i = from; i <= to && i < n; i++)
			has[i] = 1;
}

bool topo_list(const char *path, uint8_t *has, unsigned n)
{
	char list[TOPO_LIST_MAX];
	bool ok = sysfile_line(path, list, sizeof(list));

	topo_list_text(list, has, n);
	return ok;
}

static void node_cpus(struct topo *t, const char *sys, unsigned node)
{
	uint8_t has[TOPO_CPUS_MAX];
	char path[512];

	snprintf(path, sizeof(path), "%s/devices/system/node/node%u/cpulist", sys, node);
	topo_list(path, has, TOPO_CPUS_MAX);
	for (unsigned i = 0; i < TOPO_CPUS_MAX; i++)
		if (has[i])
			t->cpu_node[i] = (int8_t)node;
}

void topo_read(struct topo *t, const char *sys)
{
	uint8_t has[TOPO_NODES_MAX];
	char path[512];

	memset(t, 0, sizeof(*t));
	snprintf(path, sizeof(path), "%s/devices/system/node/has_memory", sys);
	topo_list(path, has, TOPO_NODES_MAX);
	for (unsigned i = 0; i < TOPO_NODES_MAX; i++)
		t->has_memory |= (uint64_t)has[i] << i;
	if (!t->has_memory) {
		t->has_memory = 1;
		return;
	}
	/* Nodes that have CPUs need no memory. */
	for (unsigned i = 0; i < TOPO_NODES_MAX; i++)
		node_cpus(t, sys, i);
}

int topo_pci_node(const char *sys, const char *device)
{
	char path[512], addr[PCI_ADDR_LEN];
	long long node;

	if (pci_addr_read(device, addr) < 0)
		return TOPO_ANY;
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/numa_node", sys, addr);
	return sysfile_number(path, &node) && node >= 0 && node < TOPO_NODES_MAX ? (int)node : TOPO_ANY;
}

static unsigned page_count(const char *dir, unsigned kb, const char *what)
{
	char path[512];
	long long v;

	snprintf(path, sizeof(path), "%s/hugepages-%ukB/%s", dir, kb, what);
	return sysfile_number(path, &v) && v > 0 ? (unsigned)v : 0;
}

static unsigned less(unsigned a, unsigned b)
{
	return a > b ? a - b : 0;
}

struct topo_pages topo_pages(const char *sys, int node, unsigned kb)
{
	struct topo_pages p;
	char dir[400];

	if (node >= 0)
		snprintf(dir, sizeof(dir), "%s/devices/system/node/node%d/hugepages", sys, node);
	else
		snprintf(dir, sizeof(dir), "%s/kernel/mm/hugepages", sys);
	p.total = page_count(dir, kb, "nr_hugepages");
	p.free = page_count(dir, kb, "free_hugepages");
	if (node < 0) {
		p.free = less(p.free, page_count(dir, kb, "resv_hugepages"));
		p.free +=
			less(page_count(dir, kb, "nr_overcommit_hugepages"), page_count(dir, kb, "surplus_hugepages"));
	}
	return p;
}
