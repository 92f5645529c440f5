/* SPDX-License-Identifier: MIT */
#pragma once

/* What a gateway that runs from a command line alone asks of the machine. */

#include "conf.h"

struct host {
	struct conf_host conf;
	char lcores[4096];
	char file_prefix[32];
};

/* KCPTUN_KEY, one control and one worker thread that float over all CPUs we may use, and the kernel's routes. */
void host_init(struct host *h);
/* Overwrites the key in the environment, where others of this user could read it. */
void host_wipe(struct host *h);
