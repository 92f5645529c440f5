/* SPDX-License-Identifier: MIT */
#pragma once

/* The inside of qpp: the tables, and how they are made without regard to which counts are wise. */

#include "qpp.h"

struct qpp_pads {
	uint32_t count;
	uint32_t recip; /* 2^32 / count, rounded up: see pad_of */
	struct qpp_prng start;
	uint8_t (*inverse)[256]; /* behind pad[count] */
	uint8_t pad[][256];
};

/* As qpp_pads_create, for any count of 1..QPP_COUNT_MAX. */
int qpp_derive(struct qpp_pads **out, const char *key, uint32_t key_len, unsigned count);
