/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A scenario: a text file of statements, one a line, and rows that add their own (perf/wan/README.md).  Whatever is
 * wrong in it is refused, with the line and what was wanted.
 */

#include <stddef.h>

#include "world.h"

#define SCENARIO_ROWS  64
#define SCENARIO_LINES 128

struct scenario_line {
	unsigned no;
	char *text;
};

struct scenario {
	char *file;
	char *title; /* of the first comment */
	struct scenario_line common[SCENARIO_LINES];
	unsigned n_common;
	struct {
		char *name;
		struct scenario_line line; /* its statements, between semicolons */
	} row[SCENARIO_ROWS];
	unsigned n_row;
};

/* 0 or -errno, with words in err. */
int scenario_load(struct scenario *s, const char *file, char *err, size_t n);
void scenario_free(struct scenario *s);
/* What one row is to run. */
int scenario_world(const struct scenario *s, unsigned row, struct world_conf *out, char *err, size_t n);
