/* SPDX-License-Identifier: MIT */

/*
 * smux frames, ns a frame: `out` asks for the next frame of streams that all have bytes to send (mux_avail and mux_out,
 * the payload itself stays the caller's), `parse` reads a byte stream of data frames of 1, 100 or 1000 streams in turn,
 * in pieces of a segment's payload, with mux_taken after each; no payload is copied on either side, so the GB/s say
 * only how much a frame's cost weighs against its bytes.  v2 adds its windows and UPDs.
 */

#include <stdio.h>

#include "bench.h"
#include "le.h"
#include "mux.h"
#include "pkts.h"
#include "smux_wire.h"

#define FRAMES 256
#define HEAP   (16u << 20)

static struct mem *heap;
static struct mux ours, theirs;
static struct mux_stream *stream[1000];
static uint8_t *wire;
static uint32_t wire_n;
static unsigned streams, bytes;

/* `from` has sent what it has: `to` hears it. */
static void pass(struct mux *from, struct mux *to)
{
	struct mux_out o;
	struct mux_ev ev;

	while (mux_out(from, &o)) {
		struct slice in = {o.head, o.head_n};

		while (mux_next(to, &in, &ev) == 0 && ev.type != MUX_EV_NONE)
			;
	}
}

static void out(void *arg)
{
	struct mux_out o;
	uint64_t sum = 0;

	(void)arg;
	for (unsigned i = 0; i < FRAMES; i++)
		mux_avail(&ours, stream[i % streams], bytes);
	while (mux_out(&ours, &o))
		sum += o.n;
	if (sum != (uint64_t)FRAMES * bytes)
		bench_wrong("%llu bytes went out of %llu", (unsigned long long)sum, (unsigned long long)FRAMES * bytes);
}

static void parse(void *arg)
{
	struct mux_ev ev;
	uint64_t sum = 0;
	struct mux_out o;
	int r;

	(void)arg;
	for (uint32_t at = 0; at < wire_n; at += PKTS_BYTES) {
		struct slice in = {wire + at, wire_n - at < PKTS_BYTES ? wire_n - at : PKTS_BYTES};

		while ((r = mux_next(&theirs, &in, &ev)) == 0 && ev.type != MUX_EV_NONE) {
			if (ev.type != MUX_EV_DATA)
				continue;
			sum += ev.data.n;
			mux_taken(&theirs, ev.stream, ev.data.n);
		}
		if (r < 0)
			bench_wrong("the parser refuses what the framer made");
	}
	while (mux_out(&theirs, &o)) /* UPDs */
		;
	if (sum != (uint64_t)FRAMES * bytes)
		bench_wrong("%llu bytes came of %llu", (unsigned long long)sum, (unsigned long long)FRAMES * bytes);
}

/* By hand: v2's windows would stop a framer whose peer says nothing. */
static void make_wire(unsigned version)
{
	wire_n = 0;
	for (unsigned i = 0; i < FRAMES; i++) {
		uint8_t *p = wire + wire_n;

		p[SMUX_VER] = (uint8_t)version;
		p[SMUX_CMD] = SMUX_PSH;
		le16_put(p + SMUX_LEN, (uint16_t)bytes);
		le32_put(p + SMUX_SID, stream[i % streams]->id);
		memset(p + MUX_HEAD, 0x5a, bytes);
		wire_n += MUX_HEAD + bytes;
	}
}

static void measure(unsigned version, unsigned n, unsigned size)
{
	struct mux_conf conf = {.version = (uint8_t)version,
				.client = true,
				.framesize = (uint16_t)size,
				.smuxbuf = 1u << 30,
				.streambuf = 1u << 30,
				.max_streams = 2000};
	struct mux_conf peer = conf;
	struct bench_series s;
	char name[64];
	struct bench_job j = {name, out, NULL, NULL, FRAMES, size};

	peer.client = false;
	streams = n;
	bytes = size;
	mux_init(&ours, &conf, heap);
	mux_init(&theirs, &peer, heap);
	for (unsigned i = 0; i < n; i++)
		stream[i] = mux_open(&ours, &stream[i]);
	pass(&ours, &theirs);
	pass(&theirs, &ours);
	make_wire(version);
	if (version == 1) { /* nobody returns v2's windows here */
		snprintf(name, sizeof(name), "mux out, %u streams, frames of %u", n, size);
		bench_job(&j, &s);
	}
	j.run = parse;
	snprintf(name, sizeof(name), "mux parse v%u, %u streams, frames of %u", version, n, size);
	bench_job(&j, &s);
	mux_fini(&ours);
	mux_fini(&theirs);
}

int main(int argc, char **argv)
{
	static const unsigned counts[] = {1, 100, 1000};

	bench_begin(argc, argv, "bm_mux", "smux, a frame");
	heap = mem_init(aligned_alloc(1 << 16, HEAP), HEAP);
	wire = malloc(FRAMES * (8192 + MUX_HEAD));
	for (unsigned i = 0; i < 3; i++) {
		measure(1, counts[i], 8192);
		measure(1, counts[i], 1400);
		measure(2, counts[i], 8192);
		measure(2, counts[i], 1400);
	}
	free(wire);
	mem_fini(heap);
	return bench_end();
}
