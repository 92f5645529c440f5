/* SPDX-License-Identifier: MIT */
#include "path.h"

#include <string.h>

#include "buf.h"

/*
 * A packet is lost early or enters the bottleneck; once that has sent it, it is lost late or flies.  The bottleneck
 * holds real packets, one of them under way, so that a new rate finds a queue to serve; a heap holds what flies.
 */

struct fifo {
	struct path_pkt **v;
	uint32_t head, n, cap; /* cap: a power of two */
	uint64_t bits;	       /* of all of them */
};

struct path {
	struct path_conf conf;
	struct rng rng;
	struct path_stats stats;
	struct fifo wait;
	struct path_pkt *under_way; /* leaves the bottleneck at `free_at` */
	uint64_t free_at;
	__uint128_t tokens; /* of the policer, bits x 10^9 */
	uint64_t tokens_at;
	bool bad; /* Gilbert-Elliott's state */
	uint64_t seq, last;
	struct path_pkt **heap;
	size_t n, cap;
};

struct buf *buf_free;

void buf_drain(void)
{
	while (buf_free) {
		struct buf *b = buf_free;

		buf_free = b->next;
		free(b);
	}
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static __uint128_t depth(const struct path_conf *c)
{
	return (__uint128_t)c->bucket * 8 * PATH_S;
}

struct path *path_new(const struct path_conf *conf, uint64_t seed)
{
	struct path *l = must(calloc(1, sizeof(*l)));

	l->conf = *conf;
	l->rng.s = seed;
	l->tokens = depth(conf);
	l->wait.cap = 64;
	l->wait.v = must(malloc(l->wait.cap * sizeof(*l->wait.v)));
	return l;
}

/* ---- what flies ---- */

static bool before(const struct path_pkt *a, const struct path_pkt *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void heap_push(struct path *l, struct path_pkt *k)
{
	size_t i = l->n++;

	if (l->n > l->cap) {
		l->cap = l->cap ? 2 * l->cap : 256;
		l->heap = must(realloc(l->heap, l->cap * sizeof(*l->heap)));
	}
	for (; i && before(k, l->heap[(i - 1) / 2]); i = (i - 1) / 2)
		l->heap[i] = l->heap[(i - 1) / 2];
	l->heap[i] = k;
}

static struct path_pkt *heap_pop(struct path *l)
{
	struct path_pkt *top = l->heap[0], *k = l->heap[--l->n];
	size_t i = 0, c;

	for (; (c = 2 * i + 1) < l->n; i = c) {
		if (c + 1 < l->n && before(l->heap[c + 1], l->heap[c]))
			c++;
		if (!before(l->heap[c], k))
			break;
		l->heap[i] = l->heap[c];
	}
	l->heap[i] = k;
	return top;
}

/* ---- loss ---- */

/* Bad states last `burst` packets on average, and so much of the time that `loss` of all packets meet one. */
static bool loses(struct path *l)
{
	const struct path_conf *c = &l->conf;
	double p = c->loss;

	if (c->burst > 1)
		p = l->bad ? 1 - 1 / c->burst : c->loss / (c->burst * (1 - c->loss));
	l->bad = p > 0 && rng_unit(&l->rng) < p;
	if (l->bad)
		l->stats.lost++;
	return l->bad;
}

/* ---- behind the bottleneck, at `t` ---- */

static void fly(struct path *l, struct path_pkt *k, uint64_t t)
{
	const struct path_conf *c = &l->conf;

	k->at = t + c->delay + k->extra;
	if (c->jitter)
		k->at += (uint64_t)(rng_unit(&l->rng) * (double)c->jitter);
	if (c->reorder > 0 && rng_unit(&l->rng) < c->reorder) {
		l->stats.reordered++;
		k->at += c->reorder_by;
	} else if (c->fifo) {
		k->at = k->at > l->last ? k->at : l->last;
		l->last = k->at;
	}
	k->seq = l->seq++;
	heap_push(l, k);
}

static void past(struct path *l, struct path_pkt *k, uint64_t t)
{
	struct path_pkt *twin = NULL;

	l->stats.fwd++;
	l->stats.fwd_bytes += k->wire;
	if (!l->conf.early && loses(l)) {
		buf_put(k);
		return;
	}
	if (l->conf.dup > 0 && rng_unit(&l->rng) < l->conf.dup) {
		l->stats.dup++;
		twin = buf_get();
		memcpy(twin, k, sizeof(*k) + k->n);
	}
	fly(l, k, t);
	if (twin)
		fly(l, twin, t);
}

/* ---- the bottleneck ---- */

static uint64_t airtime(const struct path *l, uint64_t bits)
{
	return l->conf.rate ? bits * PATH_S / l->conf.rate : 0;
}

static void count_wait(struct path *l, uint64_t ns)
{
	uint64_t class = ns / (PATH_WAIT_US * 1000);

	l->stats.wait[class < PATH_WAITS ? class : PATH_WAITS - 1]++;
	if (ns > l->stats.wait_most)
		l->stats.wait_most = ns;
}

static void begin(struct path *l, struct path_pkt *k, uint64_t t)
{
	count_wait(l, t - k->in);
	l->under_way = k;
	l->free_at = t + airtime(l, (uint64_t)k->wire * 8);
}

/* All that the bottleneck has done by `now`, each thing at its own time. */
static void serve(struct path *l, uint64_t now)
{
	struct fifo *q = &l->wait;

	while (l->under_way && l->free_at <= now) {
		uint64_t t = l->free_at;

		past(l, l->under_way, t);
		l->under_way = NULL;
		if (q->n) {
			struct path_pkt *k = q->v[q->head++ & (q->cap - 1)];

			q->n--;
			q->bits -= (uint64_t)k->wire * 8;
			begin(l, k, t);
		}
	}
}

static void fifo_push(struct fifo *q, struct path_pkt *k)
{
	if (q->n == q->cap) {
		struct path_pkt **v = must(malloc(2 * q->cap * sizeof(*v)));

		for (uint32_t i = 0; i < q->n; i++)
			v[i] = q->v[(q->head + i) & (q->cap - 1)];
		free(q->v);
		q->v = v;
		q->head = 0;
		q->cap *= 2;
	}
	q->v[(q->head + q->n++) & (q->cap - 1)] = k;
	q->bits += (uint64_t)k->wire * 8;
}

/* False: too much for the policer. */
static bool conforms(struct path *l, uint32_t wire, uint64_t now)
{
	__uint128_t cost = (__uint128_t)wire * 8 * PATH_S;

	l->tokens += (__uint128_t)(now - l->tokens_at) * l->conf.rate;
	l->tokens_at = now;
	if (l->tokens > depth(&l->conf))
		l->tokens = depth(&l->conf);
	if (l->tokens < cost)
		return false;
	l->tokens -= cost;
	return true;
}

/* Whether the queue takes one more. */
static bool has_room(const struct path *l, const struct path_pkt *k, uint64_t now)
{
	if (!l->conf.own)
		return l->wait.n < l->conf.queue;
	return l->free_at - now + airtime(l, l->wait.bits) <= airtime(l, (uint64_t)k->wire * 8) * l->conf.queue;
}

static void enter(struct path *l, struct path_pkt *k, uint64_t now)
{
	if (l->under_way) {
		if (has_room(l, k, now)) {
			fifo_push(&l->wait, k);
			return;
		}
		l->stats.queue_drops++;
	} else if (!l->conf.rate) {
		past(l, k, now);
		return;
	} else if (!l->conf.bucket) {
		begin(l, k, now);
		return;
	} else if (conforms(l, k->wire, now)) {
		past(l, k, now);
		return;
	} else {
		l->stats.policed++;
	}
	buf_put(k);
}

void path_send(struct path *l, const void *p, uint16_t n, uint32_t wire, uint16_t flow, uint64_t extra, uint64_t now)
{
	struct path_pkt *k;

	serve(l, now);
	l->stats.in++;
	l->stats.in_bytes += wire;
	if (l->conf.black) {
		l->stats.black++;
		return;
	}
	if (l->conf.early && loses(l))
		return;
	if (n > PATH_DATA_MAX)
		abort();
	k = buf_get();
	*k = (struct path_pkt){.in = now, .wire = wire, .n = n, .flow = flow, .extra = extra};
	memcpy(k->data, p, n);
	enter(l, k, now);
}

/* ---- the rest ---- */

void path_set(struct path *l, const struct path_conf *conf, uint64_t now)
{
	serve(l, now);
	if (conf->bucket && !l->conf.bucket) { /* a policer begins with its bucket full */
		l->tokens = depth(conf);
		l->tokens_at = now;
	}
	l->conf = *conf;
}

const struct path_conf *path_conf(const struct path *l)
{
	return &l->conf;
}

uint64_t path_next(const struct path *l)
{
	uint64_t flies = l->n ? l->heap[0]->at : PATH_NEVER;

	return l->under_way && l->free_at < flies ? l->free_at : flies;
}

struct path_pkt *path_recv(struct path *l, uint64_t now)
{
	serve(l, now);
	if (!l->n || l->heap[0]->at > now)
		return NULL;
	l->stats.out++;
	return heap_pop(l);
}

uint32_t path_queued(struct path *l, uint64_t now)
{
	serve(l, now);
	return l->wait.n;
}

uint64_t path_wait(struct path *l, uint64_t now)
{
	serve(l, now);
	return l->under_way ? l->free_at - now + airtime(l, l->wait.bits) : 0;
}

const struct path_stats *path_stats(const struct path *l)
{
	return &l->stats;
}

double path_waited(const struct path *l, double share)
{
	uint64_t all = 0, sum = 0;

	for (unsigned i = 0; i < PATH_WAITS; i++)
		all += l->stats.wait[i];
	for (unsigned i = 0; i < PATH_WAITS; i++) {
		sum += l->stats.wait[i];
		if (all && (double)sum >= share * (double)all)
			return i * PATH_WAIT_US * 1e-3;
	}
	return 0;
}

void path_zero(struct path *l)
{
	memset(&l->stats, 0, sizeof(l->stats));
}

void path_free(struct path *l)
{
	for (size_t i = 0; i < l->n; i++)
		buf_put(l->heap[i]);
	for (uint32_t i = 0; i < l->wait.n; i++)
		buf_put(l->wait.v[(l->wait.head + i) & (l->wait.cap - 1)]);
	buf_put(l->under_way);
	free(l->wait.v);
	free(l->heap);
	free(l);
}
