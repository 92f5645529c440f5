/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fec_codec.h"
#include "ref.h"
#include "vectors.h"

Test(codec, rows_are_klauspost_s)
{
	json_t *root = vectors_load("fec"), *c;
	size_t i;

	json_array_foreach(json_object_get(root, "cases"), i, c)
	{
		unsigned ds = (unsigned)json_integer_value(json_object_get(c, "data_shards"));
		unsigned ps = (unsigned)json_integer_value(json_object_get(c, "parity_shards"));
		json_t *rows = json_object_get(c, "parity_matrix_rows");
		struct fec_codec *k;

		cr_assert_eq(fec_codec_get(&k, ds, ps), 0);
		cr_assert_eq(json_array_size(rows), ps);
		cr_assert_eq(k->paws, (uint32_t)json_integer_value(json_object_get(c, "paws")));
		for (unsigned j = 0; j < ps; j++) {
			size_t n;
			uint8_t *row = vectors_unhex(json_array_get(rows, j), &n);

			cr_assert_eq(n, ds);
			cr_assert_eq(memcmp(row, k->rows + j * ds, ds), 0, "(%u,%u) row %u", ds, ps, j);
			free(row);
		}
		fec_codec_put(k);
	}
	json_decref(root);
}

static void check_rows(unsigned ds, unsigned ps)
{
	struct fec_codec *k;
	uint8_t *rows = malloc((size_t)ds * ps);

	ref_rows(ds, ps, rows);
	cr_assert_eq(fec_codec_get(&k, ds, ps), 0);
	cr_assert_eq(memcmp(rows, k->rows, (size_t)ds * ps), 0, "(%u,%u)", ds, ps);
	fec_codec_put(k);
	free(rows);
}

Test(codec, rows_equal_the_inverted_vandermonde)
{
	static const unsigned big[][2] = {{70, 30}, {128, 127}, {128, 128}, {1, 255}, {255, 1}, {200, 56}, {33, 223}};

	for (unsigned ds = 1; ds < 24; ds++) {
		for (unsigned ps = 1; ds + ps <= 24; ps++)
			check_rows(ds, ps);
	}
	for (unsigned i = 0; i < sizeof(big) / sizeof(big[0]); i++)
		check_rows(big[i][0], big[i][1]);
}

Test(codec, refuses_what_the_field_cannot_number)
{
	static const unsigned bad[][2] = {{0, 1}, {1, 0}, {0, 0}, {256, 1}, {1, 256}, {129, 128}, {-1u, 2}, {2, -1u}};
	struct fec_codec *k = NULL;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(fec_codec_get(&k, bad[i][0], bad[i][1]), -EINVAL);
	fec_codec_put(NULL);
}

Test(codec, is_shared)
{
	struct fec_codec *a, *b, *c;

	cr_assert_eq(fec_codec_get(&a, 10, 3), 0);
	cr_assert_eq(fec_codec_get(&b, 3, 10), 0);
	cr_assert_eq(fec_codec_get(&c, 10, 3), 0);
	cr_assert_eq(a, c);
	cr_assert_neq(a, b);
	cr_assert_eq(fec_codec_ds(b), 3);
	cr_assert_eq(fec_codec_ps(b), 10);
	fec_codec_put(a);
	cr_assert_eq(fec_codec_ds(c), 10);
	fec_codec_put(b);
	fec_codec_put(c);
	/* Made anew after the last user has gone. */
	cr_assert_eq(fec_codec_get(&a, 10, 3), 0);
	cr_assert_eq(fec_codec_ps(a), 3);
	fec_codec_put(a);
}
