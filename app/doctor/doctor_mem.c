/* SPDX-License-Identifier: MIT */

/* Hugepages and ordinary memory: what is there, what is free, and what the file needs. */

#include <inttypes.h>

#include "doctor_int.h"
#include "pages.h"
#include "sysfile.h"

#define SMALL_MB (TOPO_SMALL_KB / 1024)
#define BIG_MB	 (TOPO_BIG_KB / 1024)

static bool is_one(uint64_t nodes)
{
	return (nodes & (nodes - 1)) == 0;
}

/* "NUMA node 1: 200 hugepages of 2 MB, 190 free"; returns the MB free. */
static unsigned node_text(const struct doctor *d, int node, char *buf, size_t n)
{
	struct topo_pages small = topo_pages(d->sys, node, TOPO_SMALL_KB), big = topo_pages(d->sys, node, TOPO_BIG_KB);
	int at = 0;

	if (node >= 0)
		at = snprintf(buf, n, "NUMA node %d: ", node);
	at += snprintf(buf + at, n - (size_t)at, "%u hugepages of 2 MB, %u free", small.total, small.free);
	if (big.total)
		snprintf(buf + at, n - (size_t)at, "; %u of 1 GB, %u free", big.total, big.free);
	return small.free * SMALL_MB + big.free * BIG_MB;
}

/* Whether the pages of a node suffice, and if not, what that means. */
static bool node(struct doctor *d, const struct plan *p, int i)
{
	const int at = is_one(p->nodes) ? TOPO_ANY : i;
	unsigned need = p->node_mb[i], missing, free;
	bool must = d->conf->eal.hugepages == CONF_HUGE_YES || doctor_needs_huge(d);
	bool held = d->running && topo_pages(d->sys, at, TOPO_SMALL_KB).total >= need / SMALL_MB;
	char text[200], command[DOCTOR_TEXT];

	free = node_text(d, at, text, sizeof(text));
	if (free >= need) {
		doctor_add(d, DOCTOR_OK, "%s; the file needs %u of 2 MB", text, need / SMALL_MB);
		return true;
	}
	if (held) {
		doctor_add(d, DOCTOR_OK, "%s; the file needs %u of 2 MB, which the gateway that runs may hold", text,
			   need / SMALL_MB);
		return true;
	}
	missing = (need - free + SMALL_MB - 1) / SMALL_MB;
	doctor_add(d, must ? DOCTOR_MISSING : DOCTOR_HINT, "%s; the file needs %u of 2 MB, %u are missing", text,
		   need / SMALL_MB, missing);
	if (d->conf->eal.hugepages == CONF_HUGE_YES)
		doctor_why(d, "eal.hugepages = true: without them the gateway does not start");
	else if (must)
		doctor_why(d, "a device that is driven without an IOMMU finds nothing in ordinary pages");
	else
		doctor_why(d, "ordinary pages are taken, of which the CPU looks up many more; they lie on any node");
	pages_command(command, sizeof(command), at, topo_pages(d->sys, at, TOPO_SMALL_KB).total + missing);
	if (d->conf->tunnels[0].line < 0) /* by a command line: there is no file */
		doctor_mend(d, "scripts/host --pages %u; or by hand, until the next boot: %s", p->memory_mb / SMALL_MB,
			    command);
	else
		doctor_mend(d, "scripts/host -c %s; or by hand, until the next boot: %s", d->conf->path, command);
	return false;
}

/* Of nodes that need none, what they have. */
static void machine(struct doctor *d, uint64_t nodes)
{
	char text[200];

	for (int i = 0; i < TOPO_NODES_MAX; i++)
		if (nodes >> i & 1) {
			node_text(d, is_one(nodes) ? TOPO_ANY : i, text, sizeof(text));
			doctor_add(d, DOCTOR_OK, "%s", text);
		}
}

