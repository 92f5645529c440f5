/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "le.h"
#include "rig.h"

/*
 * Whose frame is next.  Streams have bytes in chunks of any length, and their shares are equal all the same; who sends
 * little waits for nobody but those who send as little.
 */

#define FRAME	8192
#define QUANTUM (MUX_HEAD + FRAME)
#define LEAST	200 /* bytes of a frame that is cut short */
#define SEEDS	20

static struct mem *mem;
static size_t idle;
static struct mux m;
static struct mux_conf conf;
static struct rng rng;
static uint64_t total; /* bytes sent, with their headers */

/* One that sends: so many bytes are announced to mux at a time, and again when they are gone. */
struct sender {
	struct mux_stream *s;
	uint32_t chunk, waits;
	uint64_t sent; /* with its headers */
};

static void up(void)
{
	mem = rig_heap(64 << 20);
	idle = mem_used(mem);
	conf = (struct mux_conf){.version = 1,
				 .client = true,
				 .framesize = FRAME,
				 .smuxbuf = 4 << 20,
				 .streambuf = 2 << 20,
				 .max_streams = 100000};
	mux_init(&m, &conf, mem);
}

static void down(void)
{
	mux_fini(&m);
	cr_assert_eq(mem_used(mem), idle);
}

TestSuite(mux_turns, .init = up, .fini = down);

static void announce(struct sender *a, uint32_t n)
{
	mux_avail(&m, a->s, n);
	a->waits += n;
}

/* A stream whose SYN is out. */
static void start(struct sender *a, uint32_t chunk)
{
	struct mux_out o;

	*a = (struct sender){.chunk = chunk};
	a->s = mux_open(&m, a);
	cr_assert(out(&m, &o) && o.head[1] == SYN);
}

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The next frame, which has to be a PSH, and no shorter than need be: whose it is. */
static struct sender *next(void)
{
	struct sender *a;
	struct mux_out o;

	cr_assert(out(&m, &o) && o.head[1] == PSH);
	a = o.user;
	cr_assert(o.n <= a->waits);
	cr_assert(o.n == min32(a->waits, conf.framesize) || o.n >= LEAST || conf.version == 2, "%u of %u bytes", o.n,
		  a->waits);
	a->waits -= o.n;
	a->sent += MUX_HEAD + o.n;
	total += MUX_HEAD + o.n;
	if (!a->waits && a->chunk)
		announce(a, a->chunk);
	return a;
}

static uint32_t some_chunk(void)
{
	static const uint32_t to[] = {100, 300, 3000, 10000, 300000};

	return 1 + rng_below(&rng, to[rng_below(&rng, 5)]);
}

static void restart(uint64_t seed, uint16_t frame)
{
	mux_fini(&m);
	conf.framesize = frame;
	mux_init(&m, &conf, mem);
	rng.s = seed;
	total = 0;
}

/* By how much the one of a[0..n) that has sent most is ahead of the one that has sent least. */
static uint64_t lead(const struct sender *a, unsigned n)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned i = 0; i < n; i++) {
		least = a[i].sent < least ? a[i].sent : least;
		most = a[i].sent > most ? a[i].sent : most;
	}
	return most - least;
}

/* Streams that never run dry, whatever their chunks: at no moment is one more than a frame and a bit ahead. */
Test(mux_turns, shares_by_bytes)
{
	static const uint16_t frames[] = {100, 1400, FRAME, 32768, 65535};
	static struct sender a[40];

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		uint16_t frame = frames[seed % 5];
		uint32_t quantum = MUX_HEAD + (uint32_t)frame, most = quantum + min32(quantum, 300);
		unsigned n;

		restart(seed, frame);
		n = 2 + rng_below(&rng, 39);
		for (unsigned i = 0; i < n; i++)
			start(&a[i], some_chunk());
		for (unsigned i = 0; i < n; i++)
			announce(&a[i], a[i].chunk);
		for (unsigned i = 0; i < 20000 && total < 30ull * n * quantum; i++) {
			next();
			cr_assert_leq(lead(a, n), most,
				      "seed %u: of %u streams with frames of %u bytes, one is %lu ahead", seed, n,
				      frame, lead(a, n));
		}
	}
}

