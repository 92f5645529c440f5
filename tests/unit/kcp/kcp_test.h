/* SPDX-License-Identifier: MIT */
#pragma once

/* What the suites of this room share: a session with its memory, and datagrams to flush into. */

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kcp.h"
#include "kcp_seg.h"
#include "kcp_state.h"
#include "kcp_wire.h"

#define RIG_OUT	  512	/* datagrams of one flush */
#define RIG_ALIGN 65536 /* of a heap's region */

struct rig {
	struct kcp k;
	struct kcp_conf conf;
	struct snmp cnt;
	void *map; /* the mapping that holds the heap's region: fresh zero pages, touched by need */
	size_t map_len;
	struct mem *mem;
	size_t mem_idle; /* mem_used of the empty heap */
	struct pkt out[RIG_OUT];
	uint8_t buf[RIG_OUT][KCP_MTU_MAX];
	unsigned n_out;
	unsigned lend; /* datagrams lent a call; RIG_OUT unless told */
};

/* malloc'ed: it is large.  conf is copied. */
static inline struct rig *rig_new(uint32_t conv, const struct kcp_conf *conf, size_t mem_bytes, uint64_t now)
{
	struct rig *r = calloc(1, sizeof(*r));

	cr_assert_not_null(r);
	r->conf = *conf;
	r->map_len = mem_bytes + RIG_ALIGN;
	r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(r->map, MAP_FAILED);
	r->mem = mem_init((void *)(((uintptr_t)r->map + RIG_ALIGN - 1) & ~(uintptr_t)(RIG_ALIGN - 1)), mem_bytes);
	cr_assert_not_null(r->mem);
	r->mem_idle = mem_used(r->mem);
	r->lend = RIG_OUT;
	kcp_init(&r->k, conv, &r->conf, r->mem, &r->cnt, now);
	return r;
}

/* Checks that everything taken was given back. */
static inline void rig_free(struct rig *r)
{
	kcp_fini(&r->k);
	cr_assert_eq(mem_used(r->mem), r->mem_idle, "%zu bytes leaked", mem_used(r->mem) - r->mem_idle);
	munmap(r->map, r->map_len);
	free(r);
}

/* Starts both directions at sn instead of 0. */
static inline void rig_start_at(struct rig *r, uint32_t sn)
{
	struct kcp *k = &r->k;

	k->snd_una = k->snd_sent = k->snd_nxt = k->snd_end = k->fast = k->plain = k->m.hole = sn;
	k->rcv_nxt = k->rcv_top = sn;
	for (unsigned i = 0; i < KCP_RESEND_MAX; i++)
		k->marks[i] = sn;
}

/* A whole flush, in calls of r->lend datagrams; the datagrams are out[0..n_out). */
static inline unsigned rig_flush(struct rig *r, enum kcp_flush_kind kind, uint64_t now)
{
	unsigned n;

	r->n_out = 0;
	do {
		unsigned max = RIG_OUT - r->n_out < r->lend ? RIG_OUT - r->n_out : r->lend;

		cr_assert(max > 0);
		for (unsigned i = 0; i < max; i++)
			r->out[r->n_out + i] = (struct pkt){.p = r->buf[r->n_out + i]};
		n = kcp_flush(&r->k, kind, now, r->out + r->n_out, max);
		r->n_out += n;
	} while (n == r->lend);
	return r->n_out;
}

/* What wire.md 4.4 step 7 returns: the delay to stock's next periodic flush. */
static inline uint32_t rig_delay(const struct rig *r, enum kcp_flush_kind kind)
{
	const struct kcp_seg *s = kcp_due_head(&r->k);
	uint32_t ms = kcp_interval(&r->k);

	if (kind == KCP_FLUSH_FULL && s && s->deadline - (uint32_t)r->k.now < ms)
		ms = s->deadline - (uint32_t)r->k.now;
	return ms;
}

/* stock's fastack of a segment that is not acknowledged, as far as it is kept here: up to n_marks. */
static inline uint32_t rig_fastack(const struct rig *r, const struct kcp_seg *s)
{
	uint32_t n = 0;

	if (s->latched)
		return UINT32_MAX;
	if (s->resent)
		return s->fastack;
	for (unsigned i = 0; i < r->k.n_marks; i++)
		n += seq_lt(s->sn, r->k.marks[i]);
	return n;
}
