/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the kernel tells in files of text, below /sys and /proc.  A line that is longer than the buffer is cut; nothing
 * is allocated.
 */

#include <stdbool.h>
#include <stddef.h>

struct sysfile {
	int fd;
	size_t at, n;
	char buf[1024];
};

/* Line by line; false: there is no such file, and nothing is to be closed. */
bool sysfile_open(struct sysfile *f, const char *path);
/* The next line without its end; false, and "", behind the last. */
bool sysfile_next(struct sysfile *f, char *line, size_t n);
void sysfile_close(struct sysfile *f);

/* The first line without its end; false, and "", when there is none. */
bool sysfile_line(const char *path, char *line, size_t n);

/* The number that a file begins with, decimal, or behind 0x hexadecimal; false, and *v is left, when there is none. */
bool sysfile_number(const char *path, long long *v);

/* What stands behind the key and a colon or blanks, in the first line that begins so; false, and "", when none does. */
bool sysfile_field(const char *path, const char *key, char *buf, size_t n);
/* The number that such a field begins with; false, and *v is left, when there is none. */
bool sysfile_field_number(const char *path, const char *key, long long *v);

/* Any line contains the text, of at most 255 bytes. */
bool sysfile_says(const char *path, const char *text);
