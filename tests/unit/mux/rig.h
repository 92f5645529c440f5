/* SPDX-License-Identifier: MIT */
#pragma once

/* What the suites of mux share: a heap, seeded numbers, and frames made and read by hand. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mux.h"

enum { SYN, FIN, PSH, NOP, UPD };

/* A heap of `len` bytes that the process keeps, and one mux on it. */
struct mem *rig_heap(size_t len);

struct rng {
	uint64_t s;
};

uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);

/* Writes a header at p; returns its 8 bytes. */
uint32_t frame_head(uint8_t *p, unsigned ver, unsigned cmd, uint32_t len, uint32_t sid);

/* Feeds one frame with n payload bytes (of value `fill`) and returns its last event; fails the test on an error. */
struct mux_ev feed(struct mux *m, unsigned cmd, uint32_t sid, uint32_t n, uint8_t fill);
struct mux_ev feed_upd(struct mux *m, uint32_t sid, uint32_t consumed, uint32_t window);
/* The same for a header alone, with any length in it. */
struct mux_ev feed_head(struct mux *m, unsigned cmd, uint32_t sid, uint32_t len);

/* Asserts that mux_pending and mux_out agree, and returns what mux_out said. */
bool out(struct mux *m, struct mux_out *o);

/* Asserts that the next frame has these. */
#define expect_frame(m, o, cmd_, sid_, n_)                                                      \
	do {                                                                                    \
		cr_assert(out(m, o), "a frame is due");                                         \
		cr_assert_eq((o)->head[1], cmd_, "cmd %u", (o)->head[1]);                       \
		cr_assert_eq(le32_get((o)->head + 4), sid_, "sid %u", le32_get((o)->head + 4)); \
		cr_assert_eq((o)->n, n_, "%u bytes", (o)->n);                                   \
	} while (0)
#define expect_nothing(m)                                                                                         \
	do {                                                                                                      \
		struct mux_out none_;                                                                             \
		cr_assert_not(out(m, &none_), "cmd %u sid %u goes out", none_.head[1], le32_get(none_.head + 4)); \
	} while (0)
