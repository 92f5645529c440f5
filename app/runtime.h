/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/*
 * DPDK's folder of this process, /var/run/dpdk/PREFIX, where its telemetry listens.  DPDK makes it and leaves it
 * behind. A lock in it says that a process lives, whatever its PID is called in other namespaces; several may share a
 * folder.
 */

/*
 * Whether DPDK can make its folder where it is used to, in `base`/dpdk; base NULL: as it will choose by itself, which
 * for an ordinary user is XDG_RUNTIME_DIR or /tmp.  Where another user has /tmp/dpdk, XDG_RUNTIME_DIR becomes a folder
 * of this user's in /tmp.  False: there is no place, and so no telemetry.  Before threads are started.
 */
bool runtime_place(const char *base);

/* The folder is in use by this process from here on.  0 or -errno. */
int runtime_hold(const char *dir);

/* The sockets in it are its user's alone: 0600.  0 or -errno. */
int runtime_close(const char *dir);

/* Removes the folder, if nothing is in it that somebody uses. */
void runtime_leave(const char *dir);

/*
 * Removes the folders beside `dir` that ended processes of ours have left: those with our lock that nobody holds, and
 * kcpgate-PID without one, if there is no such process and nobody listens.  Others are not touched, nor is anything
 * that does not belong there.  Returns how many.
 */
unsigned runtime_sweep(const char *dir);
