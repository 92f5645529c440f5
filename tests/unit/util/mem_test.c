/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <criterion/criterion.h>

#include "mem.h"
#include "rnd.h"

#define PAGE ((size_t)65536)
#define LIVE 4096

static void *map_region(size_t len)
{
	/* One page more, to find an aligned start. */
	uint8_t *p = mmap(NULL, len + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p + (-(uintptr_t)p & (PAGE - 1));
}

static struct mem *heap(size_t len)
{
	struct mem *m = mem_init(map_region(len), len);

	cr_assert_not_null(m);
	cr_assert_eq(mem_used(m), 0);
	return m;
}

Test(mem, bad_arguments)
{
	uint8_t *p = map_region(4 << 20);

	cr_assert_null(mem_init(NULL, 1 << 20));
	cr_assert_null(mem_init(p + 4096, 1 << 20));
	cr_assert_null(mem_init(p, (1 << 20) + 4096));
	cr_assert_null(mem_init(p, (1 << 20) - PAGE));
	cr_assert_null(mem_init(p, 0));
	cr_assert_not_null(mem_init(p, 1 << 20));
}

Test(mem, classes)
{
	size_t before = 0;

	cr_assert_eq(mem_class(0), 0);
	cr_assert_eq(mem_class((size_t)MEM_MAX_ALLOC + 1), 0);
	cr_assert_eq(mem_class(SIZE_MAX), 0);
	for (size_t n = 1; n <= 300000; n++) {
		size_t c = mem_class(n);

		cr_assert(c >= n && c >= before && mem_class(c) == c, "%zu", n);
		cr_assert_eq(c % (n >= 64 ? 64 : 16), 0);
		if (n > 1280 && n <= 1600)
			cr_assert_lt(c - n, 64);
		if (n >= 512 && n <= 8192)
			cr_assert_lt(c - n, n / 3, "%zu takes %zu", n, c);
		before = c;
	}
	for (unsigned bit = 4; bit <= 24; bit++)
		cr_assert_eq(mem_class((size_t)1 << bit), (size_t)1 << bit);
}

Test(mem, every_size_is_aligned_and_apart)
{
	struct mem *m = heap(64 << 20);
	static uint8_t *p[40000];

	for (size_t n = 1; n < 40000; n += n < 2200 ? 1 : 61) {
		p[n] = mem_get(m, n);
		cr_assert_not_null(p[n]);
		cr_assert_eq((uintptr_t)p[n] % (n >= 64 ? 64 : 16), 0);
		memset(p[n], (int)(n * 31 & 0xff), n);
	}
	for (size_t n = 1; n < 40000; n += n < 2200 ? 1 : 61) {
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(p[n][i], n * 31 & 0xff);
		mem_put(m, p[n], n);
	}
	mem_put(m, NULL, 5);
	cr_assert_eq(mem_used(m), 0);
}

Test(mem, refuses)
{
	struct mem *m = heap(64 << 20);

	cr_assert_null(mem_get(m, 0));
	cr_assert_null(mem_get(m, (size_t)MEM_MAX_ALLOC + 1));
	cr_assert_null(mem_get(m, SIZE_MAX));
	cr_assert_not_null(mem_get(m, MEM_MAX_ALLOC));
	m = heap(16 << 20);
	cr_assert_null(mem_get(m, MEM_MAX_ALLOC), "the bookkeeping takes a page of it");
}

/* Every page of a region of any number of pages can be had, in any class, and again as a whole afterwards. */
Test(mem, all_of_the_region_serves)
{
	static const size_t sizes[] = {65536, 32768, 16, 48, 1472, 196608, 21824};
	static void *p[1 << 19];

	for (unsigned pages = 16; pages < 330; pages += 37) {
		struct mem *m = heap(pages * PAGE);

		cr_assert_eq(mem_total(m), (pages - 1) * PAGE);
		for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			size_t a = PAGE > sizes[s] ? PAGE / mem_class(sizes[s]) : 1;
			size_t n = 0, want = sizes[s] > PAGE ? 0 : (pages - 1) * a;

			if (want > sizeof(p) / sizeof(p[0]))
				continue;
			while (n < sizeof(p) / sizeof(p[0]) && (p[n] = mem_get(m, sizes[s])))
				n++;
			if (want)
				cr_assert_eq(n, want, "%u pages of %zu: %zu", pages, sizes[s], n);
			cr_assert_leq(mem_used(m), mem_total(m));
			while (n)
				mem_put(m, p[--n], sizes[s]);
			cr_assert_eq(mem_used(m), 0);
		}
	}
}

