/* SPDX-License-Identifier: MIT */
#pragma once

/* "Operation not permitted" in words: which capability this process lacks of those that a thing needs. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAP_TEXT 400

/* Of a port's device: ": CAP_NET_RAW is missing, for packet sockets", or "" when it has all; returns buf. */
const char *cap_of_device(const char *device, bool vdev, char buf[CAP_TEXT]);

/* Of a port to listen on that the kernel refused with err: likewise. */
const char *cap_of_listen(int err, unsigned port);
