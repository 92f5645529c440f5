/* SPDX-License-Identifier: MIT */

/* Borders and promises of kcp.h that random histories do not reach on purpose. */

#include <stdio.h>

#include "kcp_test.h"
#include "sim.h"

#define CONV 0x11223344

static const struct kcp_conf plain = {
	.mtu = 1350, .snd_wnd = 128, .rcv_wnd = 128, .nodelay = 1, .interval = 20, .resend = 2, .nc = 1};

static struct rig *plain_rig(void)
{
	return rig_new(CONV, &plain, 4 << 20, 1000);
}

static int send_bytes(struct rig *r, uint32_t n)
{
	static const uint8_t bytes[1 << 16] = {1, 2, 3};

	return kcp_send(&r->k, &(struct slice){bytes, n}, 1);
}

/* One segment in a datagram of its own. */
static int feed(struct rig *r, struct kcp_head h, uint64_t now, struct kcp_got *got)
{
	uint8_t p[KCP_MTU_MAX] = {0};

	h.conv = CONV;
	kcp_head_put(p, &h);
	return kcp_input(&r->k, p, (uint16_t)(KCP_HEAD + h.len), 0, now, got);
}

static int feed_push(struct rig *r, uint32_t sn, uint32_t len, uint64_t now, struct kcp_got *got)
{
	return feed(r, (struct kcp_head){.cmd = KCP_PUSH, .wnd = 128, .sn = sn, .len = len}, now, got);
}

static struct kcp_head out_head(const struct rig *r, unsigned i, unsigned seg)
{
	struct kcp_head h;
	const uint8_t *p = r->out[i].p;

	for (;; p += KCP_HEAD + h.len) {
		kcp_head_get(&h, p);
		if (!seg--)
			return h;
	}
}

Test(kcp_edge, idle_session_is_its_struct)
{
	struct rig *r = plain_rig();

	cr_assert_leq(sizeof(struct kcp), 768, "%zu", sizeof(struct kcp));
	cr_assert_eq(mem_used(r->mem), r->mem_idle);
	cr_assert_eq(kcp_next(&r->k), UINT64_MAX);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 0);
	cr_assert_eq(kcp_next(&r->k), UINT64_MAX);
	rig_free(r);
}

Test(kcp_edge, small_segments_take_little)
{
	struct rig *r = plain_rig();

	for (int i = 0; i < 64; i++) {
		cr_assert_eq(send_bytes(r, 8), 0);
		rig_flush(r, KCP_FLUSH_FULL, 1000);
	}
	for (unsigned i = 0; i < 32; i++)
		cr_assert_leq(mem_class(sizeof(struct kcp_seg) + kcp_snd_seg(&r->k, i)->cap),
			      mem_class(sizeof(struct kcp_seg) + 8));
	rig_free(r);
}

/* A limit leaves the rest in the queue, where the last segment still takes bytes. */
Test(kcp_edge, limit)
{
	struct rig *r = plain_rig();
	uint32_t mss = r->k.mss;

	r->k.rmt_wnd = 128;
	cr_assert_eq(kcp_waiting(&r->k), 0);
	cr_assert_eq(send_bytes(r, 5 * mss + mss / 2), 0);
	cr_assert_eq(kcp_waiting(&r->k), 5, "and one that is not full");
	kcp_limit(&r->k, 3);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 3);
	cr_assert_eq(kcp_waiting(&r->k), 2);
	kcp_limit(&r->k, kcp_waiting(&r->k));
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 2);
	kcp_limit(&r->k, 0);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 0);
	cr_assert_lt(kcp_next(&r->k), 1200, "what waits is not forgotten");
	cr_assert_eq(send_bytes(r, mss), 0);
	cr_assert_eq(kcp_waiting(&r->k), 1);
	kcp_limit(&r->k, UINT32_MAX);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 2);
	cr_assert_eq(out_head(r, 0, 0).sn, 5);
	cr_assert_eq(out_head(r, 0, 0).len, mss);
	cr_assert_eq(out_head(r, 1, 0).len, mss / 2);
	rig_free(r);
}

