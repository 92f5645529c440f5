/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A PCI device as sysfs tells it: is it there, in whose hands is it, and can DPDK have it.  Reads only.  Where sysfs,
 * /dev and /proc are is an argument, so that all of it is tested on folders made up.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pciaddr.h"

#define PORT_PCI_IFS  4
#define PORT_PCI_TEXT 400 /* bytes of why that hold every message */

struct port_pci_host {
	const char *sys, *dev, *proc;
};

extern const struct port_pci_host port_pci_here; /* "/sys", "/dev", "/proc" */

enum port_pci_hands {
	PORT_PCI_FREE,	 /* no driver has it */
	PORT_PCI_KERNEL, /* a driver of the kernel's, which must let go of it */
	PORT_PCI_BESIDE, /* a driver of the kernel's that DPDK's works beside: Mellanox, MANA */
	PORT_PCI_VFIO,
	PORT_PCI_UIO,
};

struct port_pci {
	char addr[PCI_ADDR_LEN];
	uint16_t vendor, device;
	uint32_t class;	 /* 24 bits, 0x020000: Ethernet */
	char driver[32]; /* the kernel's; empty: none */
	enum port_pci_hands hands;
	int group;	/* of the IOMMU; -1: none, the machine has no IOMMU or it is off */
	bool noiommu;	/* the group is one of vfio's without an IOMMU */
	unsigned n_ifs; /* interfaces of the kernel's that stand on it: */
	char ifs[PORT_PCI_IFS][16];
	char uio[16]; /* "uio0"; empty: none */
};

/* addr: in the kernel's form.  0 or -ENODEV: there is none at this address. */
int port_pci_read(const struct port_pci_host *h, const char *addr, struct port_pci *p);

/*
 * False: by its class it is certainly something else than a device with ports of DPDK's.  What the doctor and
 * scripts/host go by too.
 */
bool port_pci_may_serve(const struct port_pci *p);

/* Its driver translates no addresses: memory must be where the device finds it, in hugepages. */
bool port_pci_needs_huge(const struct port_pci *p);

/*
 * The devices at PCI addresses in their order: those of an IOMMU group, or (group < 0) the network devices of the
 * machine.  At most max are written to addr; returns how many there are.
 */
unsigned port_pci_list(const struct port_pci_host *h, int group, char (*addr)[PCI_ADDR_LEN], unsigned max);

/*
 * Can DPDK take it now?  0 and *p; or a negative errno and one line that says why not and the way out: -ENODEV (absent,
 * no network device, bound to no driver or to the kernel's), -EPERM (its IOMMU group is shared with a device in the
 * kernel's hands), -EACCES (its file is not ours to open, or is missing), -EBUSY (a process has its group of vfio's,
 * which may be this one).  Reads sysfs only, and opens that one file: it may be asked again and again.
 */
int port_pci_look(const struct port_pci_host *h, const char *addr, struct port_pci *p, char *why, size_t n);

/*
 * Which other process has the file of a device that was read: -EBUSY and a line that names it, or 0, and why is as it
 * was.  Reads every descriptor of every process, which takes long: not for a thread that others wait for.
 */
int port_pci_holder(const struct port_pci_host *h, const struct port_pci *p, char *why, size_t n);

/* The two together, for a start and for whoever wants to know what keeps it from succeeding. */
int port_pci_check(const struct port_pci_host *h, const char *addr, struct port_pci *p, char *why, size_t n);
