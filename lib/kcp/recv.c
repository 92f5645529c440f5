/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "kcp_seg.h"

/*
 * Receiving: wire.md 4.5 (PUSH), 4.6.  One ring holds the ordered queue and, above rcv_nxt, the reorder store.  The
 * fragment number is not looked at: in stream mode, the only one on kcptun's wire, every segment is a message.
 */

#define ACKS_MIN      8	 /* acknowledgements: one cache line */
#define RCV_RTT_MIN   2	 /* ms: what is taken for a shorter round trip, */
#define RCV_RTT_FIRST 50 /* and for one that was not seen */
#define RCV_ROUNDS    8
#define ACKS_MS	      4
#define ACKS_PLAIN    1024 /* so many wait as they came, as stock's do: more than a turn brings */

/* A segment that could not be handed over at once. */
struct held {
	uint16_t len;
	bool listed; /* while acknowledgements are thinned out: its latest was seen */
	uint8_t data[];
};

static size_t held_bytes(uint16_t len)
{
	return sizeof(struct held) + len;
}

static uint32_t recv_base(const struct kcp *k)
{
	return k->rcv_nxt - k->rcv_ordered;
}

static struct held *held_at(const struct kcp *k, uint32_t sn)
{
	return *kcp_ring_at(&k->rcv, sn);
}

static void held_free(struct kcp *k, uint32_t sn)
{
	void **slot = kcp_ring_at(&k->rcv, sn);
	struct held *h = *slot;

	mem_put(k->mem, h, held_bytes(h->len));
	*slot = NULL;
}

static size_t acks_bytes(uint32_t cap)
{
	return cap * sizeof(struct kcp_ack);
}

void kcp_acks_clear(struct kcp *k)
{
	mem_put(k->mem, k->acks.v, acks_bytes(k->acks.cap));
	k->acks.v = NULL;
	k->acks.n = k->acks.cap = 0;
}

/*
 * A datagram full of them, as with stock.  A peer that has our loss detection hears of what lies above a hole at once,
 * or after ACKS_MS where there is much of it; and half a datagram is enough, the other half tells the last ones again.
 */
bool kcp_acks_wanted(const struct kcp *k)
{
	uint32_t full = k->conf->mtu / KCP_HEAD;

	if (!k->acks.n)
		return false;
	if (k->conf->acknodelay || k->acks.n >= full)
		return true;
	return k->rcv_stored && k->knows && (k->acks.n >= full / 2 || k->now >= k->acks_at + ACKS_MS);
}

void kcp_knows(struct kcp *k)
{
	k->knows = kcp_is_auto(k);
}

static bool hold(struct kcp *k, uint32_t sn, const uint8_t *data, uint16_t len)
{
	uint32_t base = recv_base(k), used = k->rcv_top - base;
	struct held *h;

	if (kcp_ring_fit(&k->rcv, k->mem, base, used, sn - base + 1))
		return false;
	h = mem_get(k->mem, held_bytes(len));
	if (!h)
		return false;
	mem_prefetch(k->mem, held_bytes(len)); /* where there is one gap, more segments will wait */
	h->len = len;
	h->listed = false;
	memcpy(h->data, data, len);
	*kcp_ring_at(&k->rcv, sn) = h;
	k->rcv_stored++;
	if (seq_lt(k->rcv_top, sn + 1))
		k->rcv_top = sn + 1;
	return true;
}

/* Moves what has become consecutive from the reorder store to the ordered queue. */
static void drain(struct kcp *k)
{
	while (k->rcv_stored && k->rcv_ordered < k->rcv_wnd) {
		const struct held *h = held_at(k, k->rcv_nxt);

		if (!h)
			break;
		k->rcv_nxt++;
		k->rcv_ordered++;
		k->rcv_stored--;
		k->rcv_bytes += h->len;
	}
}

