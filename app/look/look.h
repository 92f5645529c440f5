/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Looking at a gateway that runs, from another process: its telemetry socket is asked, and what it says is put into
 * tables, lines and sentences.  Nothing here changes anything there.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define LOOK_WHY 400

/* ---- ask.c: finding a gateway, and asking it ---- */

/* The folder of the gateway with this eal.file_prefix, or (NULL) of the one that runs here.  0, or -errno and why. */
int look_find(const char *prefix, char dir[PATH_MAX], char *why, size_t why_n);
/* A socket in a gateway's folder, of whose peer an answer is awaited for half a minute; the descriptor, or -errno. */
int look_connect(const char *dir, const char *name, int type);
/* One command by a connection of its own: the object that answers it, or NULL. */
json_t *look_once(const char *dir, const char *command);

/* A connection to a gateway; tests put an `ask` of their own there. */
struct look {
	/* The object that answers a command, or NULL and l->why.  May hold "error". */
	json_t *(*ask)(struct look *l, const char *command);
	int fd; /* -1: none */
	char dir[PATH_MAX];
	char why[LOOK_WHY];
	void *ctx; /* for tests */
};

/* As look_find, and connected.  0, or -errno and l->why. */
int look_open(struct look *l, const char *prefix);
void look_close(struct look *l);

/* The answer to "NAME[,PARAMETER]", for the caller to free; NULL and l->why, an answer that is an error included. */
json_t *look_get(struct look *l, const char *name, const char *parameter);
/* The same of a command that answers by pages: all of them as one object. */
json_t *look_all(struct look *l, const char *name, const char *parameter);

/* ---- text.c: numbers for people ---- */

#define LOOK_NUM 24
const char *look_bytes(uint64_t n, char buf[LOOK_NUM]);		/* "12.3 MB" */
const char *look_rate(double bps, char buf[LOOK_NUM]);		/* "54.0 Mbit/s" */
const char *look_span(uint64_t ms, char buf[LOOK_NUM]);		/* "3d 4h", "12m 5s", "45.2s" */
const char *look_ms(uint64_t us, char buf[LOOK_NUM]);		/* "100.1 ms" */
const char *look_unit(uint64_t n, bool ns, char buf[LOOK_NUM]); /* "1.5 us" or "32" */
const char *look_part(double part, char buf[LOOK_NUM]);		/* 0.0123: "1.2 %" */

uint64_t look_u64(const json_t *o, const char *name);	 /* 0 where there is none */
const char *look_str(const json_t *o, const char *name); /* "" likewise */

/* ---- text.c: tables, whose columns are as wide as what is in them ---- */

#define LOOK_COLUMNS 24

struct look_table {
	unsigned columns, cells, room;
	bool right[LOOK_COLUMNS]; /* numbers */
	char **cell;		  /* row by row, the heads first */
	bool short_of_memory;
};

/* heads: one of each column, ended by NULL; those that begin with ">" have their cells to the right. */
void look_table_begin(struct look_table *t, const char *const *heads);
/* The next cell of the row under way. */
void look_cell(struct look_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writes it, each line behind `indent` spaces, and frees it.  0 or -ENOMEM. */
int look_table_end(struct look_table *t, FILE *f, unsigned indent);

/* ---- show.c ---- */

/* What `kcpgate show WHAT [PARAMETER]` prints.  0, or -errno and l->why; -EINVAL: there is no such thing to show. */
int look_show(struct look *l, const char *what, const char *parameter, bool json, FILE *f);
/* Every WHAT with a word on it. */
void look_show_words(FILE *f);

/* ---- dump.c: lines for programs ---- */

/* what: one kind of lines, or NULL for all.  As look_show. */
int look_dump(struct look *l, const char *what, FILE *f);
void look_dump_columns(FILE *f);
