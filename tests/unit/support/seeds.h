/* SPDX-License-Identifier: MIT */
#pragma once

/* How many seeds: a sanitizer looks at what each step does with memory, and sees it with fewer, at ten times the cost.
 */

#ifdef __SANITIZE_ADDRESS__
#define SEEDS_OF(plain, sanitized) (sanitized)
#else
#define SEEDS_OF(plain, sanitized) (plain)
#endif
