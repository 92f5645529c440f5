/* SPDX-License-Identifier: MIT */
#pragma once

/* What bed.c, which makes beds, and bed_run.c, which lets them run, share. */

#include "bed.h"

#define BED_PORT 4000	/* the server's */
#define BED_WIRE 65536u /* frames on the way to a gate */

struct bed_frame {
	uint64_t step; /* when it arrives */
	uint16_t n;
	uint8_t data[1526];
};

/* Exits with a message when what was asked for could not be had. */
void bed_need(bool ok, const char *what);
uint64_t bed_random(struct bed *b);

static inline struct addr bed_addr(int e)
{
	return addr_v4(0x0a000001u + (uint32_t)e);
}
