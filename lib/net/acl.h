/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Who may come: prefixes of source addresses, each allowed or denied.  Of those that hold an address the longest
 * decides, and where none does, one word for all.  Kept as the edges at which the answer changes, in order, so that a
 * look is a search by halves, and costs the same for both families.  Immutable; any number of readers.
 */

#include <stdbool.h>

#include "addr.h"

struct net_acl;

struct net_acl_rule {
	struct addr prefix; /* without host bits */
	uint8_t plen;	    /* bits of all 128: of IPv4 96 more than it says */
	bool allow;
};

/* No two rules are of one prefix.  0 or -ENOMEM. */
int net_acl_create(struct net_acl **out, const struct net_acl_rule *v, unsigned n, bool otherwise);
/* a may be NULL. */
void net_acl_destroy(struct net_acl *a);
bool net_acl_allows(const struct net_acl *a, const struct addr *from);
