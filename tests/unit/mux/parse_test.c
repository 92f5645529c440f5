/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
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
	mem = rig_heap(4 << 20);
	idle = mem_used(mem);
	conf = (struct mux_conf){.version = 2,
				 .framesize = 8192,
				 .smuxbuf = 1 << 20,
				 .streambuf = 65536,
				 .max_streams = 100,
				 .hello = true};
	mux_init(&m, &conf, mem);
}

static void down(void)
{
	mux_fini(&m);
	cr_assert_eq(mem_used(mem), idle);
}

TestSuite(mux_parse, .init = up, .fini = down);

Test(mux_parse, header_without_payload_whatever_it_says)
{
	static const unsigned cmds[] = {SYN, FIN, NOP};

	for (unsigned i = 0; i < 3; i++) {
		uint32_t before = m.frames_in;

		/* Were 500 bytes consumed, the SYN behind would vanish. */
		feed_head(&m, cmds[i], 101, 500);
		cr_assert_eq(feed(&m, SYN, 3 + 2 * i, 0, 0).type, MUX_EV_OPEN);
		cr_assert_eq(m.frames_in, before + 2);
	}
}

Test(mux_parse, upd_is_eight_bytes_whatever_it_says)
{
	uint8_t b[24] = {};
	struct slice in = {b, 24};
	struct mux_ev ev;
	struct mux_stream *s;

	s = feed(&m, SYN, 3, 0, 0).stream;
	frame_head(b, 2, UPD, 0, 3);
	le32_put(b + 12, 777777);
	frame_head(b + 16, 2, SYN, 0, 5);
	cr_assert_eq(mux_next(&m, &in, &ev), 0);
	cr_assert_eq(s->peer_window, 777777);
	cr_assert_eq(ev.type, MUX_EV_OPEN);
	cr_assert_eq(ev.stream->id, 5);
	le16_put(b + 2, 60000);
	frame_head(b + 16, 2, SYN, 0, 7);
	in = (struct slice){b, 24};
	cr_assert_eq(mux_next(&m, &in, &ev), 0);
	cr_assert_eq(ev.stream->id, 7);
}

Test(mux_parse, empty_psh_is_nothing)
{
	feed(&m, SYN, 3, 0, 0);
	cr_assert_eq(feed(&m, PSH, 3, 0, 0).type, MUX_EV_NONE);
	cr_assert_eq(feed(&m, PSH, 3, 1, 9).type, MUX_EV_DATA);
}

Test(mux_parse, largest_frame)
{
	struct mux_ev ev;

	feed(&m, SYN, 3, 0, 0);
	ev = feed(&m, PSH, 3, 65535, 7);
	cr_assert_eq(ev.type, MUX_EV_DATA);
	cr_assert_eq(ev.data.n, 65535);
	cr_assert_eq(m.bucket, (1 << 20) - 65535);
}

Test(mux_parse, version_and_commands)
{
	for (unsigned version = 1; version <= 2; version++) {
		for (unsigned ver = 0; ver < 256; ver++) {
			for (unsigned cmd = 0; cmd < 256; cmd++) {
				bool good = ver == version && cmd <= (version == 2 ? UPD : NOP);
				uint8_t b[8];
				struct slice in = {b, 8};
				struct mux_ev ev;

				conf.version = (uint8_t)version;
				mux_init(&m, &conf, mem);
				frame_head(b, ver, cmd, 0, 0);
				cr_assert_eq(mux_next(&m, &in, &ev), good ? 0 : -EPROTO, "v%u: ver %u cmd %u", version,
					     ver, cmd);
				cr_assert_eq(m.dead, !good);
				if (good) {
					mux_fini(&m);
					continue;
				}
				cr_assert_null(mux_open(&m, NULL), "no streams on a broken session");
				frame_head(b, version, SYN, 0, 3);
				in = (struct slice){b, 8};
				cr_assert_eq(mux_next(&m, &in, &ev), -EPROTO, "an error is final");
				cr_assert_eq(ev.type, MUX_EV_NONE);
			}
		}
	}
}

Test(mux_parse, unknown_streams)
{
	int64_t bucket = m.bucket;

	cr_assert_eq(feed(&m, PSH, 9, 5000, 1).type, MUX_EV_NONE);
	cr_assert_eq(feed(&m, FIN, 9, 0, 0).type, MUX_EV_NONE);
	cr_assert_eq(feed_upd(&m, 9, 1, 1).type, MUX_EV_NONE);
	cr_assert_eq(feed(&m, NOP, 9, 0, 0).type, MUX_EV_NONE);
	cr_assert_eq(m.bucket, bucket);
	cr_assert_eq(m.count, 0);
	cr_assert_eq(mem_used(mem), idle);
}

