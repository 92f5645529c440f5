/* SPDX-License-Identifier: MIT */

/* When the encoder gives up for a while, and what ends that. */

#include <string.h>

#include <criterion/criterion.h>

#include "stream.h"

#define LONG  8200
#define SHORT 200 /* too short to say anything by a miss, yet always tried */

static struct comp_scratch *scratch;
static uint8_t buf[LONG];

static void up(void)
{
	scratch = comp_scratch_create();
}

static void down(void)
{
	comp_scratch_destroy(scratch);
}

TestSuite(comp_learn, .init = up, .fini = down);

/* Encodes n bytes that shrink, or do not; true when they went out compressed. */
static bool encode(struct comp_enc *e, bool shrinks, uint32_t n)
{
	static struct rng r = {5};
	struct slice out[2];

	fill(&r, shrinks ? KIND_ZERO : KIND_RANDOM, buf, n);
	return comp_enc(e, scratch, &(struct slice){buf, n}, 1, out) == 1;
}

/* An encoder that has just begun a pause of 2^k chunks. */
static struct comp_enc paused(unsigned k)
{
	struct comp_enc e;

	comp_enc_init(&e);
	e.begun = true;
	cr_assert_not(encode(&e, false, LONG));
	for (unsigned i = 0; i <= k; i++) {
		for (unsigned left = i ? 1u << (i - 1) : 0; left; left--)
			cr_assert_not(encode(&e, true, LONG), "within a pause nothing is tried");
		cr_assert_not(encode(&e, false, LONG));
	}
	return e;
}

/* A short chunk that shrinks says that the data has changed: the next long one is tried at once. */
Test(comp_learn, short_hit_ends_the_pause)
{
	for (unsigned k = 0; k <= 6; k++) {
		struct comp_enc e = paused(k), other = e;

		cr_assert_not(encode(&other, true, LONG));
		cr_assert(encode(&e, true, SHORT));
		cr_assert(encode(&e, true, LONG), "still in the pause of %u", 1u << k);
		/* And the count of misses began anew: the first one costs no pause. */
		cr_assert_not(encode(&e, false, LONG));
		cr_assert(encode(&e, true, LONG));
	}
}

/* A short chunk that does not shrink says nothing: the pause is as long as it was. */
Test(comp_learn, short_miss_says_nothing)
{
	for (unsigned k = 0; k <= 6; k++) {
		struct comp_enc e = paused(k);

		for (unsigned left = 1u << k; left; left--) {
			cr_assert_not(encode(&e, false, SHORT));
			cr_assert_not(encode(&e, true, LONG));
		}
		cr_assert(encode(&e, true, LONG), "the pause of %u is over", 1u << k);
	}
}