Test(kcp_edge, small_writes_share_a_segment)
{
	struct rig *r = plain_rig();
	struct kcp_info i;

	for (unsigned n = 0; n < 1326; n++)
		cr_assert_eq(send_bytes(r, 1), 0);
	kcp_info(&r->k, &i);
	cr_assert_eq(i.snd_queue, 1);
	cr_assert_eq(send_bytes(r, 1), 0);
	kcp_info(&r->k, &i);
	cr_assert_eq(i.snd_queue, 2);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1000), 2);
	cr_assert_eq(r->out[0].n, 1350);
	cr_assert_eq(r->out[1].n, KCP_HEAD + 1);
	/* One that has its number takes no more. */
	cr_assert_eq(send_bytes(r, 1), 0);
	kcp_info(&r->k, &i);
	cr_assert_eq(i.snd_queue, 1);
	rig_free(r);
}

Test(kcp_edge, room)
{
	struct rig *r = plain_rig();
	uint32_t mss = 1326;

	cr_assert_eq(kcp_room(&r->k), 128 * mss);
	cr_assert_eq(send_bytes(r, 127 * mss / 4), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(send_bytes(r, 127 * mss / 4), 0);
	cr_assert_gt(kcp_room(&r->k), 0);
	cr_assert_eq(send_bytes(r, 4 * mss), 0, "one write may overshoot");
	cr_assert_eq(kcp_room(&r->k), 0);
	cr_assert_eq(send_bytes(r, 1), -EAGAIN);
	cr_assert_eq(send_bytes(r, 0), 0);
	/* What is acknowledged by itself counts until una passes it. */
	rig_flush(r, KCP_FLUSH_FULL, 1000);
	for (uint32_t sn = 1; sn < 32; sn++)
		feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 128, .sn = sn, .ts = 1000}, 1040, NULL);
	cr_assert_eq(kcp_room(&r->k), 0);
	feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 128, .una = 32}, 1040, NULL);
	cr_assert_gt(kcp_room(&r->k), 0);
	rig_free(r);
}

Test(kcp_edge, initial_remote_window)
{
	struct rig *r = plain_rig();
	struct kcp_info i;

	send_bytes(r, 60000);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1000), 32);
	kcp_info(&r->k, &i);
	cr_assert_eq(i.snd_buf, 32);
	rig_free(r);
}

Test(kcp_edge, ticks_and_deadlines)
{
	struct rig *r = plain_rig();

	/* An ACK before the first tick waits for it, 100 ms after the start; later ones for the grid of 20 ms. */
	feed_push(r, 0, 10, 1003, NULL);
	cr_assert_eq(kcp_next(&r->k), 1100);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 1);
	cr_assert_eq(kcp_next(&r->k), UINT64_MAX);
	feed_push(r, 1, 10, 5001, NULL);
	cr_assert_eq(kcp_next(&r->k), 5020);
	/* A flush for another reason takes the ACK along and leaves the grid alone. */
	send_bytes(r, 5);
	cr_assert_leq(kcp_next(&r->k), 5001);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 5005), 1);
	cr_assert_eq(kcp_next(&r->k), 5205, "the RTO of 200 ms");
	feed_push(r, 2, 10, 5006, NULL);
	cr_assert_eq(kcp_next(&r->k), 5020);
	rig_flush(r, KCP_FLUSH_FULL, 5020);
	/* The timeout, exactly. */
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 5204), 0);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 5205), 1);
	cr_assert_eq(kcp_next(&r->k), 5205 + 300, "backed off by half");
	feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 128, .sn = 0, .una = 1, .ts = 5205}, 5250, NULL);
	rig_flush(r, KCP_FLUSH_FULL, 5250);
	cr_assert_eq(kcp_next(&r->k), UINT64_MAX);
	rig_free(r);
}

Test(kcp_edge, closed_window_is_probed)
{
	struct rig *r = plain_rig();
	uint64_t at[4], n = 0;

	feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 0}, 2000, NULL);
	while (n < 4) {
		uint64_t now = kcp_next(&r->k);

		cr_assert_neq(now, UINT64_MAX);
		if (rig_flush(r, KCP_FLUSH_FULL, now)) {
			cr_assert_eq(out_head(r, 0, 0).cmd, KCP_WASK);
			at[n++] = now;
		}
	}
	cr_assert_eq(at[1] - at[0], 750);
	cr_assert_eq(at[2] - at[1], 1125);
	cr_assert_eq(at[3] - at[2], 1687);
	feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 9}, 9000, NULL);
	rig_flush(r, KCP_FLUSH_FULL, kcp_next(&r->k));
	cr_assert_eq(kcp_next(&r->k), UINT64_MAX);
	rig_free(r);
}

