/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "fastdiv.h"
#include "le.h"
#include "list.h"
#include "rnd.h"
#include "seq.h"

Test(le, bytes_lie_as_named_at_any_alignment)
{
	uint8_t buf[24];

	for (unsigned off = 0; off < 8; off++) {
		uint8_t *p = buf + off;

		le64_put(p, 0x0102030405060708);
		for (unsigned i = 0; i < 8; i++)
			cr_assert_eq(p[i], 8 - i);
		cr_assert_eq(le64_get(p), 0x0102030405060708);
		cr_assert_eq(be64_get(p), 0x0807060504030201);
		cr_assert_eq(le32_get(p), 0x05060708);
		cr_assert_eq(be32_get(p), 0x08070605);
		cr_assert_eq(le16_get(p), 0x0708);
		cr_assert_eq(be16_get(p), 0x0807);
		be16_put(p, 0x1234);
		cr_assert(p[0] == 0x12 && p[1] == 0x34 && p[2] == 6);
		be32_put(p, 0x12345678);
		cr_assert(p[0] == 0x12 && p[3] == 0x78 && p[4] == 4);
		le32_put(p, 0x12345678);
		cr_assert(p[0] == 0x78 && p[3] == 0x12 && p[4] == 4);
		be64_put(p, 0x1112131415161718);
		cr_assert(p[0] == 0x11 && p[7] == 0x18);
		le16_put(p, 0x1234);
		cr_assert(p[0] == 0x34 && p[1] == 0x12 && p[2] == 0x13);
	}
}

Test(seq, order_goes_around)
{
	cr_assert_eq(seq_diff(5, 3), 2);
	cr_assert_eq(seq_diff(3, 5), -2);
	cr_assert_eq(seq_diff(1, UINT32_MAX), 2);
	cr_assert_eq(seq_diff(UINT32_MAX, 1), -2);
	cr_assert_eq(seq_diff(0x80000000, 0), INT32_MIN);
	cr_assert(seq_lt(UINT32_MAX, 0) && !seq_lt(0, UINT32_MAX));
	cr_assert(seq_lt(0, 0x7fffffff) && !seq_lt(7, 7));
}

struct item {
	int v;
	struct list link;
};

static void holds(const struct list *head, const int *v, unsigned n)
{
	const struct list *back = head->prev;
	unsigned i = 0;

	list_for_each (e, head) {
		cr_assert_lt(i, n);
		cr_assert_eq(container_of(e, struct item, link)->v, v[i]);
		cr_assert_eq(e->next->prev, e);
		i++;
	}
	cr_assert_eq(i, n);
	for (; back != head; back = back->prev)
		cr_assert_eq(container_of(back, struct item, link)->v, v[--i]);
	cr_assert_eq(i, 0);
	cr_assert_eq(list_empty(head), n == 0);
}

Test(list, order)
{
	struct item it[5];
	struct list a, b, *e;

	list_init(&a);
	list_init(&b);
	holds(&a, NULL, 0);
	cr_assert_null(list_pop(&a));
	list_splice_tail(&a, &b);
	holds(&a, NULL, 0);
	for (int i = 0; i < 5; i++) {
		it[i].v = i;
		list_init(&it[i].link);
	}
	list_del(&it[0].link); /* on no list */
	list_add_tail(&a, &it[1].link);
	list_add_tail(&a, &it[2].link);
	list_add_head(&a, &it[0].link);
	holds(&a, (int[]){0, 1, 2}, 3);
	list_add_before(&it[1].link, &it[4].link);
	holds(&a, (int[]){0, 4, 1, 2}, 4);
	list_add_tail(&b, &it[3].link);
	list_splice_tail(&b, &a);
	holds(&b, (int[]){3, 0, 4, 1, 2}, 5);
	holds(&a, NULL, 0);
	list_splice_tail(&a, &b);
	list_del(&it[4].link);
	cr_assert(list_empty(&it[4].link));
	e = list_pop(&a);
	cr_assert_eq(e, &it[3].link);
	cr_assert(list_empty(e));
	holds(&a, (int[]){0, 1, 2}, 3);
	list_for_each_safe (x, next, &a)
		list_del(x);
	holds(&a, NULL, 0);
}

static void divides(uint32_t x, uint32_t d)
{
	cr_assert_eq(fastdiv(fastdiv_by(d), x), x / d, "%u / %u", x, d);
}

/* Around every multiple that matters: of the smallest, of the largest, of the 32 bits' own end. */
static void divides_at_edges(uint32_t d)
{
	uint32_t last = UINT32_MAX / d * d;
	uint32_t at[] = {0, d, 2 * d, last / d / 2 * d, last - d, last, UINT32_MAX, UINT32_MAX / 2, 1u << 31};

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		for (uint32_t off = 0; off < 5; off++)
			divides(at[i] + off - 2, d);
}

Test(fastdiv, as_the_instruction_does)
{
	uint64_t seed = 7;

	for (uint32_t d = 2; d <= 70000; d++)
		divides_at_edges(d);
	for (uint32_t d = UINT32_MAX; d > UINT32_MAX - 1000; d--)
		divides_at_edges(d);
	for (unsigned b = 1; b < 32; b++)
		for (uint32_t d = (1u << b) - (b > 1); d <= (1u << b) + 1; d++)
			divides_at_edges(d);
	for (unsigned i = 0; i < 10000000; i++) {
		uint64_t r = rnd_next(&seed);
		uint32_t d = (uint32_t)r >> (rnd_next(&seed) % 31);

		divides((uint32_t)(r >> 32), d < 2 ? 2 : d);
	}
}
