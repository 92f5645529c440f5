/* SPDX-License-Identifier: MIT */
#pragma once

/* The machine as sysfs tells it: NUMA nodes, which of them a CPU, a device and memory belong to, and hugepages. */

#include <stdbool.h>
#include <stdint.h>

#define TOPO_SYS       "/sys"
#define TOPO_NODES_MAX 32 /* RTE_MAX_NUMA_NODES of Debian's DPDK */
#define TOPO_CPUS_MAX  1024
#define TOPO_ANY       (-1) /* no node in particular */

struct topo {
	uint64_t has_memory; /* bit a node; node 0 where the kernel knows no nodes */
	int8_t cpu_node[TOPO_CPUS_MAX];
};

/* sys: where sysfs is mounted.  What cannot be read counts as one node, 0, with all CPUs and all memory. */
void topo_read(struct topo *t, const char *sys);

#define TOPO_LIST_MAX 4200 /* bytes of a list: every second CPU of 1024 */

/* A kernel's list of numbers, "0-3,8", as has[0..n). */
void topo_list_text(const char *list, uint8_t *has, unsigned n);
/* That of a file; false, and none, when there is no such file or it is empty. */
bool topo_list(const char *path, uint8_t *has, unsigned n);

/* The node of a PCI device, its address in any form, with or without devargs; TOPO_ANY when it is on none. */
int topo_pci_node(const char *sys, const char *device);

#define TOPO_SMALL_KB 2048
#define TOPO_BIG_KB   1048576

/* Hugepages of one size. */
struct topo_pages {
	unsigned total; /* that the kernel holds, in use or not; 0 too where it has no pages of this size */
	unsigned free;	/* of them, those that a program gets now, and those that the kernel would make for it */
};

/* Of one node, or of the machine (node TOPO_ANY). */
struct topo_pages topo_pages(const char *sys, int node, unsigned kb);
