/* SPDX-License-Identifier: MIT */
#pragma once

/* Requests to rtnetlink, one at a time, each answered before the call returns (the kernel works on them in send). */

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

struct mnl_socket;

struct rtnl {
	struct mnl_socket *sock;
	uint32_t seq;
};

int rtnl_open(struct rtnl *r);
void rtnl_close(struct rtnl *r);

/* All return 0 or -errno. */
/* mac: 6 bytes, or NULL: it keeps its own. */
int rtnl_link_set(struct rtnl *r, int ifindex, const uint8_t *mac, unsigned mtu);
int rtnl_link_up(struct rtnl *r, int ifindex);
/* plen: bits of the 128-bit form.  An IPv6 address is usable at once: no duplicate address detection. */
int rtnl_addr_add(struct rtnl *r, int ifindex, const struct addr *a, unsigned plen);
/* A default route of gw's family beside those that exist: it takes the first free metric from the family's usual on. */
int rtnl_default_add(struct rtnl *r, int ifindex, const struct addr *gw);
/* Tells the kernel that the neighbour is in use: it resolves it, or verifies an entry that has gone stale. */
int rtnl_neigh_use(struct rtnl *r, int ifindex, const struct addr *a);