Test(mux_parse, second_syn_is_nothing)
{
	struct mux_stream *s = feed(&m, SYN, 3, 0, 0).stream;

	s->user = &m;
	feed(&m, PSH, 3, 10, 0);
	cr_assert_eq(feed(&m, SYN, 3, 0, 0).type, MUX_EV_NONE);
	cr_assert_eq(m.count, 1);
	cr_assert_eq(s->held, 10);
}

/* Events as text, runs of data put together: what must not depend on where the input was cut. */
static void note(char **log, size_t *n, const struct mux_ev *ev, uint32_t *run_id)
{
	char line[64];
	int k;

	if (ev->type == MUX_EV_DATA) {
		k = *run_id == ev->stream->id ? 0 : snprintf(line, sizeof(line), "\n%u:", ev->stream->id);
		*run_id = ev->stream->id;
	} else {
		k = snprintf(line, sizeof(line), "\n%d %u", ev->type, ev->stream ? ev->stream->id : 0);
		*run_id = 0;
	}
	*log = realloc(*log, *n + (size_t)k + 2 * ev->data.n + 1);
	memcpy(*log + *n, line, (size_t)k);
	*n += (size_t)k;
	for (uint32_t i = 0; i < ev->data.n; i++)
		*n += (size_t)sprintf(*log + *n, "%02x", ev->data.p[i]);
}

/* Feeds b[0..n) in pieces of up to `step` (0: all at once), each on a block of its own length; the log, from malloc. */
static char *parse(const uint8_t *b, size_t n, size_t step, struct rng *r, int *verdict)
{
	char *log = NULL;
	size_t log_n = 0;
	uint32_t run_id = 0;

	mux_fini(&m);
	*verdict = 0;
	for (size_t at = 0; at < n && !*verdict;) {
		size_t k = step ? 1 + rng_below(r, (uint32_t)step) : n;
		struct mux_ev ev;
		uint8_t *piece;
		struct slice in;

		k = k > n - at ? n - at : k;
		piece = malloc(k);
		memcpy(piece, b + at, k);
		in = (struct slice){piece, (uint32_t)k};
		while (!(*verdict = mux_next(&m, &in, &ev)) && ev.type != MUX_EV_NONE) {
			note(&log, &log_n, &ev, &run_id);
			if (ev.type == MUX_EV_OPEN)
				mux_avail(&m, ev.stream, 100000);
			if (ev.type == MUX_EV_FIN && ev.stream->id % 4 == 1)
				mux_close(&m, ev.stream, false);
		}
		cr_assert(*verdict || in.n == 0);
		free(piece);
		at += k;
	}
	log = realloc(log, log_n + 1);
	log[log_n] = '\0';
	return log;
}

/* A frame of any kind that a wild peer could send; good ones prevail. */
static uint32_t wild_frame(struct rng *r, unsigned ver, uint8_t *b)
{
	static const unsigned cmds[] = {SYN, SYN, FIN, PSH, PSH, PSH, NOP, UPD};
	unsigned cmd = cmds[rng_below(r, ver == 2 ? 8 : 7)];
	uint32_t sid = 1 + rng_below(r, 12), len = cmd == PSH	     ? rng_below(r, 40)
						   : rng_below(r, 8) ? 0
								     : rng_below(r, 9);
	uint32_t n = frame_head(b, ver, cmd, len, sid);

	if (cmd == NOP && rng_below(r, 3) == 0)
		le32_put(b + 4, 0x80000000u | rng_below(r, 3));
	if (cmd == PSH)
		for (; len; len--)
			b[n++] = (uint8_t)rng_next(r);
	if (cmd == UPD) {
		le32_put(b + 8, rng_below(r, 4) ? 0 : (uint32_t)rng_next(r));
		le32_put(b + 12, (uint32_t)rng_next(r) >> rng_below(r, 32));
		n += 8;
	}
	if (rng_below(r, 200) == 0)
		b[rng_below(r, 8)] ^= (uint8_t)(1u << rng_below(r, 8));
	return n;
}

Test(mux_parse, fragmentation_changes_nothing)
{
	struct rng r = {1};
	unsigned bad = 0;

	for (unsigned round = 0; round < 600; round++) {
		uint8_t b[8192];
		uint32_t n = 0;
		int whole, cut;
		char *want, *got;

		while (n < 2000 + rng_below(&r, 4000))
			n += wild_frame(&r, 2, b + n);
		want = parse(b, n, 0, &r, &whole);
		cr_assert(strlen(want) > 10 || whole);
		for (size_t step = 1; step < 300; step = step * 3 + 1) {
			got = parse(b, n, step, &r, &cut);
			cr_assert_eq(cut, whole);
			cr_assert_str_eq(got, want, "round %u step %zu", round, step);
			free(got);
		}
		bad += whole != 0;
		free(want);
	}
	cr_assert(bad > 50 && bad < 550, "%u", bad);
}

