/* SPDX-License-Identifier: MIT */
#pragma once

/* The families of metrics, by what they tell of.  Counters are read where their owners write them. */

#include "glance.h"
#include "om.h"
#include "tlm.h"

/* A row of a table: a counter or gauge in a struct of uint64_t. */
struct family_field {
	enum om_type type;
	const char *name, *unit, *help;
	size_t at;
};

/*
 * A family for each field, in it a sample of each of n things: base gives the struct of one, name its label's value.
 * label NULL: there is one thing, without a label.
 */
struct family_things {
	const char *label;
	unsigned n;
	const void *(*base)(const void *ctx, unsigned i);
	void (*name)(const void *ctx, unsigned i, char *buf, size_t buf_n);
	const void *ctx;
};
#define FAMILY_NAME 64
void families_of(struct om *o, const struct family_field *f, unsigned n_fields, const struct family_things *t);

/* All of them.  glance's lock is not held. */
void families_put(struct om *o, const struct tlm_src *src, struct glance *l, double started);

void families_process(struct om *o, const struct tlm_src *src, double started);
void families_tunnels(struct om *o, const struct tlm_src *src);
void families_looked(struct om *o, const struct tlm_src *src, struct glance *l);
void families_workers(struct om *o, const struct tlm_src *src);
void families_ports(struct om *o, const struct tlm_src *src);
void families_control(struct om *o, const struct tlm_src *src);
void families_limits(struct om *o, const struct tlm_src *src);
