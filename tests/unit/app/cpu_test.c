/* SPDX-License-Identifier: MIT */

/* What the gateway says of a CPU; that it says so in time is tests/e2e/cpu_test.py's. */

#include <criterion/criterion.h>
#include <cpuid.h>

#include "cpu.h"

#define NEHALEM	  0x00982201u /* ECX of CPUID's leaf 1: SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT */
#define AES_CLMUL (1u << 25 | 1u << 1)

static const char *missing(uint32_t ecx)
{
	static char list[128];
	size_t n = cpu_missing(ecx, list, sizeof(list));

	cr_assert_eq(n, strlen(list));
	return list;
}

Test(cpu, names_what_is_missing)
{
	cr_assert_str_eq(missing(NEHALEM | AES_CLMUL), "");
	cr_assert_str_eq(missing(UINT32_MAX), "");
	cr_assert_str_eq(missing((NEHALEM | AES_CLMUL) & ~(1u << 20)), "SSE4.2");
	cr_assert_str_eq(missing((NEHALEM | AES_CLMUL) & ~(1u << 20 | 1u << 23)), "SSE4.2, POPCNT");
	cr_assert_str_eq(missing(AES_CLMUL), "SSSE3, CX16, SSE4.1, SSE4.2, POPCNT");
}

/* Of this one nothing, or the test had not begun. */
Test(cpu, this_one_will_do)
{
	uint32_t eax, ebx, ecx = 0, edx;

	cr_assert(__get_cpuid(1, &eax, &ebx, &ecx, &edx));
	cr_assert_str_eq(missing(ecx), "");
}

Test(cpu, list_is_cut)
{
	char list[9];

	memset(list, 'x', sizeof(list));
	cr_assert_eq(cpu_missing(AES_CLMUL, list, 8), 7);
	cr_assert_str_eq(list, "SSSE3, ");
	cr_assert_eq(list[8], 'x');
}
