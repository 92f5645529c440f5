/* SPDX-License-Identifier: MIT */
#pragma once

/* "Operation not permitted" in words: which capability this process lacks of those that a thing needs. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAP_TEXT 400

/* Of a port's device: ": CAP_NET_RAW is missing, for packet sockets", or "" when it has all; returns buf. */
const char *cap_of_device(const char *device, bool vdev, char buf[CAP_TEXT]);

#define CAP_BIT(cap) (UINT64_C(1) << (cap))

/*
 * The capabilities, CAP_BIT of each, that a port's device wants as long as the gateway runs: its interface may go and
 * come back, and then all is done again.  Of a driver that is not known, cap_any's.
 */
uint64_t cap_mask(const char *device, bool vdev);
/* What any network device may want. */
uint64_t cap_any(void);

/* "NET_ADMIN, NET_RAW", or "none"; returns buf. */
const char *cap_text(uint64_t mask, char buf[CAP_TEXT]);

/* Of a port to listen on that the kernel refused with err: likewise. */
const char *cap_of_listen(int err, unsigned port);
