/* SPDX-License-Identifier: MIT */
#include "folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SERVICES "/run/kcpgate/dpdk" /* conf/service/kcpgate.tmpfiles */

unsigned folders(char v[FOLDERS_MAX][PATH_MAX])
{
	const char *told = getenv("RUNTIME_DIRECTORY"), *dir = told;

	if (!dir && getuid() != 0)
		dir = getenv("XDG_RUNTIME_DIR");
	snprintf(v[0], PATH_MAX, "%s/dpdk", dir ? dir : getuid() == 0 ? "/var/run" : "/tmp");
	if (told)
		return 1;
	snprintf(v[1], PATH_MAX, SERVICES);
	return 2;
}
