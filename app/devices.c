/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_build_config.h>

#include "devices.h"
#include "drivers.h"
#include "pmd.h"

const struct devices_at devices_here = {.host = &port_pci_here, .pmds = RTE_EAL_PMD_PATH};

struct look {
	const struct conf *conf;
	const struct plan *plan;
	const struct devices_at *at;
	const struct port_pmds *pmds; /* NULL: nobody knows what drivers DPDK will have */
	devices_fault_fn *fn;
	void *ctx;
	unsigned faults;
};

static void fault(struct look *l, const struct conf_port *p, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fault(struct look *l, const struct conf_port *p, const char *fmt, ...)
{
	char text[DEVICES_TEXT];
	int n = snprintf(text, sizeof(text), "port %s: %.*s: ", p->name, (int)strcspn(p->device, ","), p->device);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	l->fn(l->ctx, text);
	l->faults++;
}

/* Drivers that the file brings itself are not among those of the folder. */
static bool other_drivers(const struct conf *c)
{
	for (char **arg = c->eal.args; arg && *arg; arg++)
		if (strncmp(*arg, "-d", 2) == 0)
			return true;
	return false;
}

static bool arguments_wrong(struct look *l, const struct conf_port *p, const struct port_pmd_of *of)
{
	const char *params = port_pmds_params(l->pmds, of);
	char key[64];

	if (!port_pmds_unknown(l->pmds, of, key, sizeof(key)))
		return false;
	fault(l, p, "the driver %s knows no argument `%s'; %s%.200s", port_pmds_driver(l->pmds, of), key,
	      params[0] ? "it lists " : "leave it out", params);
	return true;
}

static void look_at_vdev(struct look *l, const struct conf_port *p)
{
	struct port_pmd_of of = {.device = p->device, .vdev = true};
	char names[256];

	/* AF_XDP beside the kernel is ours, whether DPDK's driver for it is installed or not; config knows its
	 * arguments. */
	if (!l->pmds || p->sockets || (p->exception == CONF_EXC_KERNEL && strncmp(p->device, "net_af_xdp", 10) == 0))
		return;
	if (port_pmds_driver(l->pmds, &of)) {
		arguments_wrong(l, p, &of);
		return;
	}
	port_pmds_names(l->pmds, names, sizeof(names));
	fault(l, p, "DPDK has no driver of this name in %s; those that need no card are %s", l->at->pmds, names);
}

/* Without an IOMMU the device is told physical addresses, and the kernel tells them of hugepages only. */
static void no_hugepages(struct look *l, const struct conf_port *p, const struct port_pci *pci)
{
	char what[80] = "set eal.hugepages = true";

	if (l->conf->eal.hugepages != CONF_HUGE_NO)
		snprintf(what, sizeof(what), "reserve hugepages (%u of 2 MB)", l->plan->memory_mb / 2);
	fault(l, p,
	      "bound to %s%s, which needs hugepages, for only theirs are memory's physical addresses known: %s, or "
	      "switch "
	      "the IOMMU on and dpdk-devbind.py -b vfio-pci %s",
	      pci->driver, pci->noiommu ? " without an IOMMU" : "", what, pci->addr);
}

static void look_at_card(struct look *l, const struct conf_port *p)
{
	struct port_pmd_of of = {.device = p->device};
	char addr[PCI_ADDR_LEN], why[PORT_PCI_TEXT];
	struct port_pci pci;

	if (pci_addr_read(p->device, addr) < 0)
		return;
	if (port_pci_check(l->at->host, addr, &pci, why, sizeof(why))) {
		fault(l, p, "%s", why);
		return;
	}
	of.vendor = pci.vendor;
	of.id = pci.device;
	if (l->pmds && !port_pmds_driver(l->pmds, &of))
		fault(l, p, "DPDK has no driver for a card %04x:%04x in %s: take another card", pci.vendor, pci.device,
		      l->at->pmds);
	else if (l->pmds && arguments_wrong(l, p, &of))
		return;
	else if (port_pci_needs_huge(&pci) && !l->plan->huge)
		no_hugepages(l, p, &pci);
}

static bool is_of(const void *drivers, const char *file)
{
	return drivers_has(drivers, file);
}

unsigned devices_check(const struct conf *c, const struct plan *p, const struct devices_at *at, devices_fault_fn *fn,
		       void *ctx)
{
	struct look l = {.conf = c, .plan = p, .at = at, .fn = fn, .ctx = ctx};
	struct port_pmds *pmds = NULL;
	struct drivers few;
	bool named = drivers_of(c, at->pmds, &few);

	if (!other_drivers(c) && port_pmds_load(at->pmds, named ? is_of : NULL, &few, &pmds) == 0)
		l.pmds = pmds;
	for (unsigned i = 0; i < c->n_ports; i++) {
		if (c->ports[i].vdev)
			look_at_vdev(&l, &c->ports[i]);
		else
			look_at_card(&l, &c->ports[i]);
	}
	port_pmds_free(pmds);
	return l.faults;
}
