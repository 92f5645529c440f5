/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sanitized.h"
#include "vault.h"

/*
 * Regions of the kernel's, cut from the front; what was given back is looked through first, by size.  There are a few
 * blocks a tunnel and worker, made at the start and kept until the end.
 */

#define LINE   64u
#define REGION (64u << 10) /* a multiple of pages; a larger block has a region of its own */

/* Before each block. */
struct block {
	_Alignas(LINE) size_t n; /* bytes behind this, a multiple of LINE */
	struct block *next;	 /* of those that were given back */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *free_blocks;
static uint8_t *region_at;
static size_t region_left, size, unlocked;

static size_t lines(size_t n)
{
	return (n + LINE - 1) & ~(size_t)(LINE - 1);
}

/* Sanitizers watch malloc's memory: then it is that. */
static uint8_t *region_make(size_t n)
{
	uint8_t *p;

	if (SANITIZED)
		return aligned_alloc(LINE, n);
	p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n, MADV_DONTDUMP);
	size += n;
	if (mlock(p, n))
		unlocked += n;
	return p;
}

/* The one that fits best, if it is not twice as large as it has to be. */
static struct block *take_free(size_t n)
{
	struct block **best = NULL, *b;

	for (struct block **at = &free_blocks; *at; at = &(*at)->next)
		if ((*at)->n >= n && (*at)->n <= 2 * n && (!best || (*at)->n < (*best)->n))
			best = at;
	if (!best)
		return NULL;
	b = *best;
	*best = b->next;
	return b;
}

static struct block *cut(size_t n)
{
	size_t all = sizeof(struct block) + n;
	struct block *b;

	if (SANITIZED || all > REGION / 4) {
		b = (struct block *)region_make(SANITIZED ? all : (all + 4095) & ~(size_t)4095);
	} else {
		if (all > region_left) {
			uint8_t *p = region_make(REGION);

			if (!p)
				return NULL;
			region_at = p;
			region_left = REGION;
		}
		b = (struct block *)region_at;
		region_at += all;
		region_left -= all;
	}
	if (b)
		b->n = n;
	return b;
}

void *vault_get(size_t n)
{
	struct block *b = NULL;

	if (n > SIZE_MAX / 4)
		return NULL;
	n = lines(n ? n : 1);
	pthread_mutex_lock(&lock);
	b = take_free(n);
	if (!b)
		b = cut(n);
	pthread_mutex_unlock(&lock);
	return b ? memset(b + 1, 0, b->n) : NULL;
}

void *vault_resize(void *p, size_t n)
{
	struct block *b = p ? (struct block *)p - 1 : NULL;
	void *to;

	if (b && n <= b->n)
		return p;
	to = vault_get(n);
	if (to && b) {
		memcpy(to, p, b->n);
		vault_put(p);
	}
	return to;
}

void vault_put(void *p)
{
	struct block *b = p ? (struct block *)p - 1 : NULL;

	if (!b)
		return;
	explicit_bzero(p, b->n);
	if (SANITIZED) {
		free(b);
		return;
	}
	pthread_mutex_lock(&lock);
	b->next = free_blocks;
	free_blocks = b;
	pthread_mutex_unlock(&lock);
}

size_t vault_size(void)
{
	return size;
}

size_t vault_unlocked(void)
{
	return unlocked;
}
