/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "kcp_seg.h"

/* Queueing what is to be sent: wire.md 4.3. */

#define QUEUE_US	8000 /* of the pace, or this part of a round trip, or so many segments */
#define QUEUE_RTT_PART	12
#define QUEUE_LEAST	4
#define SEND_PIECES_MAX (MEM_MAX_ALLOC / sizeof(void *)) /* no ring holds more */

/* Where the next byte comes from. */
struct source {
	const struct slice *v;
	uint32_t off;
};

static void source_copy(struct source *src, uint8_t *to, uint32_t n)
{
	while (n) {
		uint32_t part = src->v->n - src->off;

		if (part > n)
			part = n;
		if (part)
			memcpy(to, src->v->p + src->off, part);
		to += part;
		n -= part;
		src->off += part;
		if (src->off == src->v->n) {
			src->v++;
			src->off = 0;
		}
	}
}

static size_t seg_bytes(uint32_t cap)
{
	return sizeof(struct kcp_seg) + cap;
}

/* A segment for at least n bytes of payload, and what its size class has beyond. */
static struct kcp_seg *seg_new(struct kcp *k, uint32_t n)
{
	size_t cap = mem_class(seg_bytes(n)) - sizeof(struct kcp_seg);
	struct kcp_seg *s;

	if (cap > k->mss)
		cap = k->mss;
	s = mem_get(k->mem, seg_bytes((uint32_t)cap));
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	list_init(&s->due);
	list_init(&s->late);
	s->cap = (uint16_t)cap;
	return s;
}

void kcp_seg_free(struct kcp *k, struct kcp_seg *s)
{
	mem_put(k->mem, s, seg_bytes(s->cap));
}

/* Moves the last segment, still without number and so on no list, to a buffer that holds n bytes. */
static struct kcp_seg *tail_grow(struct kcp *k, struct kcp_seg *s, uint32_t n)
{
	uint32_t want = 2u * s->cap; /* small writes come in rows: so each byte moves a few times at most */
	struct kcp_seg *big;

	if (want > k->mss)
		want = k->mss;
	if (want < n)
		want = n;
	big = seg_new(k, want);
	if (!big)
		return NULL;
	memcpy(big->data, s->data, s->len);
	big->len = s->len;
	*kcp_ring_at(&k->snd, k->snd_end - 1) = big;
	kcp_seg_free(k, s);
	return big;
}

/* Bytes that fit into the last segment that has no number yet. */
static uint32_t tail_room(const struct kcp *k)
{
	uint32_t len;

	if (k->conf->message || k->snd_nxt == k->snd_end)
		return 0;
	len = kcp_snd_seg(k, k->snd_end - 1)->len;
	return len < k->mss ? k->mss - len : 0;
}

static int tail_append(struct kcp *k, struct source *src, uint32_t n)
{
	struct kcp_seg *s = kcp_snd_seg(k, k->snd_end - 1);

	if (s->len + n > s->cap) {
		s = tail_grow(k, s, s->len + n);
		if (!s)
			return -ENOMEM;
	}
	source_copy(src, s->data + s->len, n);
	s->len = (uint16_t)(s->len + n);
	return 0;
}

/* Segments for so many bytes: mostly a frame's, so a few, and counted sooner than divided. */
static uint32_t pieces_of(const struct kcp *k, size_t total)
{
	uint32_t n = 0;

	for (size_t at = 0; at < total; at += k->mss)
		n++;
	return n;
}

static int queue_pieces(struct kcp *k, struct source *src, size_t total)
{
	uint32_t used = k->snd_end - k->snd_una, end = k->snd_end;
	uint32_t pieces = pieces_of(k, total);

	if (kcp_ring_fit(&k->snd, k->mem, k->snd_una, used, used + pieces))
		return -ENOMEM;
	while (pieces--) {
		uint32_t n = total < k->mss ? (uint32_t)total : k->mss;
		struct kcp_seg *s = seg_new(k, n);

		if (!s)
			goto fail;
		/* Segments come back from the far side of a long path: their memory has left the caches. */
		mem_prefetch(k->mem, seg_bytes(s->cap));
		source_copy(src, s->data, n);
		s->len = (uint16_t)n;
		s->frg = k->conf->message ? (uint8_t)pieces : 0;
		*kcp_ring_at(&k->snd, k->snd_end++) = s;
		total -= n;
	}
	return 0;
fail:
	while (k->snd_end != end) {
		void **slot = kcp_ring_at(&k->snd, --k->snd_end);

		kcp_seg_free(k, *slot);
		*slot = NULL;
	}
	kcp_ring_trim(&k->snd, k->mem, k->snd_una, used);
	return -ENOMEM;
}

int kcp_send(struct kcp *k, const struct slice *v, unsigned n)
{
	struct source src = {.v = v};
	size_t total = 0, rest;
	uint32_t append;
	int err;

	for (unsigned i = 0; i < n; i++)
		total += v[i].n;
	if (!total)
		return 0;
	if (!kcp_room(k))
		return -EAGAIN;
	if (k->conf->message && total > (size_t)KCP_FRG_MAX * k->mss)
		return -EMSGSIZE;

	append = tail_room(k);
	if (append > total)
		append = (uint32_t)total;
	rest = total - append;
	if (rest >= (SEND_PIECES_MAX - (k->snd_end - k->snd_una)) * k->mss)
		return -ENOMEM;
	if (append) {
		err = tail_append(k, &src, append);
		if (err)
			return err;
	}
	if (rest) {
		uint32_t tail = k->snd_end - 1;

		err = queue_pieces(k, &src, rest);
		if (err) {
			if (append)
				kcp_snd_seg(k, tail)->len = (uint16_t)(kcp_snd_seg(k, tail)->len - append);
			return err;
		}
	}
	k->fresh = true;
	k->cnt->BytesSent += total;
	return 0;
}

uint32_t kcp_waiting(const struct kcp *k)
{
	uint32_t n = k->snd_end - k->snd_nxt;

	return n - (tail_room(k) != 0);
}

uint32_t kcp_backlog(const struct kcp *k)
{
	return k->snd_end - k->snd_una;
}

void kcp_limit(struct kcp *k, uint32_t segments)
{
	k->limit = (uint16_t)(segments < UINT16_MAX ? segments : UINT16_MAX);
}

/* What may wait for its first transmission: what leaves soon.  The rest waits where other streams can overtake it. */
static uint64_t queue_room(const struct kcp *k)
{
	uint32_t rtt = kcp_min_rtt(k), part = rtt / QUEUE_RTT_PART, us = part > QUEUE_US ? part : QUEUE_US;
	uint64_t most = (uint64_t)(k->m.pace * us), least = QUEUE_LEAST * k->mss;
	uint64_t has = (uint64_t)(k->snd_end - k->snd_sent) * k->mss;

	if (!rtt) /* until something is heard no more than this may leave */
		most = kcp_model_room(k) > 0 ? (uint64_t)kcp_model_room(k) : 0;
	else if (rtt > us && most > k->m.cwnd * (double)us / rtt)
		most = (uint64_t)(k->m.cwnd * (double)us / rtt);
	if (most < least)
		most = least;
	return has < most ? most - has : 0;
}

uint32_t kcp_room(const struct kcp *k)
{
	uint32_t used = k->snd_end - k->snd_una;
	uint64_t room;

	if (used >= k->conf->snd_wnd)
		return 0;
	room = (uint64_t)(k->conf->snd_wnd - used) * k->mss + tail_room(k);
	if (kcp_is_auto(k)) {
		uint64_t queue = queue_room(k);

		room = queue < room ? queue : room;
	}
	return room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
}
