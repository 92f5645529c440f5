/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>

#include "bed.h"

/* The codecs of a tunnel's other shapes: found once they are there, as many as there may be, and for good. */

TestSuite(shapes);

Test(shapes, found_once_there)
{
	static struct fec_shapes s;
	const struct fec_codec *c;

	cr_assert_null(fec_shapes_find(&s, 20, 5));
	cr_assert_eq(fec_shapes_add(&s, 20, 5), 0);
	c = fec_shapes_find(&s, 20, 5);
	cr_assert_not_null(c);
	cr_assert_eq(fec_codec_ds(c), 20);
	cr_assert_eq(fec_codec_ps(c), 5);
	cr_assert_null(fec_shapes_find(&s, 5, 20));
	cr_assert_null(fec_shapes_find(&s, 20, 4));
	cr_assert_eq(fec_shapes_add(&s, 20, 5), 0);
	cr_assert_null(s.codec[1], "one is enough");
	cr_assert_eq(fec_shapes_add(&s, 5, 5), 0);
	cr_assert_eq(fec_shapes_find(&s, 20, 5), c);
	cr_assert_not_null(fec_shapes_find(&s, 5, 5));
	fec_shapes_drop(&s);
	cr_assert_null(fec_shapes_find(&s, 20, 5));
}

Test(shapes, so_many)
{
	static struct fec_shapes s;

	cr_assert_eq(fec_shapes_add(&s, 0, 5), -EINVAL);
	cr_assert_eq(fec_shapes_add(&s, 250, 7), -EINVAL);
	for (unsigned i = 1; i <= 3 * FEC_SHAPES; i++)
		cr_assert_eq(fec_shapes_add(&s, i, 1), i <= FEC_SHAPES ? 0 : -ENOSPC);
	for (unsigned i = 1; i <= 3 * FEC_SHAPES; i++)
		cr_assert_eq(fec_shapes_find(&s, i, 1) != NULL, i <= FEC_SHAPES);
	cr_assert_eq(fec_shapes_add(&s, 1, 1), 0, "which is there");
	fec_shapes_drop(&s);
}

/* Packets in no group: a data packet's header with seqid 0, and the groups behind them begin with the second. */
Test(shapes, lone_packets)
{
	static uint8_t room[2][FEC_HEAD + 100];
	struct pkt v[2] = {{.p = room[0] + FEC_HEAD, .n = 100}, {.p = room[1] + FEC_HEAD, .n = 1}};
	static const uint8_t head[2][FEC_HEAD] = {{0, 0, 0, 0, 0xf1, 0, 102, 0}, {0, 0, 0, 0, 0xf1, 0, 3, 0}};
	struct fec_codec *c;
	struct fec_enc e;

	fec_lone(v, 2);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(v[i].p, room[i]);
		cr_assert_eq(v[i].n, (i ? 1 : 100) + FEC_HEAD);
		cr_assert_eq(memcmp(v[i].p, head[i], FEC_HEAD), 0);
		cr_assert_eq(v[i].flags, 0);
	}
	cr_assert_eq(fec_codec_get(&c, 20, 5), 0);
	fec_enc_init(&e, c, NULL, NULL);
	fec_enc_after_lone(&e);
	cr_assert_eq(e.next, 25);
	cr_assert_eq(fec_enc_left(&e), 20);
	fec_codec_put(c);
}
