/* SPDX-License-Identifier: MIT */
#include "prefix.h"

#include <stdio.h>
#include <string.h>

#include "conf.h"

char *prefix_of(const char *path, char *why, size_t why_n)
{
	struct conf *c;
	char *prefix;

	if (conf_load(path, &c, why, why_n))
		return NULL;
	prefix = strdup(c->eal.file_prefix);
	if (!prefix)
		snprintf(why, why_n, "%s: no memory", path);
	conf_free(c);
	return prefix;
}
