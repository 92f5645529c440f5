/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * HTTP for who looks from outside: /metrics (OpenMetrics), / (a page for people) and /status.json (what it shows).  GET
 * only.  Two threads of its own: one answers (libmicrohttpd), one looks at the sessions (glance.h).  Nobody who
 * connects is waited for by anything else.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "tlm.h"

/* Connections at once.  One more takes the place of the one whose question, or its answer, is under way for longest;
 * where there is none such, of the one that has had none for longest. */
#define METRICS_CONNECTIONS 32
#define METRICS_IDLE_S	    20 /* without a byte; Prometheus, that asks less often, connects anew */

#define METRICS_SPARE 8 /* connections that are about to go, beside those */
#define METRICS_DESCRIPTORS \
	(METRICS_CONNECTIONS + METRICS_SPARE + 8) /* and what listens, wakes and is read from /proc */

struct metrics;

struct metrics_conf {
	const struct tlm_src *src; /* with what it names it must live until metrics_stop */
	const char *path;	   /* of a Unix socket, mode 0660; NULL: an address */
	struct addr addr;
	uint16_t port;
	bool remote; /* other hosts may ask, by any name of this one */
};

/* 0, or -errno and why.  EAL must be up. */
int metrics_start(struct metrics **out, const struct metrics_conf *c, char *why, size_t why_n);
/* m may be NULL. */
void metrics_stop(struct metrics *m);
