/* SPDX-License-Identifier: MIT */
#pragma once

/* Cards made up: folders sys, dev and proc within that of sys.h. */

#include "pci.h"

extern struct port_pci_host cards_host;

void cards_make(void); /* undone by sys_drop */

/* A link at `name` to `to`, whether that is there or not. */
void cards_link(const char *name, const char *to);
/* Where a device has a file, for sys_put; the last two results are good. */
const char *cards_of(const char *addr, const char *what);

/* class: "0x020000\n"; driver NULL: none. */
void cards_put(const char *addr, const char *class, const char *driver);
void cards_driver(const char *addr, const char *driver);
void cards_group(const char *addr, int group);
/* One that DPDK can have: bound to vfio-pci, alone in group 4. */
void cards_good(const char *addr);