/* Is sn, not below rcv_nxt, in the reorder store? */
static bool is_held(const struct kcp *k, uint32_t sn)
{
	return seq_lt(sn, k->rcv_top) && held_at(k, sn);
}

/*
 * Takes out the acknowledgements that say nothing: those that the flush under way has written, those below rcv_nxt,
 * which una covers, and of a segment that came several times all but the latest.  The last of the list stays, for it
 * carries una (wire.md trap 12).
 */
static void acks_thin(struct kcp *k)
{
	uint32_t from = k->acks.n, to = k->acks.n;

	while (from-- > k->run.ack) {
		struct kcp_ack a = k->acks.v[from];
		struct held *h = seq_lt(a.sn, k->rcv_nxt) || !is_held(k, a.sn) ? NULL : held_at(k, a.sn);

		if (h ? h->listed : from != k->acks.n - 1)
			continue;
		if (h)
			h->listed = true;
		k->acks.v[--to] = a;
	}
	k->acks.n -= to;
	k->run.ack = 0;
	memmove(k->acks.v, k->acks.v + to, acks_bytes(k->acks.n));
	for (uint32_t i = 0; i < k->acks.n; i++)
		if (!seq_lt(k->acks.v[i].sn, k->rcv_nxt) && is_held(k, k->acks.v[i].sn))
			held_at(k, k->acks.v[i].sn)->listed = false;
}

/*
 * Room for one more acknowledgement.  A list that nothing flushes (no tokens, a flow that does not stand yet) and that
 * has become long is thinned out first, so that it stays within ACKS_PLAIN or four times the segments that wait behind
 * a gap; a thinning frees half of it, or doubles it.
 */
static bool acks_fit(struct kcp *k)
{
	uint32_t cap = k->acks.cap ? 2 * k->acks.cap : ACKS_MIN;
	struct kcp_ack *v;

	if (k->acks.n < k->acks.cap)
		return true;
	if (k->acks.n >= ACKS_PLAIN) {
		acks_thin(k);
		if (k->acks.n <= k->acks.cap / 2)
			return true;
	}
	v = mem_get(k->mem, acks_bytes(cap));
	if (!v)
		return k->acks.n < k->acks.cap;
	if (k->acks.n)
		memcpy(v, k->acks.v, acks_bytes(k->acks.n));
	mem_put(k->mem, k->acks.v, acks_bytes(k->acks.cap));
	k->acks.v = v;
	k->acks.cap = cap;
	return true;
}

/* Hands sn over as a slice of its datagram when it is next and nothing is queued before it. */
static bool give(struct kcp *k, uint32_t sn, const uint8_t *data, uint16_t len, struct kcp_got *got)
{
	if (!got || sn != k->rcv_nxt || k->rcv_ordered || got->n == KCP_GOT_MAX)
		return false;
	if (len)
		got->v[got->n++] = (struct slice){.p = data, .n = len};
	k->rcv_nxt++;
	if (seq_lt(k->rcv_top, k->rcv_nxt))
		k->rcv_top = k->rcv_nxt;
	k->cnt->BytesReceived += len;
	return true;
}

/*
 * Keeps the window that is told ahead of what arrives: a hole that is filled at the fourth attempt holds back what
 * arrives in four round trips, and the sender has yet to hear of it.  Where half of it waits behind a hole, it was not
 * ahead.  It never shrinks: what is promised costs nothing until it is used, and then the session's account bounds it.
 */
static void widen(struct kcp *k, uint32_t sn)
{
	uint64_t past = k->now - k->rcv_since, rtt = k->m.min_rtt / 1000;
	uint32_t want = k->rcv_count * RCV_ROUNDS;

	if (k->m.min_rtt == UINT32_MAX)
		rtt = RCV_RTT_FIRST;
	else if (rtt < RCV_RTT_MIN)
		rtt = RCV_RTT_MIN;
	k->rcv_count++;
	k->rcv_half |= sn - k->rcv_nxt > k->rcv_wnd / 2;
	if (past < rtt)
		return;
	if (past >= 2 * rtt)
		want = 0;
	if (k->rcv_half && want < 2 * k->rcv_wnd)
		want = 2 * k->rcv_wnd;
	k->rcv_count = 0;
	k->rcv_half = false;
	k->rcv_since = k->now;
	if (want > k->rcv_wnd)
		k->rcv_wnd = want < k->conf->rcv_wnd ? want : k->conf->rcv_wnd;
}