/* Asked ahead of the probe that is due, once, and only where the window is closed; the probes go on as they were. */
Test(kcp_edge, closed_window_is_asked_for)
{
	struct rig *r = plain_rig();

	cr_assert_not(kcp_ask(&r->k), "the window is open");
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1990), 0);
	feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 0}, 2000, NULL);
	rig_flush(r, KCP_FLUSH_FULL, 2000);
	cr_assert_eq(kcp_next(&r->k), 2500);
	cr_assert(kcp_ask(&r->k));
	cr_assert_leq(kcp_next(&r->k), 2020);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 2020), 1);
	cr_assert_eq(out_head(r, 0, 0).cmd, KCP_WASK);
	cr_assert_eq(kcp_next(&r->k), 2500);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 2500), 1);
	cr_assert_eq(kcp_next(&r->k), 3250);
	rig_free(r);
}

Test(kcp_edge, got_and_queue)
{
	struct rig *r = plain_rig();
	struct kcp_got got;
	struct slice v[4];

	feed_push(r, 0, 10, 1000, &got);
	cr_assert_eq(got.n, 1);
	cr_assert_eq(got.v[0].n, 10);
	feed_push(r, 2, 20, 1000, &got);
	cr_assert_eq(got.n, 0);
	cr_assert_eq(kcp_queued(&r->k), 0);
	/* The one that was missing comes by itself, its successor from the queue. */
	feed_push(r, 1, 30, 1000, &got);
	cr_assert_eq(got.n, 1);
	cr_assert_eq(kcp_queued(&r->k), 20);
	cr_assert_eq(kcp_peek(&r->k, v, 4), 1);
	cr_assert_eq(v[0].n, 20);
	/* Nothing overtakes the queue. */
	feed_push(r, 3, 40, 1000, &got);
	cr_assert_eq(got.n, 0);
	cr_assert_eq(kcp_peek(&r->k, v, 4), 2);
	cr_assert_eq(kcp_queued(&r->k), 60);
	cr_assert_eq(kcp_consume(&r->k, 2), 0);
	cr_assert_eq(kcp_peek(&r->k, v, 4), 0);
	feed_push(r, 3, 40, 1000, &got);
	cr_assert_eq(got.n, 0, "a duplicate");
	/* An empty PUSH takes a number and nothing else. */
	feed_push(r, 4, 0, 1000, &got);
	cr_assert_eq(got.n, 0);
	cr_assert_eq(r->k.rcv_nxt, 5);
	cr_assert_eq(r->cnt.BytesReceived, 100);
	cr_assert_eq(r->cnt.RepeatSegs, 1);
	rig_free(r);
}

Test(kcp_edge, window_tell)
{
	struct rig *r = plain_rig();

	for (uint32_t sn = 0; sn < 128; sn++)
		feed_push(r, sn, 1, 1000, NULL);
	rig_flush(r, KCP_FLUSH_FULL, 1000);
	cr_assert_eq(out_head(r, 0, 0).wnd, 0);
	cr_assert_eq(kcp_consume(&r->k, 5), KCP_WANT_FULL, "the peer was told 0: it waits");
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1001), 1);
	cr_assert_eq(out_head(r, 0, 0).cmd, KCP_WINS);
	cr_assert_eq(out_head(r, 0, 0).wnd, 5);
	cr_assert_eq(kcp_consume(&r->k, 5), 0);
	rig_free(r);
}

/* ACKs stop where the datagrams lent end; another kind of flush in between loses none of them. */
Test(kcp_edge, abandoned_flush)
{
	struct rig *r = plain_rig();
	struct pkt out = {.p = r->buf[0]};
	unsigned acks = 0, n;

	for (uint32_t sn = 1; sn < 100; sn++) /* 0 is missing, so every ACK is written */
		feed_push(r, sn, 1, 1000, NULL);
	cr_assert_eq(kcp_flush(&r->k, KCP_FLUSH_ACKS, 1000, &out, 1), 1);
	acks += out.n / KCP_HEAD;
	send_bytes(r, 100);
	n = rig_flush(r, KCP_FLUSH_FULL, 1005);
	for (unsigned i = 0; i < n; i++)
		acks += r->out[i].n / KCP_HEAD;
	cr_assert_eq(acks, 99 + 1 + 100 / KCP_HEAD);
	cr_assert_eq(kcp_flush(&r->k, KCP_FLUSH_FULL, 1005, &out, 0), 0);
	rig_free(r);
}

