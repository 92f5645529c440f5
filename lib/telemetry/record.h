/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A capture that somebody has asked for over the telemetry socket, whoever may use that: its packets go out as a pcapng
 * file over a Unix socket beside it, which is there for one reader and for as long as that takes.  The gateway opens no
 * file for anybody.  One capture at a time, with a thread of its own that waits for its reader.
 */

#include <stdbool.h>
#include <stdint.h>

#include "capture.h"

#define RECORD_SOCKET "kcpgate_capture" /* beginning of its name in DPDK's folder of the process */

struct tlm_src;

struct record_ask {
	struct capture_want want;
	uint64_t count; /* packets after which it ends; 0: never */
	unsigned seconds;
};

struct record_now {
	uint64_t id; /* of the capture under way, or of the last one; 0: there was none */
	bool running;
	uint64_t packets, lost;
};

/*
 * "key=value,...": tunnel, session (again for each), peer (ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT), count, seconds,
 * snaplen, plaintext.  0, or -EINVAL with why.
 */
int record_parse(const struct tlm_src *src, const char *text, struct record_ask *out, char *why, size_t why_n);

/*
 * Begins one: its reader has RECORD_WAIT_S to connect to the socket `name` in dir, root's or this user's.  -EBUSY: one
 * is under way; -EPERM: what it asks for the configuration does not allow; or another -errno; with why.
 */
#define RECORD_WAIT_S 10
#define RECORD_NAME   40
int record_start(const struct tlm_src *src, const struct record_ask *ask, const char *dir, char name[RECORD_NAME],
		 char *why, size_t why_n);
void record_now(struct record_now *out);

/* Ends what is under way.  The workers run no more. */
void record_stop(void);
