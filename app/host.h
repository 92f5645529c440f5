/* SPDX-License-Identifier: MIT */
#pragma once

/* What a gateway that runs from a command line alone asks of the machine. */

#include "conf.h"

struct host {
	struct conf_host conf;
	bool lookup; /* names are resolved here and now, however long that takes */
	char lcores[4096];
	char file_prefix[32];
};

/* An interface's MTU within what a port may have; 1500 when there is none of that name. */
unsigned host_mtu(const char *ifname);

/* An interface's speed in Mb/s; 0: not known, as of many virtual ones, or there is none of that name. */
unsigned host_mbps(const char *ifname);
/* Those of the interfaces that c's ports stand on; 0 too for a port that stands on none of the kernel's. */
void host_ports_mbps(const struct conf *c, unsigned mbps[CONF_PORTS_MAX]);

/* KCPTUN_KEY, one control and one worker thread that float over all CPUs we may use, and the kernel's routes. */
void host_init(struct host *h, bool lookup);
/* Overwrites the key in the environment, where others of this user could read it. */
void host_wipe(struct host *h);