/* A flush that goes on in a later turn decides nothing anew: what waits for an early retransmission waits on. */
Test(kcp_edge, flush_over_several_turns)
{
	struct rig *r = plain_rig();
	struct pkt out = {.p = r->buf[0]};
	uint64_t now = 1040;

	send_bytes(r, 2 * 1326);
	rig_flush(r, KCP_FLUSH_FULL, 1000);
	send_bytes(r, 3 * 1326);
	feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 128, .sn = 1, .ts = 1000}, now, NULL);
	for (uint32_t sn = 2; sn < 5; sn++, now++) {
		cr_assert_eq(kcp_flush(&r->k, KCP_FLUSH_FULL, now, &out, 1), 1);
		cr_assert_eq(out_head(r, 0, 0).sn, sn);
		cr_assert_eq(out_head(r, 0, 0).ts, now);
		cr_assert_eq(out_head(r, 0, 0).una, sn - 2);
		feed_push(r, sn - 2, 1, now, NULL);
	}
	cr_assert_leq(kcp_next(&r->k), now);
	cr_assert_eq(kcp_flush(&r->k, KCP_FLUSH_FULL, now, &out, 1), 0);
	/* The next one has no new segments: sn 0 goes again, the ACKs go along. */
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, now), 2);
	cr_assert_eq(r->cnt.EarlyRetransSegs, 1);
	rig_free(r);
}

/* Input between the calls of one flush: what was acknowledged is not sent, nothing is touched after its death. */
Test(kcp_edge, input_during_flush)
{
	struct rig *r = plain_rig();
	struct pkt out = {.p = r->buf[0]};

	send_bytes(r, 20 * 1326);
	rig_flush(r, KCP_FLUSH_FULL, 1000);
	cr_assert_eq(kcp_flush(&r->k, KCP_FLUSH_FULL, 1200, &out, 1), 1); /* all 20 have timed out */
	cr_assert_eq(out_head(r, 0, 0).sn, 0);
	feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 128, .una = 3, .sn = 4, .ts = 1000}, 1200, NULL);
	cr_assert_eq(kcp_flush(&r->k, KCP_FLUSH_FULL, 1200, &out, 1), 1);
	cr_assert_eq(out_head(r, 0, 0).sn, 3);
	cr_assert_eq(kcp_flush(&r->k, KCP_FLUSH_FULL, 1200, &out, 1), 1);
	cr_assert_eq(out_head(r, 0, 0).sn, 5);
	rig_free(r);
}

/* A budget that runs out: nothing breaks, nothing is acknowledged that is not kept, and all comes back. */
Test(kcp_edge, out_of_memory)
{
	struct kcp_conf conf = plain;
	struct rig *r;
	uint32_t sn, sent = 0;
	struct kcp_info i, j;

	conf.snd_wnd = conf.rcv_wnd = 65535;
	r = rig_new(CONV, &conf, 1 << 20, 1000);
	while (send_bytes(r, 5000) == 0)
		sent += 5000;
	kcp_info(&r->k, &i);
	cr_assert_eq(send_bytes(r, 60000), -ENOMEM);
	kcp_info(&r->k, &j);
	cr_assert_eq(i.snd_queue, j.snd_queue, "all or nothing");
	cr_assert_eq(r->cnt.BytesSent, sent);
	for (sn = 0; sn < 3000; sn++) {
		uint32_t held = r->k.rcv_ordered + r->k.rcv_stored;
		bool kept, acked;

		feed_push(r, sn, 1000, 1000, NULL);
		kept = r->k.rcv_ordered + r->k.rcv_stored != held;
		acked = r->k.acks.n && r->k.acks.v[r->k.acks.n - 1].sn == sn;
		cr_assert_eq(acked, kept);
	}
	cr_assert_lt(r->k.rcv_nxt, 3000);
	rig_flush(r, KCP_FLUSH_FULL, 1000);
	rig_free(r);
}

