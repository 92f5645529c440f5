/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * "Do you know this session?" between two kcpgates (lib/README.md): an out-of-band packet (wire.md 3.1) that is part of
 * neither FEC nor KCP, and looks the same with and without FEC.  A question becomes its answer in place.
 *
 *	ff ff ff ff | f3 00 | size(2) | conv(4) | "kcpg" | code(1) | 00 00 00 | token(8)
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fec.h"
#include "le.h"

#define ASK_OFF_SEQID 0
#define ASK_OFF_TYPE  4
#define ASK_OFF_SIZE  6 /* counts itself and what follows, as a data packet's does */
#define ASK_OFF_CONV  8
#define ASK_OFF_MAGIC 12
#define ASK_OFF_CODE  16
#define ASK_OFF_ZERO  17 /* to come: sent as zeros, not looked at */
#define ASK_OFF_TOKEN 20
#define ASK_LEN	      28

#define ASK_SEQID UINT32_MAX
#define ASK_MAGIC 0x6770636bu /* "kcpg" */

enum ask_code {
	ASK_QUERY = 1,	 /* client: do you know this session? */
	ASK_UNKNOWN = 2, /* server: no */
	ASK_KNOWN = 3,	 /* server: yes */
};

static_assert(ASK_OFF_CONV == FEC_HEAD, "conv is where demultiplexers look for it");
static_assert(ASK_OFF_TOKEN + 8 == ASK_LEN, "the token ends the packet");

static inline void ask_put(uint8_t *p, uint32_t conv, enum ask_code code, uint64_t token)
{
	le32_put(p + ASK_OFF_SEQID, ASK_SEQID);
	le16_put(p + ASK_OFF_TYPE, FEC_TYPE_OOB);
	le16_put(p + ASK_OFF_SIZE, ASK_LEN - ASK_OFF_SIZE);
	le32_put(p + ASK_OFF_CONV, conv);
	le32_put(p + ASK_OFF_MAGIC, ASK_MAGIC);
	le32_put(p + ASK_OFF_CODE, code); /* and ASK_OFF_ZERO */
	le64_put(p + ASK_OFF_TOKEN, token);
}

/* The code of an out-of-band packet that is one of these; 0 for any other. */
static inline unsigned ask_code(const uint8_t *p, uint32_t n)
{
	return n == ASK_LEN && le32_get(p + ASK_OFF_MAGIC) == ASK_MAGIC ? p[ASK_OFF_CODE] : 0;
}
