/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "mem.h"

#define HEAP_MAX (64u << 20)

static struct mem *heap;
static size_t heap_idle;

void fuzz_fail(const char *file, int line, const char *what, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: not so: %s:", file, line, what);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	abort();
}

struct mem *fuzz_heap(size_t len)
{
	static void *region;

	if (!region) {
		region = aligned_alloc(65536, HEAP_MAX);
		fuzz_must(region);
	}
	fuzz_must(len <= HEAP_MAX && !heap);
	heap = mem_init(region, len);
	fuzz_must(heap);
	heap_idle = mem_used(heap);
	return heap;
}

void fuzz_heap_end(void)
{
	fuzz_must(mem_used(heap) == heap_idle, "%zu bytes have not come back", mem_used(heap) - heap_idle);
	mem_fini(heap);
	heap = NULL;
}

const char *fuzz_file(const uint8_t *p, size_t n)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		fuzz_must(fd >= 0 && fchmod(fd, 0600) == 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	fuzz_must(ftruncate(fd, 0) == 0 && pwrite(fd, p, n, 0) == (ssize_t)n);
	return path;
}
