/* SPDX-License-Identifier: MIT */
#pragma once

/* struct kcp_best (model.h): the greatest of a window's samples. */

#include <stdint.h>

#include "model.h"

static inline void kcp_best_reset(struct kcp_best *b, uint32_t round, float v)
{
	for (unsigned i = 0; i < 3; i++) {
		b->s[i].round = round;
		b->s[i].v = v;
	}
}

/* The best has left the window: the others move up. */
static inline void kcp_best_expire(struct kcp_best *b, uint32_t round, uint32_t window, float v)
{
	for (unsigned i = 0; i < 2 && round - b->s[0].round > window; i++) {
		b->s[0] = b->s[1];
		b->s[1] = b->s[2];
		b->s[2].round = round;
		b->s[2].v = v;
	}
}

static inline void kcp_best_add(struct kcp_best *b, uint32_t round, uint32_t window, float v)
{
	if (v >= b->s[0].v || round - b->s[2].round > window) {
		kcp_best_reset(b, round, v);
		return;
	}
	if (v >= b->s[1].v) {
		b->s[1].round = b->s[2].round = round;
		b->s[1].v = b->s[2].v = v;
	} else if (v >= b->s[2].v) {
		b->s[2].round = round;
		b->s[2].v = v;
	}
	kcp_best_expire(b, round, window, v);
	/* A quarter and a half of the window without a better second and third: take what there is now. */
	if (b->s[1].round == b->s[0].round && round - b->s[1].round > window / 4) {
		b->s[1].round = b->s[2].round = round;
		b->s[1].v = b->s[2].v = v;
	} else if (b->s[2].round == b->s[1].round && round - b->s[2].round > window / 2) {
		b->s[2].round = round;
		b->s[2].v = v;
	}
}

static inline float kcp_best_of(const struct kcp_best *b)
{
	return b->s[0].v;
}
