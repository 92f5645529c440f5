/* SPDX-License-Identifier: MIT */
#pragma once

/* Where gateways of this machine may be asked: DPDK's folders of processes, one below each of these. */

#include <limits.h>

#define FOLDERS_MAX 2

/*
 * As DPDK has it, by RUNTIME_DIRECTORY, or of root /var/run, of others XDG_RUNTIME_DIR or /tmp; and for who was told no
 * folder that of the gateways which systemd runs (conf/service).  Returns how many.
 */
unsigned folders(char v[FOLDERS_MAX][PATH_MAX]);
