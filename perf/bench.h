/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the benchmarks share: a pinned thread, warmed code, rounds of a few milliseconds, and of those the median with
 * its quartiles.  A row says what one packet costs; a figure is a number with a target (perf/README.md).  Cycles are
 * the TSC's, which on most CPUs are not the core's own: nanoseconds at the TSC's rate.  Nothing here fails because of
 * a time: the exit status is about wrong results only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <x86intrin.h>

#define BENCH_ROUNDS_MAX 1001

struct bench_opts {
	const char *json; /* file for the results, or NULL */
	const char *only; /* rows and figures whose name contains this, or NULL: all */
	int core;	  /* CPU that the measuring thread is pinned to */
	unsigned rounds;  /* of each measurement */
	bool quick;	  /* fewer and shorter rounds, smaller scales: to see that it works */
	bool huge;	  /* programs with EAL: its memory on hugepages */
};
extern struct bench_opts bench_opts;

/*
 * Reads the command line (--json FILE, --only TEXT, --core N, --rounds N, --quick, --huge), pins the thread, finds the
 * TSC's rate.  program and what: for the output, static.  Exits with a usage text when the line is wrong.
 */
void bench_begin(int argc, char **argv, const char *program, const char *what);
/* Writes the JSON file.  Returns the exit status: 1 when bench_wrong was called or the file cannot be written. */
int bench_end(void);

static inline uint64_t bench_tsc(void)
{
	return __rdtsc();
}
double bench_ns(uint64_t cycles);
double bench_hz(void);
/* From here on nothing but the kernel comes in between, where the system allows that: the thread's class becomes
 * real-time.  bench_job and bench_pair call it; others do before they measure, after their threads have been started.
 */
void bench_hold(void);
bool bench_wanted(const char *name);

/* ---- series: one number a round ---- */

struct bench_series {
	unsigned n;
	double v[BENCH_ROUNDS_MAX];
};
struct bench_stat {
	double median, lo, hi, min, max; /* lo, hi: the quartiles */
};
void bench_add(struct bench_series *s, double v);
struct bench_stat bench_stat(const struct bench_series *s);

/* ---- rows ---- */

/* A packet's cost, ns: printed with cycles, GB/s (bytes: of one packet, 0: none) and the spread, and kept. */
void bench_row(const char *name, const struct bench_series *ns, double bytes);

/* A number that is not a packet's cost, such as bytes of memory.  Printed and kept. */
void bench_value(const char *name, double v, const char *unit);

/* Free text about the rows before it: printed and kept. */
void bench_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- timing a function ---- */

struct bench_job {
	const char *name;
	void (*run)(void *arg);	  /* a go: handles `packets` packets of `bytes` bytes each */
	void (*reset)(void *arg); /* before each go, not timed; may be NULL */
	void *arg;
	unsigned packets;
	unsigned bytes;
};
/* Fills `s` with ns a packet, one value a round, and prints the row unless the job has no name. */
void bench_job(const struct bench_job *j, struct bench_series *s);
/* Two jobs, round by round in turn, so that what disturbs the machine disturbs both.  Prints both rows; `ratio` gets
 * a's time / b's of each round. */
void bench_pair(const struct bench_job *a, const struct bench_job *b, struct bench_series *sa, struct bench_series *sb,
		struct bench_series *ratio);

/* ---- figures ---- */

enum bench_op { BENCH_AT_LEAST, BENCH_AT_MOST };
/* id: "F1"; name: what it is, with the unit.  Says reached or short, never fails. */
void bench_figure(const char *id, const char *name, const struct bench_stat *v, enum bench_op op, double target);
static inline struct bench_stat bench_one(double v)
{
	return (struct bench_stat){v, v, v, v, v};
}

/* A result that is wrong (bytes lost, counters that do not add up): told, and bench_end returns 1. */
void bench_wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Keeps the compiler from dropping what computes *p. */
static inline void bench_keep(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}
