/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The PROXY protocol's header, version 2 (proxy-protocol.txt of HAProxy, section 2.2), by which a server tells its
 * target whom it speaks for: source is the session's peer, destination where that peer sends to, both of UDP (or fake
 * TCP).  The transport is STREAM, for it is a stream that is relayed; and of anything else HAProxy and nginx take no
 * address.
 */

#include <stdint.h>

struct chan;

#define PROXY_MAX 52 /* bytes: of IPv6; IPv4 takes 28 */

/* Returns its length.  Two families at once are IPv6's, with IPv4 mapped. */
unsigned proxy_head(const struct chan *ch, uint8_t head[PROXY_MAX]);
