/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Wide vector code that was written by hand (ISA-L, IPsec-MB) returns with the upper halves of the vector registers in
 * use.  Every SSE instruction of ours and of the C library would then pay for merging into them, more than a hundred
 * nanoseconds where it stalls; so such calls are followed by this.
 */
static inline void upper_clean(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroupper");
#endif
}
