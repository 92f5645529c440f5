/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* The commands that look at a running gateway: argv[0] is the command.  False: it is none of them; else *ret is the
 * exit status. */
bool look_cmd(int argc, char **argv, int *ret);
