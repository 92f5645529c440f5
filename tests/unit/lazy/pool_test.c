/* SPDX-License-Identifier: MIT */

/* A pool whose memory is taken as it is used: what is resident, who gets what, and that nobody gets it twice. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

#include "eal.h"
#include "lazy.h"

#define N    4096u
#define SIZE 4096u

static struct rte_mempool *pool(unsigned n, unsigned cache, lazy_init *init)
{
	struct rte_mempool *mp = rte_mempool_create_empty("lazy", n, SIZE, cache, 0, SOCKET_ID_ANY,
							  RTE_MEMPOOL_F_NO_SPREAD | RTE_MEMPOOL_F_NO_IOVA_CONTIG);

	cr_assert_not_null(mp, "%s", rte_strerror(rte_errno));
	cr_assert_eq(lazy_populate(mp, init), 0);
	cr_assert_eq(mp->populated_size, n);
	cr_assert_eq(rte_mempool_avail_count(mp), n);
	return mp;
}

static void count_pages(struct rte_mempool *mp, void *arg, struct rte_mempool_memhdr *piece, unsigned i)
{
	size_t page = (size_t)getpagesize(), from = (uintptr_t)piece->addr / page * page;
	size_t pages = ((uintptr_t)piece->addr + piece->len - from + page - 1) / page;
	unsigned char *vec = calloc(1, pages);

	(void)mp;
	(void)i;
	cr_assert_eq(mincore((void *)from, pages * page, vec), 0);
	for (size_t p = 0; p < pages; p++)
		*(unsigned *)arg += vec[p] & 1;
	free(vec);
}

static unsigned resident(struct rte_mempool *mp)
{
	unsigned n = 0;

	cr_assert_gt(rte_mempool_mem_iter(mp, count_pages, &n), 0);
	return n;
}

Test(lazy_pool, takes_memory_as_it_is_used, .init = eal_start)
{
	struct rte_mempool *mp = pool(N, 0, NULL);
	void *obj[64];

	/* An allocator's own words lie at the end of each piece; of the objects nothing is there. */
	cr_assert_leq(resident(mp), 4, "%u pages", resident(mp));
	cr_assert_eq(lazy_touched(mp), 0);
	cr_assert_eq(rte_mempool_get_bulk(mp, obj, 64), 0);
	cr_assert_eq(lazy_touched(mp), 64);
	cr_assert_eq(rte_mempool_avail_count(mp), N - 64);
	for (unsigned i = 0; i < 64; i++)
		memset(obj[i], 1, SIZE);
	cr_assert_leq(resident(mp), 64 + 8, "%u pages", resident(mp));
	rte_mempool_put_bulk(mp, obj, 64);
	/* However often: what was given back is taken first. */
	for (unsigned turn = 0; turn < 1000; turn++) {
		cr_assert_eq(rte_mempool_get_bulk(mp, obj, 1 + turn % 64), 0);
		rte_mempool_put_bulk(mp, obj, 1 + turn % 64);
	}
	cr_assert_eq(lazy_touched(mp), 64);
	cr_assert_eq(rte_mempool_avail_count(mp), N);
	rte_mempool_free(mp);
}