/* Without a byte of memory what comes in order is taken all the same, and told by una. */
Test(kcp_edge, in_order_needs_no_memory)
{
	struct rig *r = rig_new(CONV, &plain, 1 << 20, 1000);
	struct {
		void *next;
	} *hogs = NULL, *h;
	struct kcp_got got;

	for (size_t size = 65536; size >= 16; size /= 2) {
		while ((h = mem_get(r->mem, size))) {
			h->next = hogs;
			hogs = (void *)h;
			((size_t *)h)[1] = size;
		}
	}
	for (uint32_t sn = 0; sn < 100; sn++) {
		cr_assert_geq(feed_push(r, sn, 100, 1000, &got), 0);
		cr_assert_eq(got.n, 1);
		feed_push(r, sn + 2, 100, 1000, &got);
		cr_assert_eq(got.n, 0);
	}
	cr_assert_eq(r->k.rcv_nxt, 100);
	cr_assert_lt(kcp_next(&r->k), 1200);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 1);
	cr_assert_eq(r->out[0].n, KCP_HEAD);
	cr_assert(out_head(r, 0, 0).cmd == KCP_WINS && out_head(r, 0, 0).una == 100);
	/* What has come before is told of again: that una may have been lost. */
	feed_push(r, 50, 100, 1200, &got);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1300), 1);
	cr_assert_eq(out_head(r, 0, 0).una, 100);
	while (hogs) {
		h = (void *)hogs;
		hogs = h->next;
		mem_put(r->mem, h, ((size_t *)h)[1]);
	}
	rig_free(r);
}

#define FLOOD 37000

static uint64_t heap_bytes(const struct rig *r)
{
	return mem_used(r->mem) - r->mem_idle;
}

/* Segments that came before, again and again while nothing can be flushed: their ACKs take the place of one another. */
Test(kcp_edge, acks_of_old_segments_are_bounded)
{
	struct rig *r = rig_new(CONV, &plain, 64 << 20, 1000);
	struct kcp_got got;
	struct kcp_head h;

	/* In order first, which is old as soon as it is taken. */
	for (uint32_t sn = 0; sn < FLOOD; sn++)
		feed(r, (struct kcp_head){.cmd = KCP_PUSH, .wnd = 128, .ts = sn, .sn = sn, .len = 8}, 1000, &got);
	printf("%u segments, no flush: %lu bytes of heap\n", FLOOD, heap_bytes(r));
	cr_assert_leq(heap_bytes(r), 2 * 65536);
	for (uint32_t i = 0; i < FLOOD; i++)
		feed(r, (struct kcp_head){.cmd = KCP_PUSH, .wnd = 128, .ts = 50000 + i, .sn = i, .len = 8}, 1000, &got);
	printf("and as many repeated: %lu bytes of heap\n", heap_bytes(r));
	cr_assert_leq(heap_bytes(r), 2 * 65536);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1100), 1);
	cr_assert_eq(r->out[0].n, KCP_HEAD, "one ACK carries una");
	h = out_head(r, 0, 0);
	cr_assert(h.cmd == KCP_ACK && h.sn == FLOOD - 1 && h.ts == 50000 + FLOOD - 1 && h.una == FLOOD);
	rig_free(r);
}

#define WIDE 600

/* The ACKs that a flush in calls of one datagram writes: the last ts of each segment, how many in all; *last is the
 * last of them. */
static unsigned acks_out(struct rig *r, uint32_t *ts, uint8_t *seen, struct kcp_head *last)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->n_out; i++) {
		for (unsigned seg = 0; seg < r->out[i].n / KCP_HEAD; seg++, n++) {
			*last = out_head(r, i, seg);
			cr_assert(last->cmd == KCP_ACK && last->sn < WIDE);
			seen[last->sn]++;
			ts[last->sn] = last->ts;
		}
	}
	return n;
}

