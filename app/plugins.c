/* SPDX-License-Identifier: MIT */

/*
 * EAL loads its whole folder of drivers, before those that it is told of, and knows no argument against it; but for a
 * program that it is a part of, not a library of.  Which of both it is it asks the dynamic linker: is librte_eal.so
 * loaded?  Nobody else asks that, and what a program defines goes before the C library's.
 */

#include "plugins.h"

#include <dlfcn.h>
#include <string.h>

#include <rte_eal.h>

#define EAL_SO "librte_eal.so"

static bool only_named;

bool plugins_only_named(void)
{
	Dl_info at;

	/* In a program that it is a part of, a driver would bring a second EAL with it. */
	if (dladdr((void *)rte_eal_init, &at) == 0 || !at.dli_fname || !strstr(at.dli_fname, EAL_SO))
		return false;
	only_named = true;
	return true;
}

__attribute__((visibility("default"))) void *dlopen(const char *file, int mode)
{
	static void *(*real)(const char *, int);

	if (only_named && file && mode & RTLD_NOLOAD && strncmp(file, EAL_SO, strlen(EAL_SO)) == 0)
		return NULL;
	if (!real)
		real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
	return real(file, mode);
}
