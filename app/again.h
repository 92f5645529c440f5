/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A start that is made a second time.  EAL cannot be started twice in a process; where hugepages that were free when we
 * looked are gone when it takes them, and nobody has asked for hugepages, the program begins anew in its own place
 * (same PID, same arguments, the key of the environment too), and this time with ordinary pages.
 */

#include <stdbool.h>

/* First of all, before anything is written over argv.  What it keeps may be a key. */
void again_keep(char **argv);
/* Wipes what was kept: started, or not to be tried again. */
void again_forget(void);
/* This is the second time. */
bool again_is(void);
/* Begins anew; returns only with -errno: -EALREADY the second time, -ENOMEM without what should have been kept. */
int again_start(void);