/* A stream that sends a little now and then waits for a frame of the others at most, however many they are. */
Test(mux_turns, thin_waits_for_one_frame)
{
	static struct sender bulk[50], thin;

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		unsigned n;

		restart(seed, FRAME);
		n = 1 + rng_below(&rng, 50);
		start(&thin, 0);
		for (unsigned i = 0; i < n; i++)
			start(&bulk[i], some_chunk());
		for (unsigned i = 0; i < n; i++)
			announce(&bulk[i], bulk[i].chunk);
		while (total < n * QUANTUM)
			next(); /* as long as all of them are new */
		for (unsigned i = 0; i < 200; i++) {
			unsigned frames = 0;

			/* In a round of the others it has its share as they have theirs. */
			for (uint64_t to = total + rng_below(&rng, 2 * n * QUANTUM); total < to;)
				next();
			announce(&thin, 1 + rng_below(&rng, 400));
			while (next() != &thin)
				frames++;
			cr_assert_leq(frames, 1, "seed %u: of %u streams, %u frames went before it", seed, n, frames);
		}
	}
}

/* Many that send a little wait for each other, and for no other. */
Test(mux_turns, thin_among_thin)
{
	static struct sender bulk[20], thin[40];

	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		restart(seed, FRAME);
		for (unsigned i = 0; i < 40; i++)
			start(&thin[i], 0);
		for (unsigned i = 0; i < 20; i++) {
			start(&bulk[i], 1000000);
			announce(&bulk[i], bulk[i].chunk);
		}
		for (unsigned round = 0; round < 200; round++) {
			unsigned n = 0;

			for (unsigned i = 0; i < 60; i++)
				next();
			for (unsigned i = 0; i < 40; i++) {
				if (rng_below(&rng, 2)) {
					announce(&thin[i], 1 + rng_below(&rng, 400));
					n++;
				}
			}
			for (unsigned i = 0; i < n; i++)
				cr_assert_eq(next()->chunk, 0, "seed %u: frame %u of %u is another's", seed, i, n);
		}
	}
}

/* Streams that come, send a frame and go, as many as there are frames, do not shut out those that were there. */
Test(mux_turns, new_ones_do_not_starve_old_ones)
{
	static struct sender old[2], young[4000];
	unsigned waited = 0, most = 0, waiting = 0;

	for (unsigned i = 0; i < 2; i++) {
		start(&old[i], 1000000);
		announce(&old[i], old[i].chunk);
	}
	for (unsigned i = 0; i < 10; i++)
		next();
	for (unsigned i = 0; i < 4000; i++) {
		start(&young[i], 0);
		announce(&young[i], FRAME);
		waiting++;
		if (next()->chunk) {
			waited = 0;
			continue;
		}
		waiting--;
		waited++;
		most = waited > most ? waited : most;
		/* Each of those that wait may have its turn between, with eight new ones before it. */
		cr_assert_leq(waited, 9 * (waiting + 1), "frame %u: %u of others in a row, %u wait", i, waited,
			      waiting);
	}
	cr_assert_geq(most, 8, "new ones did go first: %u", most);
}

/* Who goes idle at the end of its turn and is back at once is no new one. */
Test(mux_turns, no_gain_by_pausing)
{
	static struct sender a[3];

	for (unsigned i = 0; i < 3; i++)
		start(&a[i], i ? 1000000 : FRAME);
	for (unsigned i = 0; i < 3; i++)
		announce(&a[i], a[i].chunk);
	for (unsigned i = 0; i < 3000; i++)
		next();
	cr_assert_leq(lead(a, 3), QUANTUM + 300, "%lu %lu %lu", a[0].sent, a[1].sent, a[2].sent);
}

