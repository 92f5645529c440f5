/* SPDX-License-Identifier: MIT */
#pragma once

/* EAL's argument vector, from the configuration and the plan. */

#include "drivers.h"
#include "plan.h"

#define EAL_ARGS_MAX                                               \
	(LIMIT_EAL_ARGS + 2 * CONF_PORTS_MAX + 2 * DRIVERS_MAX +   \
	 20) /* theirs, the devices and ours, with the NULL behind \
	      */
#define EAL_MEM_MAX (TOPO_NODES_MAX * 11)

struct eal_args {
	int n;
	char *argv[EAL_ARGS_MAX];
	char mem[2][EAL_MEM_MAX]; /* texts of it; the others are the plan's and the configuration's */
};

/*
 * Of PCI devices EAL gets those of the ports with their arguments, and none else of the machine: what other gateways
 * have, or anybody, is not touched.  debug: EAL is to say all that it does.  d: the drivers to load, beside what the
 * file names, or NULL.
 */
void eal_args_make(struct eal_args *a, const struct conf *c, const struct plan *p, const struct drivers *d, bool debug);
