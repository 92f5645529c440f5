/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "scratch.h"
#include "stream.h"
#include "vectors.h"

/* The inputs that the file describes instead of giving them. */
static void generated(const char *how, size_t len, struct bytes *in)
{
	uint8_t zeros[65536] = {};

	cr_assert(strncmp(how, "65536 zero bytes", 16) == 0, "unknown generator: %s", how);
	bytes_add(in, zeros, sizeof(zeros));
	if (len > sizeof(zeros))
		bytes_add(in, "7 bytes", 7);
	cr_assert_eq(in->n, len);
}

/* Input of one write; false where the vector gives neither its bytes nor a way to make them that this suite has. */
static bool input_of(const json_t *v, struct bytes *in)
{
	const char *how = json_string_value(json_object_get(v, "input_generator"));
	size_t n = 0;

	if (how && strncmp(how, "sha256", 6) == 0)
		return false;
	if (how) {
		generated(how, (size_t)json_integer_value(json_object_get(v, "input_len")), in);
	} else if (json_object_get(v, "input")) {
		uint8_t *p = vectors_hex(v, "input", &n);

		bytes_add(in, p, n);
		free(p);
	}
	return in->n != 0;
}

/* All underlying writes of Go in one; false when the file omits some. */
static bool go_wire(const json_t *v, struct bytes *wire)
{
	json_t *writes = json_object_get(v, "underlying_writes");

	for (size_t i = 0; i < json_array_size(writes); i++) {
		size_t n;
		uint8_t *p;

		if (json_string_value(json_array_get(writes, i))[0] == '(')
			return false;
		p = vectors_unhex(json_array_get(writes, i), &n);
		bytes_add(wire, p, n);
		free(p);
	}
	return wire->n != 0;
}

/* One stream of ours over all writes: the same chunks as Go, of the same types, that read as the same bytes. */
Test(comp_vectors, writes_what_go_reads)
{
	json_t *all = vectors_load("snappy"), *list = json_object_get(all, "compress_stream"), *v;
	struct comp_scratch *s = comp_scratch_create();
	struct comp_enc e;
	size_t i;

	comp_enc_init(&e);
	json_array_foreach(list, i, v)
	{
		const char *desc = json_string_value(json_object_get(v, "desc"));
		struct bytes in = {}, go = {}, ours = {}, plain = {};
		unsigned chunks;
		size_t at;

		if (!input_of(v, &in) || !go_wire(v, &go))
			continue;
		for (size_t done = 0; done < in.n;) {
			size_t n = in.n - done > COMP_BLOCK_MAX ? COMP_BLOCK_MAX : in.n - done;
			struct slice cut[2] = {{in.p + done, (uint32_t)n / 3},
					       {in.p + done + n / 3, (uint32_t)(n - n / 3)}};
			size_t head = ours.n, id = e.begun ? 0 : 10;

			enc_add(&e, s, cut, 2, &ours);
			cr_assert_eq(ours.p[head + id], go.p[done ? 3085 : id], "%s: chunk type", desc);
			cr_assert(memcmp(ours.p + head + id + 4, go.p + (done ? 3085 : id) + 4, 4) == 0, "%s: crc",
				  desc);
			done += n;
		}
		if (ours.p[ours.p[0] == 0xff ? 10 : 0] == 1 && in.n <= COMP_BLOCK_MAX) {
			cr_assert_eq(ours.n, go.n, "%s", desc);
			cr_assert(memcmp(ours.p, go.p, go.n) == 0, "%s: raw chunks are byte for byte Go's", desc);
		}
		/* Both read back through the reference; the identifier is put in front where the write had none. */
		for (int k = 0; k < 2; k++) {
			struct bytes whole = {}, *w = k ? &go : &ours;

			plain.n = 0;
			if (w->p[0] != 0xff)
				bytes_add(&whole, "\xff\x06\0\0sNaPpY", 10);
			bytes_add(&whole, w->p, w->n);
			cr_assert(ref_read(whole.p, whole.n, &plain, &chunks), "%s", desc);
			at = (in.n + COMP_BLOCK_MAX - 1) / COMP_BLOCK_MAX;
			cr_assert_eq(chunks, at, "%s: %u chunks", desc, chunks);
			cr_assert_eq(plain.n, in.n, "%s", desc);
			cr_assert(memcmp(plain.p, in.p, in.n) == 0, "%s", desc);
			bytes_free(&whole);
		}
		bytes_free(&in);
		bytes_free(&go);
		bytes_free(&ours);
		bytes_free(&plain);
	}
	comp_scratch_destroy(s);
	json_decref(all);
}

