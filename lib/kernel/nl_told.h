/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net.h"

struct nlmsghdr;

/* A route as a message tells it. */
struct nl_told {
	int family;
	struct addr prefix;
	unsigned plen;
	uint32_t metric;
	union {
		struct net_way way;
		uint8_t room[sizeof(struct net_way) + NET_WAY_MEMBERS * sizeof(struct net_member)];
	};
};

/* Reads RTM_NEWROUTE or RTM_DELROUTE; false: it is no route of the main table, or of a kind that is not followed. */
bool nl_told_read(const struct nlmsghdr *h, struct nl_told *t);
