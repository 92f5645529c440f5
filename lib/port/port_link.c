/* SPDX-License-Identifier: MIT */

/*
 * What a device says of its link, and whether it is being taken out: DPDK tells of cards under vfio only, whose kernel
 * side asks for them back.  Nothing here listens to the kernel's own events (rte_dev_event_monitor_start).
 */

#include <errno.h>
#include <stdatomic.h>

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_pause.h>

#include "port_int.h"

/* By DPDK's own thread, in which nothing may be closed: vfio's bus waits until somebody else has. */
static void on_event(const char *name, enum rte_dev_event_type type, void *arg)
{
	struct port *p = arg;

	(void)name;
	if (type == RTE_DEV_EVENT_REMOVE)
		atomic_store(&p->gone, true);
}

static const char *device_name(const struct port *p)
{
	struct rte_eth_dev_info info;

	return rte_eth_dev_info_get(p->id, &info) || !info.device ? NULL : rte_dev_name(info.device);
}

void port_watch(struct port *p)
{
	const char *name = device_name(p);

	/* Without it, as of all that are not under vfio, a device that is taken out is only noticed by its silence, or
	 * by its interface's end. */
	if (name)
		rte_dev_event_callback_register(name, on_event, p);
}

void port_unwatch(struct port *p)
{
	const char *name = device_name(p);

	while (name && rte_dev_event_callback_unregister(name, on_event, p) == -EAGAIN)
		rte_pause();
}

void port_link(const struct port *p, struct port_link *l)
{
	struct rte_eth_link got = {0};

	*l = (struct port_link){.up = true, .gone = atomic_load(&p->gone)};
	/* The interface's own state is known, wherever it is: a driver asks for it by name, in its own network
	 * namespace. */
	if (p->ifindex || !p->started || rte_eth_link_get_nowait(p->id, &got))
		return;
	l->told = true;
	l->up = got.link_status == RTE_ETH_LINK_UP;
	l->full = got.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	if (got.link_speed != RTE_ETH_SPEED_NUM_NONE && got.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
		l->mbps = got.link_speed;
}