/* Go's stream through our decoder, in pieces of every small size and around the larger ones. */
Test(comp_vectors, reads_what_go_writes)
{
	json_t *all = vectors_load("snappy"), *list = json_object_get(all, "compress_stream"), *v;
	struct comp_scratch *s = comp_scratch_create();
	struct bytes wire = {}, want = {}, got = {};
	static const size_t steps[] = {0, 1, 2, 3, 5, 7, 8, 18, 19, 64, 1298, 4096, 8208, 65536};
	void *region;
	struct mem *mem = heap(&region, 1 << 20);
	size_t i, idle = mem_used(mem);

	json_array_foreach(list, i, v)
	{
		struct bytes in = {};

		if (input_of(v, &in))
			cr_assert(go_wire(v, &wire));
		bytes_add(&want, in.p, in.n);
		bytes_free(&in);
	}
	cr_assert(want.n > 140000);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct comp_dec d;

		comp_dec_init(&d, mem);
		got.n = 0;
		cr_assert_eq(dec_all(&d, s, wire.p, wire.n, steps[i], &got), 0);
		cr_assert_eq(got.n, want.n, "step %zu: %zu bytes", steps[i], got.n);
		cr_assert(memcmp(got.p, want.p, want.n) == 0);
		cr_assert_not(comp_dec_partial(&d));
		cr_assert_eq(mem_used(mem), idle, "a decoder at a chunk border holds nothing");
		comp_dec_fini(&d);
	}
	bytes_free(&wire);
	bytes_free(&want);
	bytes_free(&got);
	comp_scratch_destroy(s);
	json_decref(all);
	free(region);
}

Test(comp_vectors, checksums)
{
	json_t *all = vectors_load("snappy"), *list = json_object_get(all, "masked_crc32c"), *v;
	size_t i;

	cr_assert(json_array_size(list) > 0);
	json_array_foreach(list, i, v)
	{
		const char *text = json_string_value(json_object_get(v, "ascii"));
		uint32_t want = (uint32_t)strtoul(json_string_value(json_object_get(v, "masked")), NULL, 16);
		uint32_t n = (uint32_t)strlen(text);
		struct slice one = {(const uint8_t *)text, n};

		cr_assert_eq(comp_crc(&one, 1), want);
		cr_assert_eq(ref_masked(one.p, n), want);
		for (uint32_t cut = 0; cut <= n; cut++) {
			struct slice two[2] = {{one.p, cut}, {one.p + cut, n - cut}};

			cr_assert_eq(comp_crc(two, 2), want);
		}
	}
	json_decref(all);
}

/* What golang/snappy's reader makes of good and bad streams, at every position of a cut. */
Test(comp_vectors, reader)
{
	json_t *all = vectors_load("snappy"), *list = json_object_get(all, "reader"), *v;
	struct comp_scratch *s = comp_scratch_create();
	void *region;
	struct mem *mem = heap(&region, 1 << 20);
	size_t i, idle = mem_used(mem);

	cr_assert(json_array_size(list) > 0);
	json_array_foreach(list, i, v)
	{
		bool good = json_string_value(json_object_get(v, "Err"))[0] == '\0';
		const char *desc = json_string_value(json_object_get(v, "Desc"));
		size_t n, out_n;
		uint8_t *in = vectors_hex(v, "In", &n), *out = vectors_hex(v, "Out", &out_n);

		for (size_t cut = 0; cut < n; cut++) {
			struct bytes got = {};
			struct comp_dec d;
			int r;

			comp_dec_init(&d, mem);
			r = dec_all(&d, s, in, cut, 0, &got);
			if (!r)
				r = dec_all(&d, s, in + cut, n - cut, 0, &got);
			cr_assert_eq(r, good ? 0 : -EBADMSG, "%s cut at %zu: %d", desc, cut, r);
			cr_assert_eq(got.n, out_n, "%s cut at %zu", desc, cut);
			cr_assert(!out_n || memcmp(got.p, out, out_n) == 0, "%s cut at %zu", desc, cut);
			cr_assert_eq(mem_used(mem), idle);
			comp_dec_fini(&d);
			bytes_free(&got);
		}
		free(in);
		free(out);
	}
	comp_scratch_destroy(s);
	json_decref(all);
	free(region);
}
