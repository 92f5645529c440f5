/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Text that grows, and in it metrics as OpenMetrics 1.0 has them, or as Prometheus had them before (text format 0.0.4).
 * The two differ in a counter's name in its heads, in units, in what an info is, and in the end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct om {
	char *buf;
	size_t n, room;
	bool failed; /* no memory: what was put since is lost */
	bool open;   /* OpenMetrics */
	/* of the family under way */
	char name[96];
	const char *part; /* what is behind the name in samples: "", or of a histogram "_bucket", "_sum" or "_count" */
};

/* buf is the caller's to free; NULL when failed. */
void om_begin(struct om *o, bool open);
void om_end(struct om *o);

void om_text(struct om *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void om_bytes(struct om *o, const char *p, size_t n);

enum om_type { OM_COUNTER, OM_GAUGE, OM_INFO, OM_SUMMARY, OM_HISTOGRAM };

/*
 * Begins a family, "kcpgate_" and name, for a name that begins with "process_" without.  A counter's name is without
 * "_total"; unit, "seconds" or "bytes", is its last word, or NULL.  Samples of a family stand together, behind this.
 */
void om_family(struct om *o, enum om_type type, const char *name, const char *unit, const char *help);

/*
 * A histogram's samples of one worker, or whatever it is that label says: of n buckets, how many values lie in each and
 * what they are not above; the last one's limit is not looked at, for there is none.
 */
void om_histogram(struct om *o, const char *label, const char *of, const uint64_t *in, const double *limit, unsigned n,
		  double sum);

/* A sample of the family under way; behind the value pairs of a label's name and value, ended by NULL. */
void om_u64(struct om *o, uint64_t v, ...) __attribute__((sentinel));
void om_real(struct om *o, double v, ...) __attribute__((sentinel));