Test(mem, what_one_class_gives_back_another_can_use)
{
	struct mem *m = heap(33 << 20);
	static void *p[600000];
	size_t n = 0;

	while ((p[n] = mem_get(m, 64)))
		n++;
	cr_assert_eq(mem_used(m), mem_total(m));
	cr_assert_null(mem_get(m, 65536));
	for (size_t i = 0; i < n; i += 2)
		mem_put(m, p[i], 64);
	cr_assert_null(mem_get(m, 128), "every page still holds something");
	for (size_t i = 1; i < n; i += 2)
		mem_put(m, p[i], 64);
	cr_assert_eq(mem_used(m), 0);
	p[0] = mem_get(m, MEM_MAX_ALLOC);
	cr_assert_not_null(p[0], "pages have merged again");
	memset(p[0], 1, MEM_MAX_ALLOC);
	mem_put(m, p[0], MEM_MAX_ALLOC);
}

/* Each class may keep one empty page; when nothing else is left, all of them serve. */
Test(mem, kept_pages_are_no_loss)
{
	struct mem *m = heap(17 << 20);
	size_t total = mem_total(m) / PAGE, n = 0;
	void *p[512];

	for (size_t size = 16; size <= 32768; size = mem_class(size + 1))
		mem_put(m, mem_get(m, size), size);
	cr_assert_eq(mem_used(m), 0);
	while ((p[n] = mem_get(m, PAGE)))
		n++;
	cr_assert_eq(n, total);
	while (n)
		mem_put(m, p[--n], PAGE);
	for (size_t size = 16; size <= 32768; size = mem_class(size + 1))
		mem_put(m, mem_get(m, size), size);
	cr_assert_not_null(mem_get(m, MEM_MAX_ALLOC));
}

Test(mem, untouched_memory_is_not_faulted_in)
{
	size_t len = (size_t)1 << 30;
	uint8_t *region = map_region(len);
	struct mem *m = mem_init(region, len);
	static unsigned char in[1 << 18];
	size_t touched = 0;
	void *big;

	cr_assert_not_null(m);
	for (int i = 0; i < 100; i++)
		memset(mem_get(m, 1400), 1, 1400);
	big = mem_get(m, MEM_MAX_ALLOC);
	mem_put(m, big, MEM_MAX_ALLOC);
	cr_assert_eq(mincore(region, len, in), 0);
	for (size_t i = 0; i < len / 4096; i++)
		touched += in[i] & 1;
	/* 256 KiB of bookkeeping, 140 KiB of objects. */
	cr_assert_leq(touched, 64 + 1 + 48, "%zu pages of 4 KiB", touched);
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>

Test(mem, sanitizer_sees_what_is_free)
{
	struct mem *m = heap(2 << 20);
	static const size_t sizes[] = {1, 16, 100, 1400, 40000, 200000};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];
		uint8_t *p = mem_get(m, n);

		cr_assert_null(__asan_region_is_poisoned(p, n));
		if (mem_class(n) > n)
			cr_assert(__asan_address_is_poisoned(p + n), "overrun of %zu", n);
		mem_put(m, p, n);
		cr_assert(__asan_address_is_poisoned(p) && __asan_address_is_poisoned(p + n - 1));
	}
	mem_fini(m);
}
#endif

