/* SPDX-License-Identifier: MIT */
#pragma once

/* The rigs of the unit suites in a fuzz target: what they assert ends the program. */

#include "fuzz.h"

#define cr_assert(c, ...)	       ((c) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #c, " " __VA_ARGS__))
#define cr_assert_not(c, ...)	       cr_assert(!(c), __VA_ARGS__)
#define cr_assert_eq(a, b, ...)	       cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...)       cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...)	       cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...)       cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...)	       cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...)       cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_null(p, ...)	       cr_assert((p) == NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...)     cr_assert((p) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)    cr_assert(strcmp(a, b) == 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) cr_assert(memcmp(a, b, n) == 0, __VA_ARGS__)
