/* SPDX-License-Identifier: MIT */
#pragma once

/* Is there a device for every port, and can DPDK have it?  Asked before anything is started, of files alone. */

#include "pci.h"
#include "plan.h"

struct devices_at {
	const struct port_pci_host *host;
	const char *pmds; /* folder of DPDK's drivers */
};

extern const struct devices_at devices_here;

/* One line, "port wan0: 0000:03:00.0: ...", that names what is wrong and the way out. */
typedef void devices_fault_fn(void *ctx, const char *text);

#define DEVICES_TEXT 512

/*
 * Calls fn for each port whose device cannot be had; returns how many there are.  p is the plan that is carried out:
 * without hugepages some cannot be.  The kernel's interfaces are not asked for: the gateway waits for them.
 */
unsigned devices_check(const struct conf *c, const struct plan *p, const struct devices_at *at, devices_fault_fn *fn,
		       void *ctx);
