/* SPDX-License-Identifier: MIT */

/* Network cards: is each there, in whose hands, and what would hand it over. */

#include <errno.h>
#include <string.h>

#include "doctor_int.h"
#include "pci.h"

#define LISTED	64 /* network devices of a machine that are shown */
#define BY_BOOT "in GRUB_CMDLINE_LINUX of /etc/default/grub, update-grub, and a reboot"

static struct port_pci_host host(const struct doctor *d)
{
	return (struct port_pci_host){d->sys, d->dev, d->proc};
}

/* The address of a port that is a PCI device; false: it is none. */
static bool address(const struct conf_port *p, char addr[PCI_ADDR_LEN])
{
	return !p->vdev && pci_addr_read(p->device, addr) > 0;
}

/* Any card of the file that is there and of which it is true. */
static bool any(const struct doctor *d, bool (*is)(const struct port_pci *p))
{
	struct port_pci_host h = host(d);
	char addr[PCI_ADDR_LEN];
	struct port_pci p;

	for (unsigned i = 0; i < d->conf->n_ports; i++)
		if (address(&d->conf->ports[i], addr) && port_pci_read(&h, addr, &p) == 0 && is(&p))
			return true;
	return false;
}

bool doctor_needs_huge(const struct doctor *d)
{
	return any(d, port_pci_needs_huge);
}

static bool is_vfio(const struct port_pci *p)
{
	return p->hands == PORT_PCI_VFIO;
}

bool doctor_has_vfio(const struct doctor *d)
{
	return any(d, is_vfio);
}

/* "0000:03:00.0 (8086:10d3), igb (ens3), IOMMU group 12" */
static const char *describe(const struct port_pci *p, char buf[DOCTOR_TEXT / 2])
{
	const size_t n = DOCTOR_TEXT / 2;
	size_t at;

	at = (size_t)snprintf(buf, n, "%s (%04x:%04x), %s", p->addr, p->vendor, p->device,
			      p->driver[0] ? p->driver : "no driver");
	for (unsigned i = 0; i < p->n_ifs && at < n; i++)
		at += (size_t)snprintf(buf + at, n - at, "%s%s%s", i ? " " : " (", p->ifs[i],
				       i + 1 == p->n_ifs ? ")" : "");
	if (p->group >= 0 && at < n)
		snprintf(buf + at, n - at, ", IOMMU group %d%s", p->group, p->noiommu ? " without an IOMMU" : "");
	return buf;
}

/* ---- the machine: what may drive a card ---- */

enum module { MODULE_LOADED, MODULE_THERE, MODULE_NONE };

/* name: "vfio-pci"; its folder under /sys/module has an underscore. */
static enum module module(const struct doctor *d, const char *name)
{
	char release[128], path[256], file[64];

	if (doctor_exists(d, "/sys/bus/pci/drivers/%s", name))
		return MODULE_LOADED;
	doctor_read(d, release, sizeof(release), "/proc/sys/kernel/osrelease");
	snprintf(file, sizeof(file), "/%s.ko", name);
	snprintf(path, sizeof(path), "/lib/modules/%.128s/modules.dep", release);
	if (doctor_says(d, path, file))
		return MODULE_THERE;
	snprintf(path, sizeof(path), "/lib/modules/%.128s/modules.builtin", release);
	return doctor_says(d, path, file) ? MODULE_THERE : MODULE_NONE;
}

static const char *const module_words[] = {
	[MODULE_LOADED] = "loaded", [MODULE_THERE] = "there, not loaded", [MODULE_NONE] = "not of this kernel"};

static bool has_noiommu(const struct doctor *d)
{
	char word[8];

	return doctor_read(d, word, sizeof(word), "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") &&
	       word[0] == 'Y';
}

/* A card that vfio has without an IOMMU is in a group too, of vfio's own making. */
static bool has_iommu(const struct doctor *d)
{
	return doctor_names(d, "", "/sys/class/iommu") ||
	       (doctor_names(d, "", "/sys/kernel/iommu_groups") && !has_noiommu(d));
}

/* wanted: some port is to be vfio-pci's. */
static void iommu(struct doctor *d, bool wanted)
{
	if (has_iommu(d)) {
		doctor_add(d, DOCTOR_OK, "IOMMU: on");
		return;
	}
	if (has_noiommu(d)) {
		doctor_add(d, DOCTOR_HINT, "IOMMU: none; vfio runs without (enable_unsafe_noiommu_mode)");
		doctor_why(d, "a card may write anywhere in memory, and so may who controls this process");
		doctor_mend(d, "intel_iommu=on or amd_iommu=on " BY_BOOT);
		return;
	}
	doctor_add(d, wanted ? DOCTOR_MISSING : DOCTOR_HINT,
		   "IOMMU: none, or it is off; vfio's mode without is off too");
	doctor_why(d, "vfio-pci lets a card reach the gateway's memory and no other: it needs the IOMMU");
	doctor_mend(d, "VT-d or AMD-Vi in the firmware (of a virtual machine: a virtual IOMMU), then intel_iommu=on or "
		       "amd_iommu=on " BY_BOOT "; where there is none: scripts/host --uio");
}

