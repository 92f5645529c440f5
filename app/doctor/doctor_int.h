/* SPDX-License-Identifier: MIT */
#pragma once

/* What the parts of the doctor share. */

#include <stdint.h>

#include "doctor.h"
#include "plan.h"

/* The parts, in their order.  p is NULL without a file. */
void doctor_cpu(struct doctor *d);
void doctor_lcores(struct doctor *d, const struct plan *p);
void doctor_mem(struct doctor *d, struct plan *p);
void doctor_devices(struct doctor *d);
void doctor_interfaces(struct doctor *d);
void doctor_limits(struct doctor *d, const struct plan *p);

/* doctor_limits.c: a process runs with the file's eal.file_prefix. */
bool doctor_runs(const struct doctor *d);

/* A line, and what belongs to the last one. */
void doctor_add(struct doctor *d, enum doctor_mark mark, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void doctor_why(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void doctor_mend(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* doctor_fs.c: paths below the root, "/sys/..." */

/* The first line of a file without its end; false, and "", when there is none. */
bool doctor_read(const struct doctor *d, char *buf, size_t n, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A number that a file begins with; false when there is none. */
bool doctor_number(const struct doctor *d, long long *v, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool doctor_exists(const struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A device's file that we may read and write. */
bool doctor_open(const struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What stands behind "key" and blanks or a colon, in the first line that begins with it. */
bool doctor_field(const struct doctor *d, const char *path, const char *key, char *buf, size_t n);
/* Any line that contains the text. */
bool doctor_says(const struct doctor *d, const char *path, const char *text);
/* A kernel's list of CPUs. */
bool doctor_cpus(const struct doctor *d, uint8_t cpus[CONF_CPUS_MAX], const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "0-3,8"; returns buf. */
const char *doctor_list(const uint8_t cpus[CONF_CPUS_MAX], char *buf, size_t n);
/* Names in a folder that begin with the prefix. */
unsigned doctor_names(const struct doctor *d, const char *prefix, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Whether this process has a capability, by its number; true too where that cannot be told. */
bool doctor_cap(const struct doctor *d, unsigned cap);

/* doctor_group.c: the least of a limit over this process's control groups; UINT64_MAX: none. */
uint64_t doctor_group_memory(const struct doctor *d);
uint64_t doctor_group_hugepages(const struct doctor *d); /* bytes, in pages of 2 MB */
/* Hundredths of a CPU that the group may use. */
uint64_t doctor_group_cpu(const struct doctor *d);

/* doctor_dev.c: a device of the file is driven so that its memory must be hugepages. */
bool doctor_needs_huge(const struct doctor *d);
/* One is in vfio's hands, which locks the memory that the device reaches. */
bool doctor_has_vfio(const struct doctor *d);
