/* SPDX-License-Identifier: MIT */

/*
 * Compiled for any x86-64 CPU, without DPDK's flags, and called by the dynamic linker before the constructors of all
 * libraries.  The C library has been relocated by then and not more: nothing is used of it but system calls.
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

static const struct {
	uint32_t bit;
	const char *name;
} needed[] = {
	/* What DPDK and all that is compiled against it may use: it is built for Nehalem. */
	{1u << 9, "SSSE3"},
	{1u << 13, "CX16"},
	{1u << 19, "SSE4.1"},
	{1u << 20, "SSE4.2"},
	{1u << 23, "POPCNT"},
#if CPU_AES
	/* Until 1.5 IPsec-MB emulates them. */
	{1u << 1, "PCLMULQDQ"},
	{1u << 25, "AES-NI"},
#endif
};

/* The sanitizers' own beginning may be later. */
#define EARLY __attribute__((no_sanitize("address", "undefined")))

EARLY static size_t put(char *list, size_t size, size_t n, const char *text)
{
	for (; *text && n + 1 < size; text++)
		list[n++] = *text;
	list[n] = '\0';
	return n;
}

EARLY size_t cpu_missing(uint32_t ecx, char *list, size_t size)
{
	size_t n = put(list, size, 0, "");

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ecx & needed[i].bit)
			continue;
		n = put(list, size, n, n ? ", " : "");
		n = put(list, size, n, needed[i].name);
	}
	return n;
}

EARLY static void check(void)
{
	uint32_t eax, ebx, ecx = 0, edx;
	char list[128], line[256];
	size_t n;

	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	if (cpu_missing(ecx, list, sizeof(list)) == 0)
		return;
	n = put(line, sizeof(line), 0, "kcpgate: this CPU lacks ");
	n = put(line, sizeof(line), n, list);
	n = put(line, sizeof(line), n, ", without which it cannot run (README: the least CPU)\n");
	while (n && write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		;
	_exit(EXIT_FAILURE);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = check;

#else

size_t cpu_missing(uint32_t ecx, char *list, size_t size)
{
	(void)ecx;
	if (size)
		list[0] = '\0';
	return 0;
}

#endif
