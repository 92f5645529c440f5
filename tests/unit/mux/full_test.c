/* SPDX-License-Identifier: MIT */

/* A table of streams that cannot grow: what fits is served, the rest is refused, and every lookup ends. */

#include <stdlib.h>

#include <criterion/criterion.h>

#include "le.h"
#include "mem.h"
#include "rig.h"

#define HOGS	 20000
#define RESERVED 600

struct hog {
	void *p;
	size_t n;
};

static struct hog hogs[HOGS];
static unsigned n_hogs;

static bool hog(struct mem *mem, size_t n)
{
	void *p = mem_get(mem, n);

	if (!p)
		return false;
	cr_assert_lt(n_hogs, HOGS);
	hogs[n_hogs++] = (struct hog){p, n};
	return true;
}

/*
 * Leaves memory for streams, and for nothing larger: a page full of what is of a stream's size is given back but for
 * one piece, after all else was taken.
 */
static void starve(struct mem *mem)
{
	const size_t size = mem_class(sizeof(struct mux_stream));
	void *reserve[RESERVED];

	for (unsigned i = 0; i < RESERVED; i++)
		cr_assert(reserve[i] = mem_get(mem, size));
	for (size_t n = 512 << 10; n > 32768; n /= 2)
		while (hog(mem, n))
			;
	for (size_t n = 32768; n > size; n -= 64)
		while (hog(mem, n))
			;
	for (unsigned i = 0; i < RESERVED - 1; i++)
		mem_put(mem, reserve[i], size);
	hogs[n_hogs++] = (struct hog){reserve[RESERVED - 1], size};
}

static void feast(struct mem *mem)
{
	while (n_hogs) {
		n_hogs--;
		mem_put(mem, hogs[n_hogs].p, hogs[n_hogs].n);
	}
}

/* A lookup that never ends is the fault that this looks for: the limit is the guard. */
Test(mux_full, lookups_end, .timeout = 60)
{
	struct mem *mem = rig_heap(1 << 20);
	struct mux_conf conf = {
		.version = 2, .framesize = 8192, .smuxbuf = 4 << 20, .streambuf = 100000, .max_streams = 10000};
	static struct mux_stream *s[RESERVED];
	size_t idle = mem_used(mem);
	struct mux_out o;
	struct mux m;
	unsigned n = 1;

	mux_init(&m, &conf, mem);
	s[0] = feed(&m, SYN, 3, 0, 0).stream;
	cr_assert(s[0]);
	starve(mem);
	for (; n < RESERVED; n++) {
		struct mux_ev ev = feed(&m, SYN, 3 + 2 * n, 0, 0);

		if (ev.type == MUX_EV_REFUSED)
			break;
		cr_assert_eq(ev.type, MUX_EV_OPEN);
		s[n] = ev.stream;
	}
	cr_assert(n > 4 && n < RESERVED, "%u streams: the table was to stop growing", n);

	/* Those that are there are found, any other id is not, and the search ends for each. */
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(feed(&m, PSH, 3 + 2 * i, 1, 0).stream, s[i]);
	for (uint32_t id = 4; id < 4004; id += 2)
		cr_assert_eq(feed(&m, PSH, id, 1, 0).type, MUX_EV_NONE);
	for (uint32_t id = 100001; id < 100201; id += 2)
		cr_assert_eq(feed(&m, SYN, id, 0, 0).type, MUX_EV_REFUSED);

	/* One that goes makes room for one that comes; with memory the table grows again. */
	mux_close(&m, s[1], false);
	while (out(&m, &o))
		;
	s[1] = feed(&m, SYN, 200001, 0, 0).stream;
	cr_assert(s[1]);
	cr_assert_eq(feed(&m, SYN, 200003, 0, 0).type, MUX_EV_REFUSED);
	feast(mem);
	for (uint32_t id = 300001; id < 300401; id += 2)
		cr_assert_eq(feed(&m, SYN, id, 0, 0).type, MUX_EV_OPEN);
	cr_assert_eq(feed(&m, PSH, 200001, 1, 0).stream, s[1]);
	mux_fini(&m);
	cr_assert_eq(mem_used(mem), idle);
}
