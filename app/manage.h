/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Telemetry's commands that change something: /kcpgate/reload, /kcpgate/compare, /kcpgate/drain.  They answer on
 * threads of DPDK's, of who may use the telemetry socket: this user and root.
 */

struct app;

/* 0 or -errno. */
int manage_start(struct app *a);
/* From here on they answer with an error; who is being answered is waited for. */
void manage_stop(void);

/* `kcpgate reload`, `kcpgate drain`: argv[0] is the word.  The exit status. */
int manage_cmd(int argc, char **argv);
/* `kcpgate check --against-running`: what a reload of the file at `path` would do in the gateway that `prefix` names.
 */
int manage_compare(const char *prefix, const char *path);
