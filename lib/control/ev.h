/* SPDX-License-Identifier: MIT */
#pragma once

/* What a turn dispatches: readiness of file descriptors, and timers. */

#include <stdint.h>

#include "wheel.h"

struct ctl;

/* A file descriptor in the epoll set.  The object that holds it may be freed only by ctl_bury, or outside of a turn. */
struct ev {
	int fd;
	void (*fn)(struct ctl *c, struct ev *e, uint32_t events);
};

struct timer {
	struct wheel_ent ent;
	void (*fn)(struct ctl *c, struct timer *t);
};