/* The same for segments that wait behind a gap: each has its ACK, with the latest time, and few have two. */
Test(kcp_edge, acks_of_held_segments_are_bounded)
{
	struct kcp_conf conf = plain;
	static uint32_t ts[WIDE], want[WIDE];
	uint32_t now = 0, flushed = 0;
	static uint8_t seen[WIDE];
	struct sim_rng g = {7};
	struct kcp_head last;
	struct rig *r;
	unsigned n;

	conf.rcv_wnd = WIDE;
	r = rig_new(CONV, &conf, 64 << 20, 1000);
	for (uint32_t round = 0; round < FLOOD; round++) {
		uint32_t sn = round < WIDE - 1 ? round + 1 : 1 + sim_below(&g, WIDE - 1);

		want[sn] = ++now;
		feed(r, (struct kcp_head){.cmd = KCP_PUSH, .wnd = WIDE, .ts = now, .sn = sn, .len = 8}, 1000, NULL);
		last.sn = sn;
	}
	cr_assert_eq(r->k.rcv_stored, WIDE - 1);
	printf("%u repeated behind a gap: %u ACKs, %lu bytes of heap\n", FLOOD, r->k.acks.n, heap_bytes(r));
	cr_assert_leq(r->k.acks.cap, 4 * WIDE);
	now = last.sn;
	rig_flush(r, KCP_FLUSH_ACKS, 1100);
	n = acks_out(r, ts, seen, &last);
	cr_assert_eq(last.sn, now, "the last to come is the last to go");
	cr_assert_leq(n, 4 * WIDE);
	for (uint32_t sn = 1; sn < WIDE; sn++)
		cr_assert(seen[sn] && ts[sn] == want[sn], "segment %u: %u ACKs, ts %u of %u", sn, seen[sn], ts[sn],
			  want[sn]);
	/* A flush that is cut short and goes on while more comes loses none either. */
	now = 100000;
	memset(seen, 0, sizeof(seen));
	for (uint32_t round = 0; round < FLOOD; round++) {
		uint32_t sn = round < WIDE - 1 ? round + 1 : 1 + sim_below(&g, WIDE - 1);

		want[sn] = ++now;
		feed(r, (struct kcp_head){.cmd = KCP_PUSH, .wnd = WIDE, .ts = now, .sn = sn, .len = 8}, 1200, NULL);
		if (round % 90 == 89) {
			r->out[0] = (struct pkt){.p = r->buf[0]};
			r->n_out = kcp_flush(&r->k, KCP_FLUSH_ACKS, 1200, r->out, 1);
			flushed += acks_out(r, ts, seen, &last);
			cr_assert_leq(r->k.acks.cap, 4 * WIDE);
		}
	}
	rig_flush(r, KCP_FLUSH_ACKS, 1300);
	acks_out(r, ts, seen, &last);
	cr_assert_gt(flushed, 10000);
	for (uint32_t sn = 1; sn < WIDE; sn++)
		cr_assert_eq(ts[sn], want[sn], "segment %u: ts %u of %u", sn, ts[sn], want[sn]);
	/* The gap closes: una tells of all of them, and one ACK is enough. */
	feed(r, (struct kcp_head){.cmd = KCP_PUSH, .wnd = WIDE, .ts = 5, .sn = 0, .len = 8}, 1400, NULL);
	cr_assert_eq(r->k.rcv_nxt, WIDE);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_ACKS, 1400), 1);
	cr_assert(r->out[0].n == KCP_HEAD && out_head(r, 0, 0).una == WIDE);
	rig_free(r);
}

