/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Memory for keys and what is made of them: it is in no core file, not swapped out as far as RLIMIT_MEMLOCK lets us
 * lock it, and wiped when it is given back.  For set-up code, from any thread.
 */

#include <stdbool.h>
#include <stddef.h>

/* n zeroed bytes, aligned to 64; NULL without memory. */
void *vault_get(size_t n);
/* The same bytes, as many as fit, in n; what was is wiped.  p NULL: vault_get.  NULL: p is as it was. */
void *vault_resize(void *p, size_t n);
/* Wipes all of it.  p may be NULL. */
void vault_put(void *p);

/* Bytes that the vault has of the kernel, and those of them that could not be locked. */
size_t vault_size(void);
size_t vault_unlocked(void);
