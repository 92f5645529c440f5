/* SPDX-License-Identifier: MIT */
#pragma once

/* A recorded session of stock programs: tests/vectors/e2e_NAME.pcap.json, with the shape that its command line says. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum way { C2S, S2C, WAYS };

struct cap_pkt {
	uint64_t ms;
	enum way way;
	uint8_t *p;
	size_t n;
};

struct capture {
	char crypt[16], key[64];
	unsigned ds, ps; /* 0: off */
	bool nocomp, qpp;
	unsigned smuxver, qpp_count;
	struct cap_pkt *v; /* in order of time */
	size_t n;
	uint8_t *app[WAYS]; /* what the applications wrote */
	size_t app_n[WAYS];
};

/* Fails the running test when the file cannot be read or has an option that is not known here. */
void capture_load(struct capture *c, const char *name);
void capture_free(struct capture *c);
