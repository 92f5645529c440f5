/* SPDX-License-Identifier: MIT */

/*
 * The filters of datagrams that were seen before: one a worker and tunnel.  Their memory is address space of the
 * kernel's ordinary pages, of which they touch what the rate asks for: 4 KiB a tunnel at first.  What only a high rate
 * comes to is in large pages, where there are any: there a line is a page's first, mostly.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <rte_cycles.h>

#include "app.h"
#include "log.h"

#define FRESH_BYTES ((size_t)16 << 20) /* a worker, at most: its tunnels share it evenly */
#define FRESH_SMALL ((size_t)2 << 20)  /* of a filter, in ordinary pages */

/* Lines of each tunnel: a power of two. */
static uint32_t tunnel_lines(unsigned tunnels)
{
	uint32_t n = FRESH_BYTES / sizeof(struct fresh_line);

	while (n > FRESH_LEAST && (uint64_t)n * tunnels > FRESH_BYTES / sizeof(struct fresh_line))
		n /= 2;
	return n;
}

/* Of tunnel i, in the folder, or else in memory. */
static int book_open(struct app *a, unsigned i)
{
	const char *dir = a->conf->security.state, *name = a->conf->tunnels[i].name;
	int how = dir[0] ? recall_open(&a->books[i], dir, &a->recall_keys[i]) : -ENOENT;

	if (how >= 0) {
		if (how == RECALL_DAMAGED)
			log_warn("tunnel %s: its file in %s was damaged, and is begun anew", name, dir);
		return 0;
	}
	if (dir[0])
		log_warn("tunnel %s: recordings of before this start are not known: security.state: %s: %s", name, dir,
			 strerror(-how));
	how = recall_open(&a->books[i], NULL, &a->recall_keys[i]);
	return how < 0 ? how : 0;
}

/* Tunnels with one key have one book: a recording of either opens at both. */
static struct fresh_book *book_of(struct app *a, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (a->books[k].v && !memcmp(&a->recall_keys[k], &a->recall_keys[i], sizeof(a->recall_keys[i])))
			return &a->books[k];
	return &a->books[i];
}

/* Where nothing can be known again ("null", replaycheck off) no conversation is doubted either. */
static int book_up(struct app *a, unsigned i)
{
	struct shard_tunnel *t = &a->tunnels[i];

	if (t->client || !t->mark_len)
		return 0;
	t->book = book_of(a, i);
	return t->book->v ? 0 : book_open(a, i);
}

static int books_up(struct app *a)
{
	int ret = 0;

	a->books = calloc(a->conf->tunnels_room, sizeof(*a->books));
	if (!a->books)
		return app_fail(a, -ENOMEM, "conversations");
	for (unsigned i = 0; i < a->conf->n_tunnels && ret == 0; i++)
		ret = book_up(a, i);
	return ret ? app_fail(a, ret, "conversations") : 0;
}

static void large_pages(struct fresh_line *v, size_t n)
{
	if (n > FRESH_SMALL)
		madvise((uint8_t *)v + FRESH_SMALL, n - FRESH_SMALL, MADV_HUGEPAGE);
}

int app_fresh_up(struct app *a)
{
	unsigned tunnels = a->conf->n_tunnels, n = a->plan.workers;
	uint64_t now = worker_clock_ms(&a->clock, rte_rdtsc());
	uint32_t lines = tunnel_lines(tunnels);
	struct fresh_line *v;

	a->fresh = calloc(n, sizeof(*a->fresh));
	if (!a->fresh || getrandom(&a->mark_seed, sizeof(a->mark_seed), 0) != sizeof(a->mark_seed))
		return app_fail(a, -ENOMEM, "filters of replays");
	a->fresh_len = (size_t)n * tunnels * lines * sizeof(*v);
	v = mmap(NULL, a->fresh_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (v == MAP_FAILED)
		return app_fail(a, -errno, "filters of replays");
	a->fresh_lines = v;
	for (unsigned w = 0; w < n; w++) {
		a->fresh[w] = calloc(a->conf->tunnels_room, sizeof(**a->fresh));
		if (!a->fresh[w])
			return app_fail(a, -ENOMEM, "filters of replays");
		for (unsigned t = 0; t < tunnels; t++, v += lines) {
			large_pages(v, lines * sizeof(*v));
			fresh_init(&a->fresh[w][t], v, lines, now);
		}
	}
	return books_up(a);
}

int app_fresh_add(struct app *a, unsigned i)
{
	uint64_t now = worker_clock_ms(&a->clock, rte_rdtsc());
	uint32_t lines = tunnel_lines(i + 1);
	size_t each = lines * sizeof(struct fresh_line), len = a->plan.workers * each;
	struct fresh_line *v;

	v = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (v == MAP_FAILED)
		return -errno;
	for (unsigned w = 0; w < a->plan.workers; w++)
		fresh_init(&a->fresh[w][i], v + (size_t)w * lines, lines, now);
	a->fresh_added[i] = (struct app_map){v, len};
	return book_up(a, i);
}

void app_fresh_drop(struct app *a, unsigned i)
{
	if (a->fresh_added[i].at)
		munmap(a->fresh_added[i].at, a->fresh_added[i].len);
	a->fresh_added[i] = (struct app_map){0};
	if (a->books[i].v)
		recall_close(&a->books[i]);
}

void app_fresh_down(struct app *a)
{
	for (unsigned w = 0; a->fresh && w < a->plan.workers; w++)
		free(a->fresh[w]);
	free(a->fresh);
	for (unsigned i = 0; a->books && i < a->conf->tunnels_room; i++)
		app_fresh_drop(a, i);
	free(a->books);
	if (a->fresh_lines)
		munmap(a->fresh_lines, a->fresh_len);
}