static int by_address(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* All of them, none twice, none over another's end, in steps that leave a part of a step for the last one. */
static void take_all(struct rte_mempool *mp, unsigned step)
{
	unsigned n = mp->size, got = 0;
	void **obj = calloc(n + step, sizeof(*obj)), **sorted = calloc(n, sizeof(*obj)), *more;

	while (n - got >= step) {
		cr_assert_eq(rte_mempool_get_bulk(mp, obj + got, step), 0, "%u of %u by %u", got, n, step);
		got += step;
	}
	/* All or nothing, and what was not enough is there afterwards. */
	cr_assert_eq(rte_mempool_get_bulk(mp, obj + got, step), -ENOBUFS);
	cr_assert_eq(rte_mempool_avail_count(mp), n - got);
	for (; got < n; got++)
		cr_assert_eq(rte_mempool_get(mp, &obj[got]), 0);
	cr_assert_eq(rte_mempool_get(mp, &more), -ENOBUFS);
	memcpy(sorted, obj, n * sizeof(*obj));
	qsort(sorted, n, sizeof(*sorted), by_address);
	for (unsigned i = 0; i < n; i++) {
		cr_assert(i == 0 || (char *)sorted[i] - (char *)sorted[i - 1] >= (long)SIZE);
		cr_assert_eq(rte_mempool_from_obj(sorted[i]), mp);
		cr_assert_eq(rte_mempool_virt2iova(sorted[i]), (rte_iova_t)(uintptr_t)sorted[i]);
	}
	rte_mempool_put_bulk(mp, obj, n);
	cr_assert_eq(rte_mempool_avail_count(mp), n);
	free(obj);
	free(sorted);
}

Test(lazy_pool, hands_out_each_once, .init = eal_start)
{
	struct rte_mempool *mp = pool(N, 0, NULL);

	for (unsigned step = 1; step < 1000; step = step * 3 + 1)
		take_all(mp, step);
	cr_assert_eq(lazy_touched(mp), N);
	rte_mempool_free(mp);
}

/* Three were given back and some are new: together they are enough, and one more is not. */
Test(lazy_pool, old_and_new_ones_together, .init = eal_start)
{
	struct rte_mempool *mp = pool(N, 0, NULL);
	void *obj[N];

	cr_assert_eq(rte_mempool_get_bulk(mp, obj, N - 5), 0);
	rte_mempool_put_bulk(mp, obj, 3);
	cr_assert_eq(rte_mempool_get_bulk(mp, obj, 9), -ENOBUFS);
	cr_assert_eq(rte_mempool_avail_count(mp), 8);
	cr_assert_eq(rte_mempool_get_bulk(mp, obj, 8), 0);
	cr_assert_eq(rte_mempool_avail_count(mp), 0);
	rte_mempool_free(mp);
}

static _Atomic unsigned inits;

static void mark(struct rte_mempool *mp, void *obj)
{
	cr_assert_eq(rte_mempool_from_obj(obj), mp);
	memset(obj, 0x5a, 16);
	atomic_fetch_add(&inits, 1);
}

Test(lazy_pool, makes_each_ready_once, .init = eal_start)
{
	struct rte_mempool *mp = pool(N, 32, mark);
	void *obj;

	cr_assert_eq(inits, 0);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(rte_mempool_get(mp, &obj), 0);
		cr_assert_eq(((uint8_t *)obj)[15], 0x5a);
		rte_mempool_put(mp, obj);
	}
	cr_assert_eq(inits, lazy_touched(mp));
	take_all(mp, 7);
	cr_assert_eq(inits, N);
	rte_mempool_free(mp);
}

