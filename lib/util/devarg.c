/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "devarg.h"

const char *devarg_find(const char *device, const char *key, size_t *n)
{
	size_t klen = strlen(key);

	for (const char *p = strchr(device, ','); p; p = strchr(p, ',')) {
		p++;
		if (strncmp(p, key, klen) != 0 || p[klen] != '=')
			continue;
		p += klen + 1;
		*n = strcspn(p, ",");
		return p;
	}
	return NULL;
}

bool devarg_read(const char *device, const char *key, char *buf, size_t buf_n)
{
	size_t n = 0;
	const char *at = devarg_find(device, key, &n);

	snprintf(buf, buf_n, "%.*s", (int)n, at ? at : "");
	return at;
}
