/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The conversations of a key that there have been (lib/fresh/book.h), in a file that outlives the process: mapped, so
 * that the kernel writes it back whatever becomes of us, and all processes of a host with that key share it.
 */

#include <stddef.h>
#include <stdint.h>

#include "book.h"

/* Of a key, by crypt_derive: the file's name, what its head must bear, and the seed of what lies in it. */
struct recall_key {
	uint8_t name[8], check[16];
	uint64_t seed;
};

enum recall_how { RECALL_FOUND, RECALL_MADE, RECALL_DAMAGED }; /* the last: made anew where something else was */

/*
 * Opens the key's file in folder `dir`, or makes it, with all of its blocks.  dir NULL: memory of this process alone.
 * An enum recall_how, or -errno, and then *b is nothing to close.
 */
int recall_open(struct fresh_book *b, const char *dir, const struct recall_key *k);
void recall_close(struct fresh_book *b);