/* Random and bent datagrams: no crash, no leak, no endless work; only authentic structure is believed. */
Test(kcp_edge, malformed_input)
{
	struct sim_rng g = {42};

	for (unsigned round = 0; round < 60; round++) {
		struct kcp_conf conf = plain;
		struct rig *r;
		uint64_t now = 1000;

		conf.nc = round & 1;
		conf.resend = (int)(round % 4) - 1;
		r = rig_new(CONV, &conf, 8 << 20, now);
		for (unsigned i = 0; i < 600; i++) {
			uint8_t p[KCP_MTU_MAX];
			uint32_t n = sim_below(&g, 200), off = 0;
			struct kcp_got got;
			int want;

			for (uint32_t b = 0; b < n; b++)
				p[b] = (uint8_t)sim_rand(&g);
			while (off + KCP_HEAD <= n && sim_chance(&g, 900)) {
				uint32_t near = sim_chance(&g, 800) ? 200 : UINT32_MAX;
				struct kcp_head h = {.conv = sim_chance(&g, 980) ? CONV : 0,
						     .cmd = (uint8_t)(80 + sim_below(&g, 6)),
						     .wnd = (uint16_t)sim_rand(&g),
						     .ts = (uint32_t)now - sim_below(&g, near),
						     .sn = r->k.snd_una + sim_below(&g, near),
						     .una = r->k.snd_una + sim_below(&g, near / 20) - sim_below(&g, 2),
						     .len = sim_below(&g, 40)};

				kcp_head_put(p + off, &h);
				off += KCP_HEAD + h.len;
			}
			want = kcp_input(&r->k, p, (uint16_t)n, sim_below(&g, 2), now,
					 sim_chance(&g, 500) ? &got : NULL);
			if (want == KCP_WANT_ACKS || sim_chance(&g, 50))
				rig_flush(r, KCP_FLUSH_ACKS, now);
			if (want == KCP_WANT_FULL || sim_chance(&g, 200))
				rig_flush(r, KCP_FLUSH_FULL, now);
			send_bytes(r, sim_below(&g, 3000));
			kcp_consume(&r->k, sim_below(&g, 10));
			now += sim_below(&g, 30);
		}
		rig_free(r);
	}
}

/* A lone segment far above leaves a large table behind, but not for longer than needed. */
Test(kcp_edge, rings_shrink)
{
	struct kcp_conf conf = plain;
	struct rig *r;
	size_t most;

	conf.rcv_wnd = 65535;
	r = rig_new(CONV, &conf, 16 << 20, 1000);
	feed_push(r, 65534, 8, 1000, NULL);
	most = kcp_ring_cap(&r->k.rcv);
	cr_assert_eq(most, 65536);
	for (uint32_t sn = 0; sn < 65534; sn++) {
		feed_push(r, sn, 8, 1000, NULL);
		kcp_consume(&r->k, 1);
		kcp_acks_clear(&r->k);
	}
	cr_assert_leq(kcp_ring_cap(&r->k.rcv), 8);
	kcp_consume(&r->k, 1);
	cr_assert_eq(kcp_ring_cap(&r->k.rcv), 0);
	rig_free(r);
}

/* A mark that una has passed is raised with it: left behind for 2^31 segments it would lie ahead of all of them. */
Test(kcp_edge, marks_follow_una)
{
	struct rig *r = plain_rig();

	send_bytes(r, 10 * 1326);
	rig_flush(r, KCP_FLUSH_FULL, 1000);
	feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 128, .sn = 2, .ts = 1000}, 1040, NULL);
	cr_assert_eq(r->k.marks[0], 2);
	feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 128, .una = 7}, 1040, NULL);
	for (unsigned i = 0; i < r->k.n_marks; i++)
		cr_assert_eq(r->k.marks[i], 7);
	rig_free(r);
}

Test(kcp_edge, counters)
{
	struct rig *r = plain_rig();
	uint8_t bad[KCP_HEAD] = {0};

	cr_assert_eq(kcp_input(&r->k, bad, 10, 0, 1000, NULL), -EINVAL);
	cr_assert_eq(kcp_input(&r->k, bad, KCP_HEAD, 0, 1000, NULL), -EINVAL);
	cr_assert_eq(r->cnt.KCPInErrors, 2);
	cr_assert_eq(r->cnt.InSegs, 0);
	feed_push(r, 0, 5, 1000, NULL);
	feed_push(r, 0, 5, 1000, NULL);
	feed_push(r, 500, 5, 1000, NULL);
	cr_assert_eq(r->cnt.InSegs, 3);
	cr_assert_eq(r->cnt.RepeatSegs, 2);
	send_bytes(r, 3000);
	rig_flush(r, KCP_FLUSH_FULL, 1000);
	cr_assert_eq(r->cnt.OutSegs, 4);
	cr_assert_eq(r->cnt.BytesSent, 3000);
	cr_assert_eq(r->cnt.RingBufferSndBuffer, 3);
	cr_assert_eq(r->cnt.RingBufferSndQueue, 0);
	cr_assert_eq(r->cnt.RingBufferRcvQueue, 1);
	cr_assert_eq(r->cnt.BytesReceived, 0);
	kcp_consume(&r->k, 1);
	cr_assert_eq(r->cnt.BytesReceived, 5);
	rig_free(r);
}
