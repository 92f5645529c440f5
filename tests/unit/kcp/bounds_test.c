/* SPDX-License-Identifier: MIT */

/* Where a number has its ceiling, and where a call that fails has to leave every byte as it was. */

#include "kcp_test.h"
#include "sim.h"

#define CONV 0x11223344

static int feed(struct rig *r, struct kcp_head h, uint64_t now)
{
	uint8_t p[KCP_HEAD] = {0};

	h.conv = CONV;
	kcp_head_put(p, &h);
	return kcp_input(&r->k, p, KCP_HEAD, 0, now, NULL);
}

/* A round trip of three minutes asks for a timeout of ten; none is longer than one. */
Test(kcp_bounds, rto_has_a_ceiling)
{
	const struct kcp_conf conf = {
		.mtu = 1350, .snd_wnd = 128, .rcv_wnd = 128, .nodelay = 1, .interval = 20, .resend = 2, .nc = 1};
	struct rig *r = rig_new(CONV, &conf, 4 << 20, 1000);
	const uint64_t now = 1000 + 180000;
	struct kcp_info i;

	cr_assert_eq(kcp_send(&r->k, &(struct slice){(const uint8_t *)"a", 1}, 1), 0);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, 1000), 1);
	feed(r, (struct kcp_head){.cmd = KCP_ACK, .wnd = 128, .sn = 0, .una = 1, .ts = 1000}, now);
	kcp_info(&r->k, &i);
	cr_assert_eq(i.srtt, 180000);
	cr_assert_eq(i.rto, 60000, "%u ms", i.rto);

	/* And the next segment is sent again after that time, neither sooner nor later. */
	cr_assert_eq(kcp_send(&r->k, &(struct slice){(const uint8_t *)"b", 1}, 1), 0);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, now), 1);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, now + 59999), 0);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, now + 60000), 1);
	rig_free(r);
}

/* ---- kcp_send without memory ---- */

#define MOST (8u << 20)

/* Sends all that is queued, acknowledges it, and compares it with `want` from *at on. */
static void drain(struct rig *r, const uint8_t *want, uint32_t *at, uint64_t *now)
{
	struct kcp_info i;

	for (kcp_info(&r->k, &i); i.snd_queue || i.snd_buf; kcp_info(&r->k, &i)) {
		feed(r, (struct kcp_head){.cmd = KCP_WINS, .wnd = 65535, .una = r->k.snd_nxt}, *now);
		kcp_limit(&r->k, 200);
		rig_flush(r, KCP_FLUSH_FULL, ++*now);
		for (unsigned k = 0; k < r->n_out; k++) {
			const uint8_t *p = r->out[k].p, *end = p + r->out[k].n;
			struct kcp_head h;

			for (; p < end; p += h.len) {
				kcp_head_get(&h, p);
				p += KCP_HEAD;
				if (h.cmd != KCP_PUSH)
					continue;
				cr_assert_leq(*at + h.len, MOST);
				cr_assert_eq(memcmp(p, want + *at, h.len), 0,
					     "segment %u: other bytes than were taken, from %u on", h.sn, *at);
				*at += h.len;
			}
		}
	}
}

/*
 * Writes of every length until there is no memory, again and again.  A write that was refused must leave nothing behind
 * in the segment that it had begun to fill: each brings other bytes, so one that stays is seen.
 */
Test(kcp_bounds, refused_send_leaves_no_byte)
{
	const struct kcp_conf conf = {
		.mtu = 1350, .snd_wnd = 65535, .rcv_wnd = 128, .nodelay = 1, .interval = 20, .resend = 2, .nc = 1};
	struct rig *r = rig_new(CONV, &conf, 1 << 20, 1000);
	static uint8_t want[MOST], buf[20000];
	uint32_t taken = 0, seen = 0, refused = 0;
	struct sim_rng g = {7};
	uint64_t now = 1000;

	for (unsigned round = 0; round < 8; round++) {
		for (unsigned failed = 0; failed < 20;) {
			uint32_t n = 1 + sim_below(&g, sim_chance(&g, 500) ? sizeof(buf) : 3000);
			bool open =
				r->k.snd_nxt != r->k.snd_end && kcp_snd_seg(&r->k, r->k.snd_end - 1)->len < r->k.mss;
			int rc;

			for (uint32_t i = 0; i < n; i++)
				buf[i] = (uint8_t)sim_rand(&g);
			rc = kcp_send(&r->k, &(struct slice){buf, n}, 1);
			cr_assert(rc == 0 || rc == -ENOMEM, "%d", rc);
			if (rc == 0) {
				cr_assert_leq(taken + n, MOST);
				memcpy(want + taken, buf, n);
				taken += n;
			}
			failed += rc != 0;
			refused += rc != 0 && open;
		}
		drain(r, want, &seen, &now);
		cr_assert_eq(seen, taken, "%u bytes sent of %u taken", seen, taken);
	}
	cr_assert_eq(r->cnt.BytesSent, taken);
	cr_assert_gt(refused, 20, "only %u refused writes found a segment to begin with", refused);
	rig_free(r);
}
