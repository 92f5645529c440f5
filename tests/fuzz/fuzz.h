/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the fuzz targets share: bytes of the input taken one after another, memory that is watched, and a check that
 * ends the program.  A target is one file with LLVMFuzzerTestOneInput; what drives it is libFuzzer, or replay.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct mem;

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Prints what was not as it must be, and aborts: a finding.  fmt begins with a blank. */
void fuzz_fail(const char *file, int line, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), noreturn));
#define fuzz_must(c, ...) ((c) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #c, " " __VA_ARGS__))

/* ---- the input; what lies beyond its end is zeros ---- */

struct fuzz_in {
	const uint8_t *p;
	size_t n;
};

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
	return in->n ? in->n--, *in->p++ : 0;
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t v = fuzz_u8(in);

	return (uint16_t)(v | fuzz_u8(in) << 8);
}

static inline uint32_t fuzz_u32(struct fuzz_in *in)
{
	uint32_t v = fuzz_u16(in);

	return v | (uint32_t)fuzz_u16(in) << 16;
}

/* The next n bytes, or as many as there are. */
static inline struct fuzz_in fuzz_bytes(struct fuzz_in *in, size_t n)
{
	struct fuzz_in out = {in->p, n < in->n ? n : in->n};

	in->p += out.n;
	in->n -= out.n;
	return out;
}

/* A copy that ends where its memory ends; the caller's to free. */
static inline uint8_t *fuzz_exact(const uint8_t *p, size_t n)
{
	uint8_t *q = malloc(n ? n : 1);

	if (n)
		memcpy(q, p, n);
	return q;
}

/* Reads n bytes, for a sanitizer to see. */
static inline void fuzz_touch(const uint8_t *p, size_t n)
{
	volatile uint8_t last;

	for (size_t i = 0; i < n; i++)
		last = p[i];
	(void)last;
}

/* ---- memory ---- */

/* A heap of `len` bytes (a multiple of 64 KiB, up to 64 MiB), empty; there is one at a time. */
struct mem *fuzz_heap(size_t len);
/* All of it has come back. */
void fuzz_heap_end(void);

/* A file that is in memory only; its path, until the next call. */
const char *fuzz_file(const uint8_t *p, size_t n);
