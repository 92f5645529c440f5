/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Which of DPDK's drivers a configuration needs.  EAL loads every library in its folder of drivers, two hundred of
 * them, with what those need in turn: 15 MB, and most of the time that a start takes.
 */

#include <limits.h>
#include <stdbool.h>

#include "conf.h"

#define DRIVERS_MAX 12

struct drivers {
	unsigned n;
	char path[DRIVERS_MAX][PATH_MAX]; /* of libraries, for EAL's -d */
};

/*
 * Those in dir that c needs.  False: let EAL load all, for a port is a card or of a driver that may need others,
 * dpdk-dumpcap may attach, the file gives EAL devices or drivers of its own, or a library is missing (then what was
 * there is in d).
 */
bool drivers_of(const struct conf *c, const char *dir, struct drivers *d);
/* Whether a library of the folder, whatever versions its name has behind it, is one of them. */
bool drivers_has(const struct drivers *d, const char *file);