void kcp_recv_push(struct kcp *k, uint32_t sn, uint32_t ts, const uint8_t *data, uint16_t len, bool recovered,
		   struct kcp_got *got)
{
	bool beyond = !seq_lt(sn, k->rcv_nxt + k->rcv_wnd);
	bool repeat = beyond || seq_lt(sn, k->rcv_nxt) || is_held(k, sn);

	k->cnt->RepeatSegs += repeat && !recovered;
	if (beyond)
		return;
	if (!repeat && kcp_is_auto(k))
		widen(k, sn);
	/* What finds no memory is not acknowledged, so that it comes again; what needs none is told of by any una. */
	if (!acks_fit(k)) {
		if (!repeat && give(k, sn, data, len, got))
			drain(k);
		k->ask_tell |= seq_lt(sn, k->rcv_nxt);
		return;
	}
	if (!repeat && !give(k, sn, data, len, got) && !hold(k, sn, data, len))
		return;
	k->acks.v[k->acks.n++] = (struct kcp_ack){.sn = sn, .ts = ts};
	drain(k);
}

uint32_t kcp_takes(const struct kcp *k)
{
	return k->rcv_wnd > KCP_RCV_FIRST ? k->rcv_wnd * k->mss : 0;
}

unsigned kcp_peek(const struct kcp *k, struct slice *v, unsigned max)
{
	uint32_t base = recv_base(k);
	unsigned n = k->rcv_ordered < max ? k->rcv_ordered : max;

	for (unsigned i = n; i < k->rcv_ordered && i < n + max; i++)
		__builtin_prefetch(held_at(k, base + i)); /* those that the next call will show */
	for (unsigned i = 0; i < n; i++) {
		const struct held *h = held_at(k, base + i);

		v[i] = (struct slice){.p = h->data, .n = h->len};
	}
	return n;
}

unsigned kcp_consume(struct kcp *k, unsigned n)
{
	bool full = k->rcv_ordered >= k->rcv_wnd;

	if (n > k->rcv_ordered)
		n = k->rcv_ordered;
	for (; n; n--) {
		uint32_t sn = recv_base(k);
		uint16_t len = held_at(k, sn)->len;

		held_free(k, sn);
		k->rcv_ordered--;
		k->rcv_bytes -= len;
		k->cnt->BytesReceived += len;
	}
	drain(k);
	kcp_ring_trim(&k->rcv, k->mem, recv_base(k), k->rcv_top - recv_base(k));
	if (!full || k->rcv_ordered >= k->rcv_wnd)
		return 0;
	k->ask_tell = true;
	/* A peer that was told of a closed window waits for this; others learn it at the tick. */
	return k->run.wnd == 0 ? KCP_WANT_FULL : 0;
}

uint32_t kcp_queued(const struct kcp *k)
{
	return k->rcv_bytes;
}

void kcp_recv_fini(struct kcp *k)
{
	for (uint32_t sn = recv_base(k); sn != k->rcv_top; sn++)
		if (held_at(k, sn))
			held_free(k, sn);
	k->rcv_nxt = k->rcv_top;
	k->rcv_ordered = k->rcv_stored = k->rcv_bytes = 0;
	kcp_ring_trim(&k->rcv, k->mem, k->rcv_top, 0);
	kcp_acks_clear(k);
	mem_put(k->mem, k->told, sizeof(*k->told));
	k->told = NULL;
}
