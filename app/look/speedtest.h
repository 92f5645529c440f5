/* SPDX-License-Identifier: MIT */
#pragma once

/* `kcpgate speedtest`: what a client's tunnel carries, by a connection of its own to the target behind it. */

#include "look.h"

struct speed_want {
	const char *tunnel;
	const char *send; /* down: what makes the target answer with much; NULL: up */
	bool up;	  /* the target is sent bytes that do not compress, and is to throw them away */
	unsigned seconds;
};

/* As look_show. */
int look_speed(struct look *l, const struct speed_want *w, FILE *f);
