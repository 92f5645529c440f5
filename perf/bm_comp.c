/* SPDX-License-Identifier: MIT */

/*
 * The snappy framing format, ns a chunk and GB/s of plain bytes: random bytes (which the encoder learns to pass on
 * uncompressed), text, and text compressed no matter what by libsnappy alone, beside the checksum alone.  Chunks of
 * 16 KiB and of 1400 bytes, the sizes of a bulk stream's and of a lone frame.  256 KiB of either kind of input are gone
 * through, so they lie in the second cache.
 */

#include <stdio.h>

#include <snappy-c.h>

#include "bench.h"
#include "comp.h"
#include "pkts.h"
#include "scratch.h"

#define INPUT (256u << 10)
#define HEAP  (4u << 20)

static struct comp_scratch *scratch;
static struct mem *heap;
static uint8_t input[INPUT], wire[2 * INPUT + 64];
static char packed[1 << 17];
static uint32_t wire_n;
static unsigned chunk;

static void fill_text(void)
{
	static const char *const words[] = {"the ", "worker ", "owns ",	 "its ",       "session, ", "and ",
					    "a ",   "packet ", "never ", "re-enters ", "room ",	    "that ",
					    "it ",  "left; ",  "0x1f ",	 "window\n"};
	uint64_t s = 3;
	size_t n = 0;

	while (n < INPUT) {
		const char *w = words[pkts_rnd(&s) >> 60];
		size_t len = strlen(w);

		if (len > INPUT - n)
			len = INPUT - n;
		memcpy(input + n, w, len);
		n += len;
	}
}

static void encode(void *arg)
{
	static struct comp_enc enc;
	struct slice out[COMP_OUT_MAX(1)];

	(void)arg;
	for (unsigned at = 0; at + chunk <= INPUT; at += chunk) {
		struct slice in = {input + at, chunk};
		unsigned n = comp_enc(&enc, scratch, &in, 1, out);

		bench_keep(out[n - 1].p);
	}
}

static void bare_snappy(void *arg)
{
	(void)arg;
	for (unsigned at = 0; at + chunk <= INPUT; at += chunk) {
		size_t len = sizeof(packed);

		snappy_compress((const char *)input + at, chunk, packed, &len);
		bench_keep(packed);
	}
}

static void bare_crc(void *arg)
{
	(void)arg;
	for (unsigned at = 0; at + chunk <= INPUT; at += chunk) {
		struct slice in = {input + at, chunk};
		uint32_t crc = comp_crc(&in, 1);

		bench_keep(&crc);
	}
}

/* The whole input as a stream, for the decoder. */
static void make_wire(void)
{
	struct slice out[COMP_OUT_MAX(1)];
	struct comp_enc enc;

	comp_enc_init(&enc);
	wire_n = 0;
	for (unsigned at = 0; at + chunk <= INPUT; at += chunk) {
		struct slice in = {input + at, chunk};
		unsigned n = comp_enc(&enc, scratch, &in, 1, out);

		for (unsigned i = 0; i < n; i++) {
			memcpy(wire + wire_n, out[i].p, out[i].n);
			wire_n += out[i].n;
		}
	}
}

/* In pieces of a segment's payload, as KCP gives it. */
static void decode(void *arg)
{
	struct comp_dec d;
	uint32_t plain = 0;

	(void)arg;
	comp_dec_init(&d, heap);
	for (uint32_t at = 0; at < wire_n; at += PKTS_BYTES) {
		struct slice in = {wire + at, wire_n - at < PKTS_BYTES ? wire_n - at : PKTS_BYTES}, out;
		int r;

		while ((r = comp_dec(&d, scratch, &in, &out)) > 0)
			plain += out.n;
		if (r < 0)
			bench_wrong("the decoder refuses what the encoder made");
	}
	comp_dec_fini(&d);
	if (plain != INPUT / chunk * chunk)
		bench_wrong("%u bytes came back of %u", plain, INPUT / chunk * chunk);
}

static void measure(const char *kind, unsigned bytes)
{
	struct bench_series s;
	char name[64];
	struct bench_job j = {name, encode, NULL, NULL, INPUT / bytes, bytes};

	chunk = bytes;
	snprintf(name, sizeof(name), "comp encode %s, %u bytes", kind, bytes);
	bench_job(&j, &s);
	j.run = bare_snappy;
	snprintf(name, sizeof(name), "comp libsnappy alone %s, %u bytes", kind, bytes);
	bench_job(&j, &s);
	j.run = decode;
	make_wire();
	snprintf(name, sizeof(name), "comp decode %s, %u bytes", kind, bytes);
	bench_job(&j, &s);
	j.run = bare_crc;
	snprintf(name, sizeof(name), "comp checksum alone, %s, %u bytes", kind, bytes);
	bench_job(&j, &s);
}

int main(int argc, char **argv)
{
	bench_begin(argc, argv, "bm_comp", "snappy framing, a chunk");
	scratch = comp_scratch_create();
	heap = mem_init(aligned_alloc(1 << 16, HEAP), HEAP);
	pkts_fill(input, sizeof(input), 9);
	measure("random", 16384);
	measure("random", 1400);
	fill_text();
	measure("text", 16384);
	measure("text", 1400);
	mem_fini(heap);
	comp_scratch_destroy(scratch);
	return bench_end();
}