static void group_pages(struct doctor *d, const struct plan *p)
{
	uint64_t most = doctor_group_hugepages(d);

	if (most >= (uint64_t)p->memory_mb << 20)
		return;
	doctor_add(d, d->conf->eal.hugepages == CONF_HUGE_YES ? DOCTOR_MISSING : DOCTOR_HINT,
		   "the control group may use %" PRIu64 " MB of hugepages, the file needs %u MB", most >> 20,
		   p->memory_mb);
	doctor_why(d, "the kernel ends a process that touches more (SIGBUS)");
	doctor_mend(d, "hugetlb.2MB.max of the control group: max");
}

static void ordinary(struct doctor *d, const struct plan *p)
{
	uint64_t most = doctor_group_memory(d);
	long long kb = 0;
	char text[64];

	if (doctor_field(d, "/proc/meminfo", "MemAvailable", text, sizeof(text)) && sscanf(text, "%lld", &kb) == 1) {
		doctor_add(d, (uint64_t)kb / 1024 < p->memory_mb ? DOCTOR_MISSING : DOCTOR_OK,
			   "%lld MB available in ordinary pages, the file needs %u MB", kb / 1024, p->memory_mb);
		if ((uint64_t)kb / 1024 < p->memory_mb) {
			doctor_why(d, "the gateway does not start");
			doctor_mend(d, "lower eal.memory, or add memory");
		}
	}
	if (most >= (uint64_t)p->memory_mb << 20)
		return;
	doctor_add(d, DOCTOR_MISSING, "the control group may use %" PRIu64 " MB, the file needs %u MB", most >> 20,
		   p->memory_mb);
	doctor_why(d, "the kernel ends a process that takes more");
	doctor_mend(d,
		    "MemoryMax= of the systemd unit, --memory of the container: %u MB and what the kernel's sockets "
		    "take",
		    p->memory_mb);
}

static void must_be_huge(struct doctor *d)
{
	doctor_add(d, DOCTOR_MISSING, "eal.hugepages = false, with a device that is driven without an IOMMU");
	doctor_why(d, "such a device reads physical addresses, and only those of hugepages can be told to it");
	doctor_mend(d, "eal.hugepages = true; or vfio-pci, on a machine with an IOMMU");
}

/* What dpdk-dumpcap maps are files. */
static void mounted(struct doctor *d)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/proc/mounts", d->root);
	if (sysfile_says(path, " hugetlbfs ")) {
		doctor_add(d, DOCTOR_OK, "hugetlbfs is mounted, whose files dpdk-dumpcap maps");
		return;
	}
	doctor_add(d, DOCTOR_MISSING, "no hugetlbfs is mounted");
	doctor_why(d, "eal.dumpcap = true: dpdk-dumpcap maps the gateway's memory by its files there");
	doctor_mend(d, "mount -t hugetlbfs hugetlbfs /dev/hugepages; or kcpgate capture, which needs none of it");
}

void doctor_mem(struct doctor *d, struct plan *p)
{
	bool enough = p && p->huge;
	char why[256];
	struct topo t;

	topo_read(&t, d->sys);
	if (!p) {
		machine(d, t.has_memory);
		return;
	}
	if (plan_enough(p, d->conf, why, sizeof(why))) {
		doctor_add(d, DOCTOR_MISSING, "%s", why);
		doctor_why(d, "the gateway does not start");
		return;
	}
	if (d->conf->eal.dumpcap)
		mounted(d);
	for (int i = 0; p->huge && i < TOPO_NODES_MAX; i++) {
		if (!p->node_mb[i])
			continue;
		d->pages[is_one(p->nodes) ? 0 : i] = p->node_mb[i] / SMALL_MB;
		enough &= node(d, p, i);
	}
	if (p->huge)
		group_pages(d, p);
	if (!p->huge && doctor_needs_huge(d))
		must_be_huge(d);
	if (enough || d->conf->eal.hugepages == CONF_HUGE_YES)
		return;
	plan_make(p, d->conf, d->sys, false);
	ordinary(d, p);
}
