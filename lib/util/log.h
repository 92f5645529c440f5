/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Log lines of the control side.  Workers never log: they count, and leave notes that the control lcore turns into
 * lines.  Protocol rooms never log at all.  A line is "2006/01/02 15:04:05 text", as kcptun's, or what log_form says.
 */

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/*
 * KV: time=2006-01-02T15:04:05.000Z level=info event=stream_opened tunnel="hk" msg="text" (logfmt).  JSON: the same as
 * an object a line.  In both the time is UTC's, and what is no UTF-8 becomes '?'.
 */
enum log_format { LOG_TEXT, LOG_KV, LOG_JSON };

/*
 * Sends lines up to `level` to stderr, or appends them to `path` when it is not empty (made with mode 0640).  Called
 * again, it changes over, which is how a rotated file is let go; on failure everything stays as it was.  0 or -errno.
 * Before the first call, lines up to LOG_INFO go to stderr, and whoever logs waits for it.
 *
 * From here on nobody waits for a log: a thread writes, and what it cannot write in time is lost and counted (logq.h).
 */
int log_open(const char *path, enum log_level level);
/* The same in two steps, for whoever gives up rights between: the file's descriptor or -errno, and no thread yet; then
 * all of it, and the descriptor is the log's. */
int log_file(const char *path);
int log_to(int fd, enum log_level level);
/* Waits a second at most for what is still to be written; then back to stderr.  For the end: other threads may not be
 * logging meanwhile. */
void log_close(void);
/* Waits until the lines so far are written, ms at most; false: they are not. */
bool log_flush(unsigned ms);
/* Lines that were lost since log_open, because nobody read or the disk was full. */
uint64_t log_lost(void);
bool log_on(enum log_level level);

/* From the next line on.  At first: LOG_TEXT; no limit. */
void log_form(enum log_format f);
void log_threshold(enum log_level level);
/* At most so many lines of each level a second, 0: as many as come.  How many were left out is told by the first line
 * of that level in a later second, or by log_tick: to be called about once a second. */
void log_rate(unsigned lines);
void log_tick(void);

/* From any thread.  A line goes out whole; at 1 KiB of text it is cut, and control characters in it become '?'.  Where
 * stderr is the journal's (JOURNAL_STREAM) its level stands before it as <N>, and a line of text has no time. */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What a line is about, for programs: LOG_KV and LOG_JSON have it beside the text. */
struct log_field {
	const char *name; /* [a-z_]+ */
	const char *text; /* NULL: the number */
	uint64_t number;
};
#define LOG_FIELDS_MAX 8
void log_event(enum log_level level, const char *event, const struct log_field *v, unsigned n, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* At most `burst` lines in each `period_s` seconds; the next line that passes tells how many were left out.
 * All zero to begin with; one owner thread. */
struct log_limit {
	uint64_t since_s;
	uint32_t sent, left_out;
};

/* True when a line may go out now (now_s: any clock in seconds); *left_out is set to the number suppressed before it.
 */
bool log_allow(struct log_limit *l, uint64_t now_s, unsigned burst, unsigned period_s, uint32_t *left_out);

#define log_err(...)   log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
