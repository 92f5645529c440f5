/* SPDX-License-Identifier: MIT */

/*
 * The filters of datagrams that were seen before: one a worker and tunnel.  Their memory is address space of the
 * kernel's ordinary pages, of which they touch what the rate asks for: 4 KiB a tunnel at first.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <rte_cycles.h>

#include "app.h"

#define FRESH_BYTES ((size_t)16 << 20) /* a worker, at most: its tunnels share it evenly */

/* Lines of each tunnel: a power of two. */
static uint32_t tunnel_lines(unsigned tunnels)
{
	uint32_t n = FRESH_BYTES / sizeof(struct fresh_line);

	while (n > FRESH_LEAST && (uint64_t)n * tunnels > FRESH_BYTES / sizeof(struct fresh_line))
		n /= 2;
	return n;
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
	madvise(v, a->fresh_len, MADV_HUGEPAGE); /* where there are any: a line is a page's first, mostly */
	a->fresh_lines = v;
	for (unsigned w = 0; w < n; w++) {
		a->fresh[w] = calloc(tunnels, sizeof(**a->fresh));
		if (!a->fresh[w])
			return app_fail(a, -ENOMEM, "filters of replays");
		for (unsigned t = 0; t < tunnels; t++, v += lines)
			fresh_init(&a->fresh[w][t], v, lines, now);
	}
	return 0;
}

void app_fresh_down(struct app *a)
{
	for (unsigned w = 0; a->fresh && w < a->plan.workers; w++)
		free(a->fresh[w]);
	free(a->fresh);
	if (a->fresh_lines)
		munmap(a->fresh_lines, a->fresh_len);
}
