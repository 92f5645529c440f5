/* SPDX-License-Identifier: MIT */
#pragma once

/* Between struct addr and the kernel's socket addresses. */

#include <stdint.h>
#include <sys/socket.h>

#include "addr.h"

/* IPv4 (mapped) becomes AF_INET, the rest AF_INET6.  Returns the length. */
socklen_t sock_addr(const struct addr *a, uint16_t port, struct sockaddr_storage *ss);

/* Sets the interface that a link-local address is on.  zone: its name; NULL leaves ss.  0, or -ENODEV: there is none.
 */
int sock_zone(struct sockaddr_storage *ss, const char *zone);

/* The reverse; unspecified and 0 for other families. */
void sock_addr_read(const struct sockaddr_storage *ss, struct addr *a, uint16_t *port);