struct live {
	uint8_t *p;
	size_t n;
	uint8_t v;
};

static size_t any_size(uint64_t *seed)
{
	uint64_t r = rnd_next(seed);

	switch (r & 7) {
	case 0:
		return 1 + (r >> 8) % 63;
	case 1:
		return 1 + (r >> 8) % 40000;
	case 2:
		return 1 + (r >> 8) % (300 * 1024);
	case 3:
		return (size_t)16 << (r >> 8) % 17;
	default:
		return 1300 + (r >> 8) % 200;
	}
}

static void check(const struct live *l)
{
	size_t step = l->n > 4096 ? 509 : 1;

	for (size_t i = 0; i < l->n; i += step)
		cr_assert_eq(l->p[i], l->v);
	cr_assert_eq(l->p[l->n - 1], l->v);
}

/* Objects keep what was written into them, whatever else comes and goes; at the end everything is one block again. */
Test(mem, random_life)
{
	static struct live live[LIVE];

	for (unsigned round = 0; round < 4; round++) {
		struct mem *m = heap((17 + 16 * round) * ((size_t)1 << 20) + round * 3 * PAGE);
		uint64_t seed = round + 1;
		unsigned failed = 0;

		for (unsigned i = 0; i < 60000; i++) {
			struct live *l = &live[rnd_next(&seed) % LIVE];

			if (l->p) {
				check(l);
				mem_put(m, l->p, l->n);
				l->p = NULL;
				continue;
			}
			l->n = any_size(&seed);
			l->v = (uint8_t)i;
			l->p = mem_get(m, l->n);
			failed += !l->p;
			if (l->p)
				memset(l->p, l->v, l->n);
			cr_assert_leq(mem_used(m), mem_total(m));
		}
		cr_assert(failed, "the budget was never reached: make the test harder");
		for (unsigned i = 0; i < LIVE; i++) {
			if (live[i].p)
				check(&live[i]);
			mem_put(m, live[i].p, live[i].n);
			live[i].p = NULL;
		}
		cr_assert_eq(mem_used(m), 0);
		for (size_t n = mem_total(m) / (PAGE * 256); n; n--)
			cr_assert_not_null(mem_get(m, MEM_MAX_ALLOC));
		mem_fini(m);
	}
}

/* ---- accounts ---- */

struct holder {
	struct mem a;
	void *p[40000];
	size_t n;
};

/* Takes objects of `size` bytes until it is refused, or has `most`; how many bytes it then holds. */
static size_t take(struct holder *h, size_t size, size_t most)
{
	while (h->n < sizeof(h->p) / sizeof(h->p[0]) && h->a.used + mem_class(size) <= most &&
	       (h->p[h->n] = mem_get(&h->a, size)))
		h->n++;
	return h->a.used;
}

static void give(struct holder *h, size_t size)
{
	while (h->n)
		mem_put(&h->a, h->p[--h->n], size);
	cr_assert_eq(h->a.used, 0);
}

#define MB ((size_t)1 << 20)

