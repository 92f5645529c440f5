/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * smux frames, wire.md section 8.1, and the signals in the stream id of a NOP, section 14:
 *
 *	ver(1) cmd(1) length(2) stream id(4)  and after a PSH length bytes, after a UPD  consumed(4) window(4)
 */

#include <assert.h>

#include "mux.h"

#define SMUX_VER 0
#define SMUX_CMD 1
#define SMUX_LEN 2
#define SMUX_SID 4

#define SMUX_UPD_BODY	  8 /* read whatever the header's length says, as the Go reader does */
#define SMUX_UPD_CONSUMED 0
#define SMUX_UPD_WINDOW	  4

enum smux_cmd {
	SMUX_SYN = 0,
	SMUX_FIN = 1,
	SMUX_PSH = 2,
	SMUX_NOP = 3,
	SMUX_UPD = 4, /* v2 only */
};

#define SMUX_NOP_HELLO	   0x80000000u /* and capability bits */
#define SMUX_NOP_HALF_MAX  0x7fffffffu /* 1..: half-close of that stream */
#define SMUX_NOP_RESET	   0xc0000000u /* + id: the stream ended by an error, behind all bytes that were sent on it */
#define SMUX_RESET_ID_MAX  0x1fffffffu /* the highest id that a reset can name */
#define SMUX_HELLO_HALF	   0x00000001u /* understands half-close */
#define SMUX_HELLO_RESET   0x00000002u /* understands a stream's reset */
#define SMUX_HELLO_ANSWERS 0x00000004u /* a server: answers those who ask whether it knows a session */
#define SMUX_HELLO_ROAMS   0x00000008u /* a server: a session goes on whatever address its client comes from */

static_assert(SMUX_SID + 4 == MUX_HEAD, "frame header");
static_assert(MUX_HEAD + SMUX_UPD_BODY <= sizeof(((struct mux_out *)0)->head), "a UPD goes out in one piece");
static_assert(MUX_HEAD + SMUX_UPD_BODY <= sizeof(((struct mux *)0)->head), "a UPD comes in in one piece");
