/* SPDX-License-Identifier: MIT */
#pragma once

/* One question to the kernel's routing, for when no gateway runs yet. */

#include <stddef.h>

#include "addr.h"

/*
 * The interface by which the kernel would send to dst (for an address of its own: lo); dst NULL: that of the default
 * route with the lowest metric of the main table, IPv4's before IPv6's.  0; -ENETUNREACH when there is none; -ENOSPC
 * when n is too small for its name; or another -errno.
 */
int route_iface(const struct addr *dst, char *ifname, size_t n);