static void drivers(struct doctor *d, bool wanted)
{
	enum module vfio = module(d, "vfio-pci"), uio = module(d, "uio_pci_generic");
	bool bad = wanted && vfio == MODULE_NONE;

	doctor_add(d, bad ? DOCTOR_MISSING : DOCTOR_OK, "vfio-pci: %s; uio_pci_generic: %s", module_words[vfio],
		   module_words[uio]);
	if (!bad)
		return;
	doctor_why(d, "DPDK drives a card through one of them");
	doctor_mend(d, "a kernel that has them: package linux-image-amd64");
}

/* ---- one card ---- */

static void absent(struct doctor *d, const struct conf_port *c, const char *addr)
{
	char all[LISTED][PCI_ADDR_LEN], text[DOCTOR_TEXT] = "";
	struct port_pci_host h = host(d);
	unsigned n = port_pci_list(&h, -1, all, LISTED);
	size_t at = 0;

	doctor_add(d, DOCTOR_MISSING, "port %s: no PCI device %s", c->name, addr);
	doctor_why(d, "the gateway does not start");
	for (unsigned i = 0; i < n && i < LISTED && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s %s", i ? "," : ":", all[i]);
	doctor_mend(d, "the address of a network device of this machine%.300s (kcpgate doctor, without -c)",
		    n ? text : ", which has none");
}

/* What a card in the kernel's hands says of its queues: it will be the same card. */
static void queues(struct doctor *d, const struct conf_port *c, const struct port_pci *p)
{
	unsigned workers = conf_workers(d->conf), n;
	int rss;

	if (!p->n_ifs)
		return;
	n = doctor_names(d, "rx-", "/sys/class/net/%s/queues", p->ifs[0]);
	if (workers <= 1 || n == 0)
		return;
	rss = d->ask.rss(p->ifs[0]);
	if (n >= workers && rss != 0) {
		doctor_add(d, DOCTOR_OK, "port %s: %u receive queues under %s%s, %u workers", c->name, n, p->driver,
			   rss > 0 ? ", with RSS" : "", workers);
		return;
	}
	doctor_add(d, DOCTOR_HINT, "port %s: %u receive queues%s under %s, %u workers", c->name, n,
		   rss == 0 ? " without RSS" : "", p->driver, workers);
	doctor_why(d, "workers without a queue of their own get their packets from others, by software");
	doctor_mend(d, "ethtool -l %s: can it have more? As many as that do better as workers", p->ifs[0]);
}

static void in_kernel(struct doctor *d, const struct conf_port *c, const struct port_pci *p)
{
	char text[DOCTOR_TEXT / 2];

	doctor_add(d, DOCTOR_MISSING, "port %s: %s", c->name, describe(p, text));
	doctor_why(d, p->hands == PORT_PCI_FREE
			      ? "DPDK reaches a card through vfio-pci or uio_pci_generic only"
			      : "it is in the kernel's hands; DPDK reaches a card through vfio-pci or "
				"uio_pci_generic only");
	doctor_mend(d, "scripts/host %s; or, until the next boot: modprobe vfio-pci; dpdk-devbind.py -b vfio-pci %s",
		    p->addr, p->addr);
	queues(d, c, p);
}

/* Secure Boot's lockdown leaves a card's registers to the kernel's drivers and vfio. */
static bool locked_down(const struct doctor *d)
{
	char word[64];

	return doctor_read(d, word, sizeof(word), "/sys/kernel/security/lockdown") && !strstr(word, "[none]");
}

static void by_uio(struct doctor *d, const struct conf_port *c, const struct port_pci *p)
{
	char text[DOCTOR_TEXT / 2];
	bool locked = locked_down(d);

	doctor_add(d, locked ? DOCTOR_MISSING : DOCTOR_HINT, "port %s: %s%s", c->name, describe(p, text),
		   locked ? ", and the kernel is locked down" : "");
	if (locked) {
		doctor_why(d, "the kernel hands out no registers of a card then, but to vfio");
		doctor_mend(d, "scripts/host %s (vfio-pci); or Secure Boot off", p->addr);
		return;
	}
	doctor_why(d,
		   "it works, but the card may write anywhere in memory; root and hugepages are needed, and there are "
		   "no interrupts a queue");
	doctor_mend(d,
		    has_iommu(d) ? "this machine has an IOMMU: scripts/host %s (vfio-pci)"
				 : "where there is an IOMMU to be had: scripts/host %s (vfio-pci)",
		    p->addr);
}

/* Narrower or slower than both could: in a slot of fewer lanes, or badly seated. */
static void lanes(struct doctor *d, const struct conf_port *c, const struct port_pci *p)
{
	char speed[2][32], width[2][8];
	const char *const of[2] = {"current", "max"};

	for (int i = 0; i < 2; i++)
		if (!doctor_read(d, speed[i], sizeof(speed[i]), "/sys/bus/pci/devices/%s/%s_link_speed", p->addr,
				 of[i]) ||
		    !doctor_read(d, width[i], sizeof(width[i]), "/sys/bus/pci/devices/%s/%s_link_width", p->addr,
				 of[i]))
			return;
	if (!strncmp(speed[0], "Unknown", 7) || (!strcmp(speed[0], speed[1]) && !strcmp(width[0], width[1])))
		return;
	doctor_add(d, DOCTOR_HINT, "port %s: PCIe link of %s x%s, the card can %s x%s", c->name, speed[0], width[0],
		   speed[1], width[1]);
	doctor_why(d, "the slot may carry less than the card");
	doctor_mend(d, "a slot with as many lanes; seat the card again");
}

static void ours(struct doctor *d, const struct conf_port *c, const struct port_pci *p)
{
	struct port_pci_host h = host(d);
	char text[DOCTOR_TEXT / 2], why[PORT_PCI_TEXT];
	struct port_pci again;
	int err;

	err = port_pci_check(&h, p->addr, &again, why, sizeof(why));
	if (err && !(err == -EBUSY && d->running)) {
		doctor_add(d, DOCTOR_MISSING, "port %s: %s", c->name, describe(p, text));
		doctor_why(d, "%s", why);
		return;
	}
	if (p->hands == PORT_PCI_UIO) {
		by_uio(d, c, p);
		return;
	}
	doctor_add(d, p->noiommu ? DOCTOR_HINT : DOCTOR_OK, "port %s: %s; queues and RSS: the log tells at the start",
		   c->name, describe(p, text));
	if (p->noiommu)
		doctor_why(d, "a card may write anywhere in memory, and so may who controls this process");
}

static void card(struct doctor *d, const struct conf_port *c, const char *addr)
{
	struct port_pci_host h = host(d);
	struct port_pci p;

	if (port_pci_read(&h, addr, &p)) {
		absent(d, c, addr);
		return;
	}
	if (!port_pci_may_serve(&p)) {
		doctor_add(d, DOCTOR_MISSING, "port %s: %s is no network device", c->name, addr);
		doctor_mend(d, "kcpgate doctor, without -c, lists those of this machine");
		return;
	}
	if (p.hands == PORT_PCI_KERNEL || p.hands == PORT_PCI_FREE)
		in_kernel(d, c, &p);
	else
		ours(d, c, &p);
	lanes(d, c, &p);
}

/* ---- all ---- */

static void list(struct doctor *d)
{
	char all[LISTED][PCI_ADDR_LEN], text[DOCTOR_TEXT / 2];
	struct port_pci_host h = host(d);
	unsigned n = port_pci_list(&h, -1, all, LISTED);
	struct port_pci p;

	iommu(d, false);
	drivers(d, false);
	if (n == 0)
		doctor_add(d, DOCTOR_OK, "no network device on PCI");
	for (unsigned i = 0; i < n && i < LISTED; i++)
		if (port_pci_read(&h, all[i], &p) == 0)
			doctor_add(d, DOCTOR_OK, "%s", describe(&p, text));
}

void doctor_devices(struct doctor *d)
{
	struct port_pci_host h = host(d);
	bool found = false, vfio = false;
	char addr[PCI_ADDR_LEN];
	struct port_pci p;

	if (!d->conf) {
		list(d);
		return;
	}
	for (unsigned i = 0; i < d->conf->n_ports; i++) {
		if (!address(&d->conf->ports[i], addr))
			continue;
		found = true;
		vfio |= port_pci_read(&h, addr, &p) || (p.hands != PORT_PCI_UIO && p.hands != PORT_PCI_BESIDE);
	}
	if (!found)
		return;
	iommu(d, vfio);
	drivers(d, vfio);
	for (unsigned i = 0; i < d->conf->n_ports; i++)
		if (address(&d->conf->ports[i], addr))
			card(d, &d->conf->ports[i], addr);
}
