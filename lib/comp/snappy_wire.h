/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The snappy framing format as kcptun writes it, wire.md section 6:
 *
 *	type(1) length(3)  and for data  crc(4) body		length counts crc and body
 *
 * crc is the masked CRC32C of the uncompressed bytes.
 */

#include <assert.h>
#include <stdint.h>

#include "comp.h"

#define SNAPPY_HEAD    4 /* type and length */
#define SNAPPY_CRC     4
#define SNAPPY_ID      "\xff\x06\x00\x00sNaPpY"
#define SNAPPY_ID_LEN  10
#define SNAPPY_ID_BODY (SNAPPY_ID_LEN - SNAPPY_HEAD)

enum snappy_type {
	SNAPPY_T_COMPRESSED = 0x00,
	SNAPPY_T_RAW = 0x01,
	SNAPPY_T_SKIP_FIRST = 0x80, /* 02..7f: fatal; 80..fe: passed over */
	SNAPPY_T_ID = 0xff,
};

/* What a block of n bytes can grow to; snappy_max_compressed_length as a constant. */
#define SNAPPY_GROWN(n) (32 + (n) + (n) / 6)

static_assert(sizeof(SNAPPY_ID) - 1 == SNAPPY_ID_LEN, "identifier chunk");
static_assert(SNAPPY_ID_LEN + SNAPPY_HEAD + SNAPPY_CRC == COMP_HEAD_MAX, "longest head of a chunk");
static_assert(SNAPPY_GROWN(COMP_BLOCK_MAX) + SNAPPY_CRC == COMP_CHUNK_MAX, "longest chunk");
static_assert(COMP_CHUNK_MAX < 1 << 24, "the length field has 24 bits");
