/* SPDX-License-Identifier: MIT */
#pragma once

/* A sysfs made up in a temporary folder. */

extern char sys_root[];

#define SYS_MACHINE "kernel/mm/hugepages"
#define SYS_NODE0   "devices/system/node/node0/hugepages"
#define SYS_NODE1   "devices/system/node/node1/hugepages"

void sys_make(void);
void sys_drop(void);

void sys_put(const char *name, const char *text);
/* size: "2048kB" */
void sys_pages(const char *where, const char *size, unsigned total, unsigned free);

/* CPUs 0-3 and 8 on node 0, 4-7 and 9-11 on node 1; PCI devices 0000:03:00.0 on node 1, 0000:04:00.1 on none. */
void sys_two_nodes(void);
