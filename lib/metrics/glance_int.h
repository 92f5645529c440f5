/* SPDX-License-Identifier: MIT */
#pragma once

/* What the files of `look' share. */

#include "glance.h"

struct glance_sample {
	uint16_t tunnel;
	float rtt, queue; /* s */
};

struct glance_cursor {
	uint32_t at;		       /* where a worker is asked next */
	uint64_t began_ms;	       /* when its first session was asked for */
	unsigned missing_now, missing; /* sessions without room in the table: this time round, the last time */
};

struct glance_cell {
	struct glance_row row;
	int next; /* in its chain, or of the free ones; -1: none */
	bool used;
};

struct glance {
	const struct tlm_src *src;
	pthread_mutex_t lock; /* of all below that is shown */
	uint64_t seconds, now_ms, last_ms;
	uint64_t asked_at; /* second of the last question for the page, plus 1 */
	bool watched;
	struct glance_point *points;   /* [tunnel][GLANCE_POINTS] */
	struct glance_tunnel *tunnels; /* [tunnel] */
	struct snmp *before;	       /* [tunnel] a second ago; and of a worker's: */
	uint64_t *busy, *datagrams;    /* [worker], [worker][tunnel] */
	uint64_t *moved;	       /* [tunnel] */
	float *cpu;		       /* [tunnel] */
	float *load;		       /* [worker] busy, 0..1 */
	struct glance_cursor *cursor;  /* [worker] */
	struct glance_sample *samples; /* of this second */
	unsigned n_samples, samples_max;
	/* the table; NULL: nobody looks */
	struct glance_cell *cells; /* [GLANCE_TABLE] */
	int *heads;		   /* [GLANCE_TABLE] by a hash of the id; -1: none */
	int free;
};

/* table.c: with the lock held */
bool glance_table_up(struct glance *l); /* false: no memory */
void glance_table_down(struct glance *l);
void glance_table_row(struct glance *l, const struct shard_row *r, uint64_t now_ms);
/* Takes out a worker's sessions that were not seen since. */
void glance_table_sweep(struct glance *l, uint16_t worker, uint64_t since_ms);