/* v2: a stream without window has no turn, and takes up where it was when the window comes. */
Test(mux_turns, window_comes_and_goes)
{
	static struct sender a[3];
	uint64_t told = 0;

	conf.version = 2;
	restart(1, FRAME);
	for (unsigned i = 0; i < 3; i++) {
		start(&a[i], 1000000);
		announce(&a[i], a[i].chunk);
		feed_upd(&m, a[i].s->id, 0, i ? 2000000000 : 3000);
	}
	for (unsigned i = 0; i < 20000; i++) {
		next();
		if (a[0].s->sent - told == 3000) {
			told += 3000;
			feed_upd(&m, a[0].s->id, (uint32_t)told, 3000);
		}
	}
	for (unsigned i = 1; i < 3; i++)
		cr_assert(a[i].sent < a[0].sent + 2 * QUANTUM && a[0].sent < a[i].sent + 2 * QUANTUM, "%lu %lu",
			  a[0].sent, a[i].sent);
}

/* Bytes that wait for the peer's window alone are told from a stream that has none, whatever thin ones do beside it. */
Test(mux_turns, starved)
{
	static struct sender a[2];
	struct mux_out o;

	conf.version = 2;
	restart(1, FRAME);
	for (unsigned i = 0; i < 2; i++) {
		start(&a[i], 0);
		feed_upd(&m, a[i].s->id, 0, 3000);
	}
	cr_assert_not(mux_starved(&m), "nothing to send");
	announce(&a[0], 5000);
	cr_assert_not(mux_starved(&m), "and a window for some of it");
	while (out(&m, &o))
		;
	cr_assert(mux_starved(&m));
	announce(&a[1], 100);
	cr_assert(out(&m, &o));
	cr_assert(mux_starved(&m));
	feed_upd(&m, a[0].s->id, 1000, 3000);
	cr_assert_not(mux_starved(&m));
	while (out(&m, &o))
		;
	cr_assert(mux_starved(&m));
	feed_upd(&m, a[0].s->id, 3000, 3000);
	while (out(&m, &o))
		;
	cr_assert_not(mux_starved(&m), "all is sent");
	announce(&a[0], 5000);
	while (out(&m, &o))
		;
	cr_assert(mux_starved(&m));
	feed(&m, FIN, a[0].s->id, 0, 0);
	cr_assert_not(mux_starved(&m), "what was not sent never will be");
	mux_close(&m, a[0].s, false);
	announce(&a[1], 5000);
	while (out(&m, &o))
		;
	cr_assert(mux_starved(&m));
	mux_close(&m, a[1].s, false);
	cr_assert_not(mux_starved(&m));
}

/* What goes away while it waits, of the old ones (0 to 2) or the new ones (3 to 5), leaves the others in their order,
 * and the next new one (6) its place between. */
Test(mux_turns, leaves_while_it_waits)
{
	static const unsigned order[] = {3, 4, 5, 6, 0, 1, 2};
	static struct sender a[7];
	struct mux_out o;

	for (unsigned mask = 1; mask < 64; mask++) {
		restart(mask, FRAME);
		for (unsigned i = 0; i < 7; i++)
			start(&a[i], 0);
		for (unsigned i = 0; i < 3; i++)
			announce(&a[i], 3 * FRAME);
		for (unsigned i = 0; i < 3; i++)
			next();
		for (unsigned i = 3; i < 6; i++)
			announce(&a[i], 100);
		for (unsigned i = 0; i < 6; i++) {
			if (mask & 1u << i)
				feed(&m, FIN, a[i].s->id, 0, 0);
		}
		announce(&a[6], 100);
		for (unsigned i = 0; i < 7; i++) {
			if (!(mask & 1u << order[i]))
				cr_assert_eq(next(), &a[order[i]], "mask %x: not %u", mask, order[i]);
		}
		for (unsigned i = 0; i < 7; i++)
			mux_close(&m, a[i].s, false);
		for (unsigned n = 0; out(&m, &o); n++)
			cr_assert(o.head[1] == FIN && n < 7);
		cr_assert_eq(m.count, 0);
	}
}
