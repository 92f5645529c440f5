/* SPDX-License-Identifier: MIT */
#pragma once

/* Inside comp only: the scratch, and the checksum that both directions compute. */

#include "snappy_wire.h"

/*
 * One buffer a purpose, so that what the decoder gave stays whole while an answer to it is encoded.  packed keeps room
 * in front of the block for the head, which makes a compressed chunk one slice.
 */
struct comp_scratch {
	uint8_t gathered[COMP_BLOCK_MAX];			      /* enc: input of several slices in one piece */
	uint8_t packed[COMP_HEAD_MAX + SNAPPY_GROWN(COMP_BLOCK_MAX)]; /* enc: head and compressed block */
	uint8_t plain[COMP_BLOCK_MAX];				      /* dec: uncompressed block */
};

/* CRC32C of the slices, masked as the format wants it. */
uint32_t comp_crc(const struct slice *v, unsigned n);