/* Memory in many pieces, more than the pool keeps account of. */
Test(lazy_pool, in_pieces, .init = eal_start)
{
	struct rte_mempool *mp = rte_mempool_create_empty("pieces", 50, SIZE, 0, 0, SOCKET_ID_ANY,
							  RTE_MEMPOOL_F_NO_SPREAD | RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	void *hole[200], *small[800], *big = rte_malloc(NULL, 16 << 10, 0);
	unsigned n = 0;

	/* Holes of one object each, small ones for what the pool notes of each, and nothing else. */
	for (unsigned i = 0; i < 800; i++)
		small[i] = rte_malloc(NULL, 256, 0);
	while (n < 200 && (hole[n] = rte_malloc(NULL, n % 2 ? 64 : SIZE * 7 / 4, 0)))
		n++;
	for (size_t len = (size_t)1 << 30; len >= 1024; len /= 2)
		while (rte_malloc(NULL, len, 0))
			;
	cr_assert_eq(n, 200);
	for (unsigned i = 0; i < n; i += 2)
		rte_free(hole[i]);
	for (unsigned i = 0; i < 800; i += 2)
		rte_free(small[i]);
	rte_free(big);
	cr_assert_not_null(mp);
	cr_assert_eq(lazy_populate(mp, mark), 0);
	cr_assert_gt(mp->nb_mem_chunks, 32, "%u pieces", mp->nb_mem_chunks);
	take_all(mp, 3);
	cr_assert_eq(inits, 50);
	rte_mempool_free(mp);
}

static struct rte_mempool_ops other = {.name = "other"};

static int no_alloc(struct rte_mempool *mp)
{
	(void)mp;
	return -1;
}

static int no_enqueue(struct rte_mempool *mp, void *const *obj, unsigned n)
{
	(void)mp, (void)obj, (void)n;
	return -1;
}

static int no_dequeue(struct rte_mempool *mp, void **obj, unsigned n)
{
	(void)mp, (void)obj, (void)n;
	return -1;
}

static unsigned no_count(const struct rte_mempool *mp)
{
	(void)mp;
	return 0;
}

/* DPDK's table of kinds of pools is full: the pool works, all of it at once. */
Test(lazy_pool, no_room_for_its_kind, .init = eal_start)
{
	struct rte_mempool *mp;

	other.alloc = no_alloc;
	other.enqueue = no_enqueue;
	other.dequeue = no_dequeue;
	other.get_count = no_count;
	for (unsigned i = 0; rte_mempool_register_ops(&other) >= 0; i++)
		snprintf(other.name, sizeof(other.name), "other%u", i);
	mp = pool(100, 0, mark);
	cr_assert_eq(inits, 100);
	cr_assert_eq(lazy_touched(mp), 0);
	take_all(mp, 3);
	cr_assert_eq(inits, 100);
	rte_mempool_free(mp);
}

#define THREADS 4
#define TURNS	20000

struct racer {
	struct rte_mempool *mp;
	unsigned seed;
	unsigned twice;
};

/* Whoever holds an object has its number in it; another's number means that it was handed out twice. */
static void *race(void *arg)
{
	struct racer *r = arg;
	void *obj[48];

	for (unsigned t = 0; t < TURNS; t++) {
		unsigned n = 1 + (unsigned)rand_r(&r->seed) % 48;

		if (rte_mempool_get_bulk(r->mp, obj, n))
			continue;
		for (unsigned i = 0; i < n; i++)
			r->twice += atomic_exchange((_Atomic unsigned *)obj[i], 1) != 0;
		for (unsigned i = 0; i < n; i++)
			atomic_store((_Atomic unsigned *)obj[i], 0);
		rte_mempool_put_bulk(r->mp, obj, n);
	}
	return NULL;
}

static void zero(struct rte_mempool *mp, void *obj)
{
	(void)mp;
	memset(obj, 0, 64);
}

Test(lazy_pool, many_threads, .init = eal_start)
{
	struct rte_mempool *mp = pool(150, 0, zero); /* fewer than they may want at a time */
	struct racer r[THREADS];
	pthread_t t[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		r[i] = (struct racer){.mp = mp, .seed = i};
		cr_assert_eq(pthread_create(&t[i], NULL, race, &r[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		cr_assert_eq(r[i].twice, 0);
	}
	cr_assert_eq(rte_mempool_avail_count(mp), 150);
	take_all(mp, 10);
	rte_mempool_free(mp);
}

struct taker {
	struct rte_mempool *mp;
	pthread_barrier_t *together;
	void *obj[N / THREADS];
};

static void *take(void *arg)
{
	struct taker *t = arg;

	pthread_barrier_wait(t->together);
	for (unsigned i = 0; i < N / THREADS; i++)
		if (rte_mempool_get(t->mp, &t->obj[i]))
			t->obj[i] = NULL;
	return NULL;
}

/* Each object's first use is one thread's. */
Test(lazy_pool, first_used_by_many_threads, .init = eal_start)
{
	struct taker *t = calloc(THREADS, sizeof(*t));
	void **all = calloc(N, sizeof(*all));
	pthread_barrier_t together;
	pthread_t id[THREADS];

	pthread_barrier_init(&together, NULL, THREADS);
	for (unsigned round = 0; round < 20; round++) {
		struct rte_mempool *mp = pool(N, 0, NULL);

		for (unsigned i = 0; i < THREADS; i++) {
			t[i].mp = mp;
			t[i].together = &together;
			cr_assert_eq(pthread_create(&id[i], NULL, take, &t[i]), 0);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			pthread_join(id[i], NULL);
			memcpy(all + i * (N / THREADS), t[i].obj, sizeof(t[i].obj));
		}
		qsort(all, N, sizeof(*all), by_address);
		cr_assert_not_null(all[0], "not all of them");
		for (unsigned i = 1; i < N; i++)
			cr_assert_neq(all[i], all[i - 1], "one twice");
		rte_mempool_free(mp);
	}
	free(all);
	free(t);
}
