/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct flight {
	uint64_t at;  /* us */
	uint64_t seq; /* equal times keep the order of sending */
	size_t n;
	uint8_t *p;
};

struct sim_link {
	struct sim_conf conf;
	struct sim_rng rng;
	struct sim_stats stats;
	uint64_t seq, last, free_at; /* free_at: when the bottleneck is */
	struct flight *heap;
	size_t n, cap;
};

uint64_t sim_rand(struct sim_rng *g)
{
	uint64_t z = g->s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint32_t sim_below(struct sim_rng *g, uint32_t n)
{
	return n ? (uint32_t)(sim_rand(g) % n) : 0;
}

bool sim_chance(struct sim_rng *g, uint32_t per_mille)
{
	return sim_below(g, 1000) < per_mille;
}

struct sim_link *sim_link_new(const struct sim_conf *conf, uint64_t seed)
{
	struct sim_link *l = calloc(1, sizeof(*l));

	l->conf = *conf;
	l->rng.s = seed;
	return l;
}

void sim_link_free(struct sim_link *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->heap[i].p);
	free(l->heap);
	free(l);
}

void sim_link_set(struct sim_link *l, const struct sim_conf *conf)
{
	l->conf = *conf;
}

static bool before(const struct flight *a, const struct flight *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void push(struct sim_link *l, const void *p, size_t n, uint64_t at)
{
	struct flight f = {.at = at, .seq = l->seq++, .n = n, .p = malloc(n ? n : 1)};
	size_t i = l->n++;

	memcpy(f.p, p, n);
	if (l->n > l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->heap = realloc(l->heap, l->cap * sizeof(*l->heap));
	}
	for (; i && before(&f, &l->heap[(i - 1) / 2]); i = (i - 1) / 2)
		l->heap[i] = l->heap[(i - 1) / 2];
	l->heap[i] = f;
}

static struct flight pop(struct sim_link *l)
{
	struct flight top = l->heap[0], f = l->heap[--l->n];
	size_t i = 0, c;

	for (; (c = 2 * i + 1) < l->n; i = c) {
		if (c + 1 < l->n && before(&l->heap[c + 1], &l->heap[c]))
			c++;
		if (!before(&l->heap[c], &f))
			break;
		l->heap[i] = l->heap[c];
	}
	l->heap[i] = f;
	return top;
}

/* When a datagram has passed the bottleneck; false when its queue is full. */
static bool serialise(struct sim_link *l, size_t n, uint64_t *now_us)
{
	const struct sim_conf *c = &l->conf;
	uint64_t start = l->free_at > *now_us ? l->free_at : *now_us;

	if (!c->rate_bps)
		return true;
	if (c->queue && (start - *now_us) * c->rate_bps / 8000000 + n > c->queue)
		return false;
	l->free_at = start + n * 8000000 / c->rate_bps;
	*now_us = l->free_at;
	return true;
}

static void fly(struct sim_link *l, const void *p, size_t n, uint64_t now_us)
{
	const struct sim_conf *c = &l->conf;
	uint64_t at = now_us + c->delay_us + (c->jitter_us ? sim_rand(&l->rng) % c->jitter_us : 0);

	if (sim_chance(&l->rng, c->reorder)) {
		l->stats.reordered++;
		at += c->reorder_us ? c->reorder_us : c->delay_us / 2;
	} else if (c->fifo) {
		if (at < l->last)
			at = l->last;
		l->last = at;
	}
	push(l, p, n, at);
}

void sim_link_send(struct sim_link *l, const void *p, size_t n, uint64_t now_us)
{
	l->stats.sent++;
	if (!serialise(l, n, &now_us)) {
		l->stats.overflow++;
		return;
	}
	if (sim_chance(&l->rng, l->conf.loss)) {
		l->stats.lost++;
		return;
	}
	fly(l, p, n, now_us);
	if (sim_chance(&l->rng, l->conf.dup)) {
		l->stats.dup++;
		fly(l, p, n, now_us);
	}
}

uint64_t sim_link_next(const struct sim_link *l)
{
	return l->n ? l->heap[0].at : UINT64_MAX;
}

int sim_link_recv(struct sim_link *l, void *buf, size_t cap, uint64_t now_us)
{
	struct flight f;
	size_t n;

	if (!l->n || l->heap[0].at > now_us)
		return -1;
	f = pop(l);
	n = f.n < cap ? f.n : cap;
	memcpy(buf, f.p, n);
	free(f.p);
	l->stats.delivered++;
	l->stats.bytes += n;
	return (int)n;
}

const struct sim_stats *sim_link_stats(const struct sim_link *l)
{
	return &l->stats;
}