Test(mux_parse, bucket)
{
	struct mux_stream *a = feed(&m, SYN, 3, 0, 0).stream, *b = feed(&m, SYN, 5, 0, 0).stream;
	uint32_t n = 0;

	while (mux_may_read(&m)) {
		feed(&m, PSH, n++ % 2 ? 3 : 5, 8192, 0);
		cr_assert_eq(m.bucket, (1 << 20) - (int64_t)n * 8192);
	}
	cr_assert_eq(n, 128);
	feed(&m, PSH, 3, 100, 0); /* what was on its way */
	cr_assert_eq(m.bucket, -100);
	mux_taken(&m, b, 100);
	cr_assert_not(mux_may_read(&m));
	mux_taken(&m, b, 1);
	cr_assert(mux_may_read(&m));
	mux_close(&m, a, false);
	cr_assert_eq(m.bucket, 64 * 8192 + 101);
	mux_taken(&m, b, b->held);
	cr_assert_eq(m.bucket, 1 << 20);
	feed(&m, PSH, 3, 8192, 0);
	cr_assert_eq(m.bucket, 1 << 20, "closed streams are not charged");
}

/* A stream that ends in the middle of a PSH: the rest of its payload is still payload. */
Test(mux_parse, closed_inside_a_frame)
{
	uint8_t b[8 + 100 + 8];
	struct slice in = {b, 50};
	struct mux_ev ev;
	struct mux_out o;

	for (unsigned round = 0; round < 2; round++) {
		struct mux_stream *s = feed(&m, SYN, 3, 0, 0).stream;

		memset(b, 0xee, sizeof(b));
		frame_head(b, 2, PSH, 100, 3);
		frame_head(b + 108, 2, SYN, 0, 5 + 2 * round);
		in = (struct slice){b, 50};
		cr_assert_eq(mux_next(&m, &in, &ev), 0);
		cr_assert_eq(ev.type, MUX_EV_DATA);
		mux_close(&m, s, false);
		if (round) {
			feed_head(&m, NOP, 0, 0); /* eight bytes more of the payload */
			cr_assert_eq(m.body, 50);
			while (mux_out(&m, &o))
				; /* and s is freed */
			cr_assert_null(m.body_of);
			in = (struct slice){b + 58, 58};
		} else {
			in = (struct slice){b + 50, 66};
			mux_out(&m, &o);
			mux_out(&m, &o);
		}
		cr_assert_eq(mux_next(&m, &in, &ev), 0);
		cr_assert_eq(ev.type, MUX_EV_OPEN);
		cr_assert_eq(ev.stream->id, 5 + 2 * round);
		cr_assert_eq(m.bucket, 1 << 20);
	}
}

/* Any bytes at all, on both roles and versions, with a caller that does what it likes: nothing breaks, nothing leaks.
 */
Test(mux_parse, noise)
{
	struct rng r = {2};

	for (unsigned round = 0; round < 3000; round++) {
		uint8_t *b = malloc(600);
		struct slice in = {b, 500};
		struct mux_out o;
		struct mux_ev ev;
		int64_t held = 0;
		uint32_t n = 0, cursor = 0;
		struct mux_stream *s;

		conf.version = 1 + round % 2;
		conf.client = round / 2 % 2;
		conf.max_streams = 1 + rng_below(&r, 6);
		mux_init(&m, &conf, mem);
		while (n < 500)
			n += wild_frame(&r, conf.version, b + n);
		for (unsigned k = 0; k < 3; k++)
			mux_open(&m, b);
		while (!mux_next(&m, &in, &ev) && ev.type != MUX_EV_NONE) {
			s = ev.stream;
			if (!s)
				continue;
			switch (rng_below(&r, 6)) {
			case 0:
				mux_taken(&m, s, s->held ? 1 + rng_below(&r, s->held) : 0);
				break;
			case 1:
				if (!(s->flags & (MUX_S_HALF | MUX_S_HALFSENT)))
					mux_avail(&m, s, rng_below(&r, 10000));
				break;
			case 2:
				mux_half(&m, s);
				break;
			case 3:
				mux_close(&m, s, rng_below(&r, 2));
				break;
			default:
				out(&m, &o);
			}
		}
		while ((s = mux_each(&m, &cursor)))
			held += s->held;
		cr_assert_eq(m.bucket + held, 1 << 20);
		if (round % 3)
			while (out(&m, &o))
				;
		mux_fini(&m);
		cr_assert_eq(mem_used(mem), idle);
		free(b);
	}
}