/* Tunnels have their shares whoever else is greedy, and what is nobody's goes to who asks first. */
Test(mem, a_tunnels_share_is_its_own)
{
	struct mem *m = heap(64 * MB);
	static struct holder t[4];
	struct mem_tunnel tun[4];
	size_t total = mem_spare(m), share = total / 8, sum = 0;

	for (unsigned i = 0; i < 4; i++) {
		mem_tunnel(&tun[i], m, share);
		mem_session(&t[i].a, &tun[i], true);
	}
	cr_assert_eq(mem_spare(m), total - 4 * share);
	take(&t[0], 1472, SIZE_MAX);
	cr_assert(t[0].a.missed);
	cr_assert_leq(t[0].a.used, total - 3 * share);
	cr_assert_gt(t[0].a.used, total - 3 * share - 1472);
	cr_assert(mem_low(&tun[0]) && !mem_low(&tun[1]));
	for (unsigned i = 1; i < 4; i++) {
		take(&t[i], 4096, SIZE_MAX);
		cr_assert_leq(t[i].a.used, share + 1472, "the rest is the first's");
		cr_assert_gt(t[i].a.used, share - 4096, "tunnel %u has %zu of %zu", i, t[i].a.used, share);
	}
	/* What the first gives back of the rest, others may have. */
	give(&t[0], 1472);
	cr_assert_eq(mem_over(m), 0);
	take(&t[1], 4096, SIZE_MAX);
	cr_assert_gt(t[1].a.used, total - 3 * share - 4096);
	for (unsigned i = 0; i < 4; i++)
		sum += t[i].a.used;
	cr_assert_leq(sum, total);
	for (unsigned i = 1; i < 4; i++)
		give(&t[i], 4096);
	cr_assert(mem_over(m) == 0 && mem_used(m) == 0);
}

/* Each greedy session leaves as much as it holds; and MEM_LEAST goes to everybody. */
Test(mem, greedy_sessions_leave_some)
{
	struct mem *m = heap(64 * MB);
	static struct holder s[5];
	struct mem_tunnel tunnel;
	struct mem late;
	size_t all = mem_spare(m), left = all;
	void *p;

	mem_tunnel(&tunnel, m, all);
	for (unsigned i = 0; i < 5; i++) {
		mem_session(&s[i].a, &tunnel, false);
		take(&s[i], 4096, SIZE_MAX);
		cr_assert(s[i].a.missed && s[i].a.greedy);
		left -= s[i].a.used;
		cr_assert_leq(s[i].a.used, left + 4096);
		cr_assert_gt(s[i].a.used + 8192, left);
	}
	cr_assert_eq(tunnel.own.used, all - left);
	cr_assert(mem_low(&tunnel));
	mem_session(&late, &tunnel, false);
	p = mem_get(&late, MEM_LEAST);
	cr_assert(p && late.used == MEM_LEAST && !late.missed);
	mem_put(&late, p, MEM_LEAST);
	/* When one gives back what it holds, those with less get it, and those with more still do not. */
	give(&s[2], 4096);
	s[4].a.missed = s[0].a.missed = false;
	cr_assert_gt(take(&s[4], 4096, SIZE_MAX), s[3].a.used);
	cr_assert_null(mem_get(&s[0].a, 16));
	cr_assert(s[0].a.missed && s[0].a.greedy);
	for (unsigned i = 0; i < 5; i++)
		give(&s[i], 4096);
	cr_assert(tunnel.own.used == 0 && mem_used(m) == 0);
}

/* A firm account has its tunnel's bounds alone; and what it holds can be left to the tunnel. */
Test(mem, firm_accounts_and_what_is_left_behind)
{
	struct mem *m = heap(64 * MB);
	static struct holder h, firm;
	struct mem_tunnel tunnel;
	void *p;

	mem_tunnel(&tunnel, m, mem_spare(m));
	mem_session(&h.a, &tunnel, false);
	mem_session(&firm.a, &tunnel, true);
	take(&h, 4096, SIZE_MAX);
	take(&firm, 4096, SIZE_MAX);
	cr_assert(!firm.a.greedy && firm.a.missed);
	cr_assert_geq(tunnel.own.used + 4096, tunnel.share);
	give(&h, 4096);
	p = mem_get(&h.a, 3000);
	cr_assert_eq(tunnel.own.used, firm.a.used + mem_class(3000));
	mem_leave(&h.a, 3000);
	cr_assert_eq(h.a.used, 0);
	cr_assert_eq(tunnel.own.used, firm.a.used + mem_class(3000));
	mem_put(&tunnel.own, p, 3000);
	give(&firm, 4096);
	cr_assert(tunnel.own.used == 0 && mem_used(m) == 0);
}
