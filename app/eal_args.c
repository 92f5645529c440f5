/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "eal_args.h"

/*
 * Less than 1 GB needs no page of that size, but DPDK would take one for its first pool if it could.  So it may grow by
 * no more than this: a driver that wants more than was planned gets it, in pages of 2 MB.
 */
#define GROW_MB 256

static void add(struct eal_args *a, const char *arg)
{
	a->argv[a->n++] = (char *)arg;
}

/* "330" or, of several nodes, "330,0,120"; every node's with `more` MB. */
static void memory(const struct plan *p, unsigned more, char mem[EAL_MEM_MAX])
{
	int len = 0, last = TOPO_NODES_MAX - 1;

	if (p->n_nodes <= 1 && !more) {
		snprintf(mem, EAL_MEM_MAX, "%u", p->memory_mb);
		return;
	}
	while (last && !p->node_mb[last])
		last--;
	for (int i = 0; i <= last; i++)
		len += snprintf(mem + len, (size_t)(EAL_MEM_MAX - len), "%s%u", i ? "," : "",
				p->node_mb[i] ? p->node_mb[i] + more : 0);
}

static void add_memory(struct eal_args *a, const struct conf *c, const struct plan *p)
{
	memory(p, 0, a->mem[0]);
	memory(p, GROW_MB, a->mem[1]);
	add(a, p->n_nodes > 1 ? "--socket-mem" : "-m");
	add(a, a->mem[0]);
	if (p->huge) {
		if (!c->eal.dumpcap)
			add(a, "--in-memory"); /* needs no hugetlbfs mount, leaves no files */
		if (p->memory_mb < 1024 - GROW_MB) {
			add(a, "--socket-limit");
			add(a, a->mem[1]);
		}
	} else {
		add(a, "--no-huge"); /* which EAL takes for legacy memory, and so not with --in-memory */
		add(a, "--no-shconf");
	}
}

/* Behind what the file gives EAL: of a device that is named twice the last arguments count. */
static void add_devices(struct eal_args *a, const struct conf *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_ports; i++) {
		if (c->ports[i].vdev)
			continue;
		add(a, "-a");
		add(a, c->ports[i].device);
		n++;
	}
	if (n == 0)
		add(a, "--no-pci");
}

void eal_args_make(struct eal_args *a, const struct conf *c, const struct plan *p, const struct drivers *d, bool debug)
{
	a->n = 0;
	add(a, "kcpgate");
	add(a, "--lcores");
	add(a, c->eal.lcores ? c->eal.lcores : p->default_lcores);
	add(a, "--file-prefix");
	add(a, c->eal.file_prefix);
	add_memory(a, c, p);
	if (!c->telemetry.enable)
		add(a, "--no-telemetry");
	if (debug)
		add(a, "--log-level=debug");
	for (unsigned i = 0; d && i < d->n; i++) {
		add(a, "-d");
		add(a, d->path[i]);
	}
	for (char **arg = c->eal.args; arg && *arg; arg++)
		add(a, *arg);
	add_devices(a, c);
	a->argv[a->n] = NULL;
}
