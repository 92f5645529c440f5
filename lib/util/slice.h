/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* A run of bytes that somebody else owns; valid as long as the function that gave it says. */
struct slice {
	const uint8_t *p;
	uint32_t n;
};
