/* SPDX-License-Identifier: MIT */

/*
 * Segments that come late: networks overtake, and strangers repeat what they recorded.  What such a one says of the
 * round trip and of the peer's window was true once.
 */

#include "kcp_test.h"

#define CONV 0x11223344
#define HOUR 3600000

static const struct kcp_conf confs[] = {
	{.mtu = 1350, .snd_wnd = 128, .rcv_wnd = 128, .nodelay = 1, .interval = 20, .resend = 2, .nc = 1},
	{.mtu = 1350,
	 .snd_wnd = 128,
	 .rcv_wnd = 128,
	 .nodelay = 1,
	 .interval = 20,
	 .resend = 2,
	 .nc = 1,
	 .congestion = KCP_CONGESTION_AUTO},
};

#define EACH_CONF(c) (const struct kcp_conf *c = confs; c < confs + 2; c++)

static struct rig *stale_rig(const struct kcp_conf *c)
{
	return rig_new(CONV, c, 4 << 20, 1000);
}

static void feed(struct rig *r, struct kcp_head h, uint64_t now)
{
	uint8_t p[KCP_MTU_MAX] = {0};

	h.conv = CONV;
	kcp_head_put(p, &h);
	kcp_clock(&r->k, now * 1000);
	cr_assert_geq(kcp_input(&r->k, p, (uint16_t)(KCP_HEAD + h.len), 0, now, NULL), 0);
}

/* A segment leaves at `now`. */
static void emit(struct rig *r, uint64_t now)
{
	kcp_clock(&r->k, now * 1000);
	cr_assert_eq(kcp_send(&r->k, &(struct slice){(const uint8_t *)"data", 4}, 1), 0);
	rig_flush(r, KCP_FLUSH_FULL, now);
}

static void ack(struct rig *r, uint32_t sn, uint32_t ts, uint32_t una, uint64_t now)
{
	feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 128, .sn = sn, .ts = ts, .una = una}, now);
}

static struct kcp_info look(const struct rig *r)
{
	struct kcp_info i;

	kcp_info(&r->k, &i);
	return i;
}

/* A few round trips of 10 ms; returns the next sequence number. */
static uint32_t settle(struct rig *r)
{
	uint32_t sn;

	for (sn = 0; sn < 8; sn++) {
		emit(r, 1000 + 20 * sn);
		ack(r, sn, 1000 + 20 * sn, sn + 1, 1010 + 20 * sn);
	}
	return sn;
}

Test(kcp_stale, an_old_acknowledgement_says_nothing_of_the_round_trip)
{
	for
		EACH_CONF(c)
		{
			struct rig *r = stale_rig(c);
			uint32_t rto;

			settle(r);
			rto = look(r).rto;
			ack(r, 0, 1000, 1, HOUR);
			cr_assert_eq(look(r).rto, rto, "from %u to %u ms", rto, look(r).rto);
			cr_assert_eq(look(r).srtt, 10);
			rig_free(r);
		}
}

/* One that the peer has made for a transmission which there never was. */
Test(kcp_stale, nor_does_one_that_echoes_what_was_not_sent)
{
	for
		EACH_CONF(c)
		{
			struct rig *r = stale_rig(c);
			uint32_t sn = settle(r), rto = look(r).rto;

			emit(r, HOUR);
			ack(r, sn, HOUR - 50000, sn + 1, HOUR + 10);
			cr_assert_eq(look(r).rto, rto, "from %u to %u ms", rto, look(r).rto);
			cr_assert_eq(look(r).snd_buf, 0, "it acknowledges all the same");
			cr_assert_eq(look(r).srtt, 10);
			rig_free(r);
		}
}

/* An ACK whose una covers it, with others in its datagram, and that of an earlier transmission are samples as ever. */
Test(kcp_stale, late_acknowledgements_of_what_is_out_still_count)
{
	for
		EACH_CONF(c)
		{
			struct rig *r = stale_rig(c);
			uint32_t sn = settle(r), lost = r->cnt.RetransSegs;
			uint64_t at = 2000;

			emit(r, at);
			while (r->cnt.RetransSegs == lost && at < 4000) {
				kcp_clock(&r->k, ++at * 1000);
				rig_flush(r, KCP_FLUSH_FULL, at);
			}
			cr_assert_gt(r->cnt.RetransSegs, lost);
			ack(r, sn, 2000, sn + 1, at + 200);
			cr_assert_gt(look(r).srtt, 10 + (at + 200 - 2000) / 16, "%u", look(r).srtt);
			rig_free(r);
		}
}

Test(kcp_stale, the_last_of_several_acknowledgements_is_the_sample)
{
	struct rig *r = stale_rig(&confs[0]);
	uint8_t p[3 * KCP_HEAD];

	for (uint32_t i = 0; i < 3; i++) {
		emit(r, 1000 + 10 * i);
		kcp_head_put(p + i * KCP_HEAD,
			     &(struct kcp_head){
				     .conv = CONV, .cmd = KCP_ACK, .wnd = 128, .sn = i, .ts = 1000 + 10 * i, .una = 3});
	}
	cr_assert_geq(kcp_input(&r->k, p, sizeof(p), 0, 1030, NULL), 0);
	cr_assert_eq(look(r).srtt, 10);
	rig_free(r);
}

Test(kcp_stale, an_old_window_shuts_nothing)
{
	static const uint8_t cmds[] = {KCP_PUSH, KCP_ACK, KCP_WASK, KCP_WINS};

	for
		EACH_CONF(c)
		{
			for (unsigned i = 0; i < 4; i++) {
				struct rig *r = stale_rig(c);

				settle(r);
				feed(r, (struct kcp_head){.cmd = cmds[i], .wnd = 0, .una = 3}, 2000);
				cr_assert_eq(look(r).rmt_wnd, 128, "by a segment of kind %u", cmds[i]);
				rig_free(r);
			}
		}
}

/* With the same una a window can only have grown: what was received in order since would show in una. */
Test(kcp_stale, of_one_una_the_widest_window_counts)
{
	for
		EACH_CONF(c)
		{
			struct rig *r = stale_rig(c);
			uint32_t sn = settle(r);

			feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 200, .una = sn}, 2000);
			feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 0, .una = sn}, 2001);
			cr_assert_eq(look(r).rmt_wnd, 200);
			rig_free(r);
		}
}

Test(kcp_stale, windows_that_are_news_count)
{
	for
		EACH_CONF(c)
		{
			struct rig *r = stale_rig(c);

			feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 4}, 1001);
			cr_assert_eq(look(r).rmt_wnd, 4, "the first that is told, less than was supposed");
			emit(r, 1010);
			feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 0, .ts = 1010, .una = 1}, 1020);
			cr_assert_eq(look(r).rmt_wnd, 0, "closed");
			feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 4, .una = 1}, 1030);
			cr_assert_eq(look(r).rmt_wnd, 4, "open again");
			rig_free(r);
		}
}

/* The same over the edge of the sequence numbers. */
Test(kcp_stale, an_old_window_is_old_across_the_wrap)
{
	for
		EACH_CONF(c)
		{
			struct rig *r = stale_rig(c);

			rig_start_at(r, UINT32_MAX - 1);
			for (uint32_t sn = UINT32_MAX - 1; sn != 2; sn++) {
				emit(r, 1010);
				ack(r, sn, 1010, sn + 1, 1020);
			}
			feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 0, .una = UINT32_MAX}, 1030);
			cr_assert_eq(look(r).rmt_wnd, 128);
			rig_free(r);
		}
}
