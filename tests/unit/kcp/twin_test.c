/* SPDX-License-Identifier: MIT */

/* What leaves twice on a path that loses (twin.c): which segments are looked at. */

#include "kcp_test.h"

#define CONV 0x11223344
#define MTU  200

static const struct kcp_conf conf = {.mtu = MTU,
				     .snd_wnd = 512,
				     .rcv_wnd = 512,
				     .nodelay = 1,
				     .interval = 10,
				     .resend = 2,
				     .nc = 1,
				     .congestion = KCP_CONGESTION_AUTO};

static void say(struct rig *r, uint8_t cmd, uint32_t sn, uint32_t una, uint32_t ts, uint64_t now)
{
	struct kcp_head h = {.conv = CONV, .cmd = cmd, .sn = sn, .una = una, .ts = ts, .wnd = 512};
	uint8_t p[KCP_HEAD];

	kcp_head_put(p, &h);
	kcp_clock(&r->k, now * 1000);
	cr_assert_geq(kcp_input(&r->k, p, sizeof(p), 0, now, NULL), 0);
}

/* A few bytes on a lossy path: they leave, and once more. */
static struct rig *thin(uint64_t now)
{
	struct rig *r = rig_new(CONV, &conf, 1 << 20, now);

	r->k.m.lossy_until = r->k.m.round + 100;
	cr_assert_eq(kcp_send(&r->k, &(struct slice){(const uint8_t *)"few", 3}, 1), 0);
	kcp_clock(&r->k, now * 1000);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, now), 1);
	return r;
}

/*
 * All of it is acknowledged, and what leaves next are acknowledgements alone, for pace keeps back the rest: nothing has
 * left with them that could leave twice, and of what had left before there is nothing any more.
 */
Test(kcp_twin, acknowledgements_behind_the_last_segment)
{
	struct rig *r = thin(1000);

	say(r, KCP_ACK, 0, 1, 1000, 1050);
	cr_assert_eq(kcp_backlog(&r->k), 0);
	say(r, KCP_PUSH, 0, 1, 1050, 1050);
	kcp_clock(&r->k, 1060000);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_ACKS, 1060), 1, "%u datagrams", r->n_out);
	cr_assert_eq(r->out[0].n, KCP_HEAD, "an ACK");
	cr_assert_eq(r->out[0].p[KCP_OFF_CMD], KCP_ACK);
	rig_free(r);
}

/* As long as it is not, it leaves once more, and nothing but that. */
Test(kcp_twin, leaves_twice)
{
	struct rig *r = thin(1000);

	kcp_clock(&r->k, 1010000);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1010), 1);
	cr_assert_eq(r->out[0].n, KCP_HEAD + 3);
	kcp_clock(&r->k, 1020000);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1020), 0);
	rig_free(r);
}
