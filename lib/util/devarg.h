/* SPDX-License-Identifier: MIT */
#pragma once

/* A device as DPDK is told of it: its name, and behind commas arguments for its driver, "net_tap0,iface=x,mac=fixed".
 */

#include <stdbool.h>
#include <stddef.h>

/* Where the value of the first KEY=VALUE begins, of *n bytes; NULL when there is none. */
const char *devarg_find(const char *device, const char *key, size_t *n);

/* The same, to buf of buf_n bytes, as much as fits; false when there is none, and buf is empty. */
bool devarg_read(const char *device, const char *key, char *buf, size_t buf_n);
