/* SPDX-License-Identifier: MIT */
#pragma once

/* Rebuilding the missing data bodies of a group from any ds of its packets. */

#include <stdbool.h>
#include <stdint.h>

#include "fec_wire.h"

#define FEC_ROWS 6 /* bodies rebuilt side by side: as many as stay in registers, in either form */

struct fec_shard {
	const uint8_t *p; /* body */
	void *own;	  /* the caller's handle, or NULL: p is a copy in mem */
	uint16_t n;	  /* bytes at p */
	uint8_t idx;	  /* place in the group */
};

/*
 * Rebuilds what is missing of the data bodies 0..ds-1 of a group of which s[0..ds) are present, and appends the
 * datagrams in them to `got`.  Returns the number of bodies rebuilt; those whose size field is nonsense are not among
 * the slices. Reads nothing beyond the bodies; scratch is FEC_SCRATCH bytes.
 */
unsigned fec_recover(const struct fec_shard *s, unsigned ds, uint8_t *scratch, struct fec_got *got);

/*
 * Whether `more` is what the code makes of s[0..ds): true of all packets of a group that was cut as its sender cut it,
 * and of none that was not, but for bytes that are the same in all of them.
 */
bool fec_agrees(const struct fec_shard *s, unsigned ds, const struct fec_shard *more, uint8_t *scratch);
