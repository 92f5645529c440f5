/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Lines on their way to a file descriptor.  A pipe that nobody reads, a terminal that was stopped, a disk that hangs or
 * is full: a write to any of them may take for ever, so a thread of its own does it, behind a queue of fixed size.  Who
 * puts a line there copies it and goes on.  What finds no room, or is refused by the descriptor, is lost and counted;
 * as soon as lines go out again, one of them says how many.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOGQ_LINE  2048		/* longest line, newline included */
#define LOGQ_BYTES (256u << 10) /* of the queue: some thousand lines */

struct logq;

/* Starts the thread, with all signals blocked.  fd is the queue's from here on.  0 or -errno: fd stays the caller's. */
int logq_start(struct logq **out, int fd);

/* From any thread: `line` ends with its newline, and has LOGQ_LINE bytes at most. */
void logq_put(struct logq *q, const char *line, size_t n);

/* Waits until all that was put before has gone out or is lost, ms at most.  False: it has not. */
bool logq_flush(struct logq *q, unsigned ms);

/* Lets what follows go to another descriptor, which stays the caller's.  0 or -errno. */
int logq_redirect(struct logq *q, int fd);

/* Lines lost since the start. */
uint64_t logq_lost(struct logq *q);

/*
 * Ends the thread when all is written, closes fd and frees the queue.  False when ms were not enough: then the thread
 * sits in a write that may never end, and it and its memory are left to the end of the process.  Nobody may use the
 * queue afterwards.
 */
bool logq_stop(struct logq *q, unsigned ms);

/* ---- log.c ---- */

/* The line about that as log.h has it now, newline included, of at most n (256 at least) bytes; returns its length. */
size_t log_lost_line(char *buf, size_t n, size_t lines);

/* ---- log_form.c ---- */

struct log_field;

/* What a line is made of; level is an enum log_level, format an enum log_format. */
struct log_parts {
	int level, format;
	bool journal;
	const char *event; /* NULL: none */
	const struct log_field *v;
	unsigned n;
	const char *text;
};

/* Writes it, newline included, cut to LOGQ_LINE at most; returns its length.  n: 256 at least. */
size_t log_frame(char *buf, size_t n, const struct log_parts *p);
