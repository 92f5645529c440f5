/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * kcptun's snmplog (wire.md 9.6): every so many seconds a row of all counters is appended to a CSV file.  Ordinary file
 * I/O, which a disk that hangs stops for as long as it likes: in a thread of its own.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "log.h"
#include "snmp.h"

#define SNMPLOG_ROW 1024 /* bytes that hold the header row, or any other */

struct tlm_src;
struct snmplog_thread;

/*
 * path: directory literal, file name a Go time layout; empty or NULL, or period_s 0: off, and *out NULL.  src and path
 * must live until snmplog_stop.  0 or -errno.
 */
int snmplog_start(struct snmplog_thread **out, const struct tlm_src *src, const char *path, unsigned period_s);
/*
 * Ends the thread; it looks at src no more.  False when it sits in a write that does not end within ms: it is left to
 * the end of the process, and path must live until then.  t may be NULL.
 */
bool snmplog_stop(struct snmplog_thread *t, unsigned ms);

/* ---- the parts ---- */

struct snmplog {
	const struct tlm_src *src;
	const char *path; /* NULL: off */
	uint64_t period_ms, next_ms;
	struct log_limit limit;
	atomic_bool left; /* the process ends, and waits for the file no more */
};

/* As snmplog_start.  now_ms: any clock's. */
void snmplog_init(struct snmplog *l, const struct tlm_src *src, const char *path, unsigned period_s, uint64_t now_ms);

/* Appends a row when it is due; a failure is logged, not often.  Returns the ms until the next, INT32_MAX: never. */
int snmplog_turn(struct snmplog *l, uint64_t now_ms);

/* The file's path at a time; 0 or -ENAMETOOLONG. */
int snmplog_path(char *buf, size_t n, const char *path, const struct tm *tm, uint32_t ns);
/* Column names, and one row; with their newline.  buf: SNMPLOG_ROW bytes.  Return the length. */
size_t snmplog_header(char *buf);
size_t snmplog_row(char *buf, uint64_t unix_s, const struct snmp *v);
/* Appends a row, behind a header when the file is empty, in one write; all of it or nothing.  0 or -errno. */
int snmplog_append(const char *path, uint64_t unix_s, const struct snmp *v);
