/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "rig.h"

static struct mem *mem;
static size_t idle;
static struct mux m;
static struct mux_conf conf;

static void up(void)
{
	mem = rig_heap(64 << 20);
	idle = mem_used(mem);
	conf = (struct mux_conf){.version = 2,
				 .client = true,
				 .framesize = 1000,
				 .smuxbuf = 4 << 20,
				 .streambuf = 2 << 20,
				 .max_streams = 1000};
	mux_init(&m, &conf, mem);
}

static void down(void)
{
	mux_fini(&m);
	cr_assert_eq(mem_used(mem), idle);
}

TestSuite(mux_frame, .init = up, .fini = down);

Test(mux_frame, control_before_data)
{
	struct mux_stream *a = mux_open(&m, NULL), *b;
	struct mux_out o;

	expect_frame(&m, &o, SYN, 3, 0);
	mux_avail(&m, a, 5000);
	expect_frame(&m, &o, PSH, 3, 1000);
	b = mux_open(&m, NULL);
	mux_avail(&m, b, 500);
	feed(&m, PSH, 3, 10, 0);
	mux_taken(&m, a, 10);
	mux_keepalive(&m);
	expect_frame(&m, &o, NOP, 0, 0);
	expect_frame(&m, &o, SYN, 5, 0);
	expect_frame(&m, &o, UPD, 3, 0);
	expect_frame(&m, &o, PSH, 5, 500); /* it had nothing to send before */
	expect_frame(&m, &o, PSH, 3, 1000);
	expect_frame(&m, &o, PSH, 3, 1000);
	expect_frame(&m, &o, PSH, 3, 1000);
	expect_frame(&m, &o, PSH, 3, 1000);
	expect_nothing(&m);
}

/* A UPD that waits behind the SYN of its own stream. */
Test(mux_frame, syn_before_upd)
{
	struct mux_stream *s = mux_open(&m, NULL);
	struct mux_out o;

	mux_open(&m, NULL);
	feed(&m, PSH, 3, 10, 0);
	mux_taken(&m, s, 10);
	expect_frame(&m, &o, SYN, 3, 0);
	expect_frame(&m, &o, SYN, 5, 0);
	expect_frame(&m, &o, UPD, 3, 0);
	expect_nothing(&m);
}

Test(mux_frame, framesize_limits)
{
	static const uint16_t sizes[] = {1, 2, 4096, 65535};
	struct mux_out o;

	for (unsigned i = 0; i < 4; i++) {
		struct mux_stream *s = mux_open(&m, NULL);
		uint32_t n = 0, frames = 0, total = sizes[i] * 3u + 1;

		conf.framesize = sizes[i];
		mux_avail(&m, s, total);
		while (out(&m, &o)) {
			n += o.n;
			frames += o.head[1] == PSH;
		}
		cr_assert_eq(n, total);
		cr_assert_eq(frames, sizes[i] == 1 ? 4 : 4);
	}
}

/* 1,000 streams that never run dry: after any number of frames nobody is more than one ahead of anybody. */
Test(mux_frame, fair)
{
	static unsigned got[1000];
	static struct mux_stream *s[1000];
	struct mux_out o;

	conf.version = m.version = 1;
	for (unsigned i = 0; i < 1000; i++) {
		s[i] = mux_open(&m, &got[i]);
		mux_avail(&m, s[i], 1000000);
		expect_frame(&m, &o, SYN, 3 + 2 * i, 0);
	}
	for (unsigned turn = 1; turn <= 50500; turn++) {
		cr_assert(out(&m, &o));
		++*(unsigned *)o.user;
		if (turn % 499)
			continue;
		for (unsigned i = 0; i < 1000; i++)
			cr_assert(got[i] == turn / 1000 || got[i] == turn / 1000 + 1, "%u frames after %u turns",
				  got[i], turn);
	}
}

/* Greedy streams do not keep one waiting that sends now and then. */
Test(mux_frame, late_comer_gets_its_turn)
{
	struct mux_stream *late;
	struct mux_out o;
	int mark;

	conf.version = m.version = 1;
	late = mux_open(&m, &mark);
	for (unsigned i = 0; i < 100; i++)
		mux_avail(&m, mux_open(&m, NULL), 1000000);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert(out(&m, &o));
	for (unsigned round = 0; round < 20; round++) {
		unsigned waited = 0;

		mux_avail(&m, late, 1);
		do {
			cr_assert(out(&m, &o));
			waited++;
		} while (o.user != &mark);
		cr_assert_eq(waited, 1, "%u frames", waited);
	}
}

/* v2: a reader that stopped stops its stream and no other. */
Test(mux_frame, stopped_reader_v2)
{
	struct mux_stream *a = mux_open(&m, "a"), *b = mux_open(&m, "b");
	uint64_t sent_a = 0, sent_b = 0;
	struct mux_out o;

	while (sent_b < 20000000) {
		if (a->avail < 5000)
			mux_avail(&m, a, 50000);
		if (b->avail < 5000)
			mux_avail(&m, b, 50000);
		cr_assert(out(&m, &o));
		if (o.head[1] != PSH)
			continue;
		*(le32_get(o.head + 4) == 3 ? &sent_a : &sent_b) += o.n;
		if (sent_b % 131072 < o.n)
			feed_upd(&m, 5, (uint32_t)sent_b, 262144);
	}
	cr_assert_eq(sent_a, MUX_INITIAL_WINDOW);
}

/* 100,000 streams without anything to say cost a look at none of them, and all of them give their memory back. */
Test(mux_frame, idle_streams_are_not_in_the_way)
{
	struct mux_stream *s = NULL;
	struct mux_out o;

	for (unsigned i = 0; i < 100000; i++)
		s = mux_open(&m, NULL);
	for (unsigned i = 0; i < 100000; i++)
		expect_frame(&m, &o, SYN, 3 + 2 * i, 0);
	cr_assert(list_empty(&m.run) && list_empty(&m.ctl));
	mux_avail(&m, s, 1);
	cr_assert(m.run.next == &s->run && m.run.prev == &s->run);
	expect_frame(&m, &o, PSH, s->id, 1);
	expect_nothing(&m);
	cr_assert((mem_used(mem) - idle) / 100000 < 160, "%zu bytes a stream", (mem_used(mem) - idle) / 100000);
}
