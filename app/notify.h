/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the service manager that started us is told (sd_notify(3), Type=notify): by datagrams to the socket that
 * NOTIFY_SOCKET names.  Without one nothing is said.  The protocol is a few lines of text that systemd promises to
 * keep; libsystemd's own sd_notify() waits while the manager does not read, and the control thread may not: what does
 * not fit into the manager's queue is lost, and a watchdog's word is said again at the next turn.
 *
 * Opened and closed where no other thread tells anything; the watchdog's word is control's, the others are any
 * thread's.
 */

#include <stdint.h>

/*
 * Looks who is to be told, and opens a socket for it, which is to be had before rights are given up.  The environment
 * is left as it is, for a process that starts itself again (again.h).  A name that makes no sense is nobody.
 */
void notify_open(void);
void notify_close(void);

/* Everything is up: at the start, and behind a reload. */
void notify_ready(void);
/* The configuration is read anew, until notify_ready. */
void notify_reloading(void);
void notify_stopping(void);
/* A line for `systemctl status`; it is cut to one, and to 200 bytes. */
void notify_status(const char *text);

/*
 * We are alive: at every turn of control's, and as often as twice within the time that the manager gives
 * (WATCHDOG_USEC, WATCHDOG_PID) it is said.  Nothing where it gives none.
 */
void notify_watchdog(void);
