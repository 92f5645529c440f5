/* SPDX-License-Identifier: MIT */

/* What a device says of its link. */

#include <rte_ethdev.h>

#include "port.h"

void port_link(const struct port *p, struct port_link *l)
{
	struct rte_eth_link got = {0};

	*l = (struct port_link){.up = true};
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
