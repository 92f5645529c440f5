/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the gateway gives up for itself, so that whoever takes it over has little: rights that it does not need, other
 * people's looks at its memory, and the system calls that it never makes.
 *
 * Rights are a thread's, not a process's, and a thread inherits them from the one that starts it.  So they go before
 * there is a second thread, and whatever has to be done later works with what is left: ports that come back are opened
 * anew, the kernel's switches of a TAP are set, addresses and routes are added.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"

/* ---- wanted.c ---- */

/*
 * The capabilities that the file's ports and tunnels need for as long as the gateway runs.  `root`: whether it stays
 * user 0; then CAP_DAC_OVERRIDE too, where a file's folder or a socket is another user's.
 */
uint64_t posture_wanted(const struct conf *c, bool root);

/* ---- lower.c ---- */

/*
 * Becomes security.user, keeps the capabilities that are wanted and no others in any set, shuts the ways to new ones
 * (no_new_privs), and keeps its memory from core files and other processes.  Before the first thread.  0, or -errno
 * with a line in why.
 */
int posture_lower(const struct conf *c, char *why, size_t why_n);

/* What posture_lower would keep; for `kcpgate check`. */
uint64_t posture_would_keep(const struct conf *c);

/* What is wrong with security.user on this machine, for `kcpgate check`; 0 or -errno. */
int posture_check(const struct conf *c, char *why, size_t why_n);

/* The capabilities of this thread, CAP_BIT of each. */
uint64_t posture_caps(void);

/* Who it has become and what it has kept: "user 0, capabilities NET_ADMIN, NET_RAW"; returns buf. */
#define POSTURE_TEXT 600
const char *posture_text(char buf[POSTURE_TEXT]);

/* ---- keeper.c ---- */

/*
 * A thread that was started before posture_lower, and still has all rights, until posture_keeper_end: for the one thing
 * that is done at the start only and needs more, to see whose the XDP program is that a killed process has left.
 */
int posture_keeper_start(void);
/* Calls fn there and waits for it; without a keeper right here. */
void posture_keeper_run(void (*fn)(void *arg), void *arg);
void posture_keeper_end(void);

/* ---- sandbox.c ---- */

/*
 * Refuses, in all threads and for good, the system calls that a running gateway does not make, if security.sandbox is
 * set.  Those that are made to take a machine over end the process (SIGSYS), others fail with EPERM and are counted.
 * When everything is up.  0 or -errno: it is as before.
 */
int posture_sandbox(const struct conf *c);
bool posture_sandboxed(void);
/* System calls that were refused so far. */
uint64_t posture_refused(void);
/* Warns in the log of those that are new.  The control thread's, now and then. */
void posture_tell(void);
