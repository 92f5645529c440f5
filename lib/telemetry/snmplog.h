/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * kcptun's snmplog (wire.md 9.6): every so many seconds a row of all counters is appended to a CSV file.  Ordinary file
 * I/O, for the control thread between its turns.
 */

#include <stdint.h>
#include <time.h>

#include "log.h"
#include "snmp.h"

#define SNMPLOG_ROW 1024 /* bytes that hold the header row, or any other */

struct tlm_src;

struct snmplog {
	const struct tlm_src *src;
	const char *path; /* NULL: off */
	uint64_t period_ms, next_ms;
	struct log_limit limit;
};

/* path: directory literal, file name a Go time layout; empty or NULL, or period_s 0: off.  now_ms: any clock's. */
void snmplog_init(struct snmplog *l, const struct tlm_src *src, const char *path, unsigned period_s, uint64_t now_ms);

/* Appends a row when it is due; a failure is logged, not often.  Returns the ms until the next, INT32_MAX: never. */
int snmplog_turn(struct snmplog *l, uint64_t now_ms);

/* ---- the parts ---- */

/* The file's path at a time; 0 or -ENAMETOOLONG. */
int snmplog_path(char *buf, size_t n, const char *path, const struct tm *tm, uint32_t ns);
/* Column names, and one row; with their newline.  buf: SNMPLOG_ROW bytes.  Return the length. */
size_t snmplog_header(char *buf);
size_t snmplog_row(char *buf, uint64_t unix_s, const struct snmp *v);
/* Appends a row, behind a header when the file is empty, in one write.  0 or -errno. */
int snmplog_append(const char *path, uint64_t unix_s, const struct snmp *v);
