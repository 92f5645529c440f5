/* SPDX-License-Identifier: MIT */
#pragma once

/* CLOCK_MONOTONIC with a lead, for what control does after minutes.  Link clock.c into the suite that wants it. */

#include <stdint.h>

struct lab;

/* So much time passes at once, and then a few turns. */
void clock_skip(struct lab *l, uint64_t ms);
