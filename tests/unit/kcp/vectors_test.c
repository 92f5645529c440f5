/* SPDX-License-Identifier: MIT */

/* Golden scenarios of the real Go code: every datagram, every returned value, every field of the state. */

#include "kcp_test.h"
#include "vectors.h"

#define CHECK(what, ours, theirs)                                                                            \
	cr_assert_eq((uint32_t)(ours), (uint32_t)(theirs), "%s step %zu: %s is %u, not %u", ctx, step, what, \
		     (uint32_t)(ours), (uint32_t)(theirs))

static uint32_t num(const json_t *o, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(o, key));
}

static struct rig *scenario_rig(const json_t *scenario)
{
	const json_t *c = json_object_get(scenario, "config");
	struct kcp_conf conf = {
		.mtu = num(c, "mtu"),
		.snd_wnd = num(c, "sndwnd"),
		.rcv_wnd = num(c, "rcvwnd"),
		.nodelay = (int)num(c, "nodelay"),
		.interval = (int)num(c, "interval"),
		.resend = (int)num(c, "resend"),
		.nc = (int)num(c, "nc"),
		.message = num(c, "stream") == 0,
	};
	struct rig *r = rig_new(num(c, "conv"), &conf, 4 << 20, 0);

	if (!strcmp(json_string_value(json_object_get(scenario, "name")), "sn_wrap"))
		rig_start_at(r, 0xfffffffe);
	return r;
}

static void check_segments(const struct rig *r, const json_t *bufs, const char *ctx, size_t step)
{
	size_t i;
	const json_t *b;

	json_array_foreach(bufs, i, b)
	{
		const struct kcp_seg *s = kcp_snd_seg(&r->k, r->k.snd_una + (uint32_t)i);
		uint32_t fastack = num(b, "fastack");

		CHECK("sn", r->k.snd_una + i, num(b, "sn"));
		CHECK("acked", s == NULL, num(b, "acked"));
		if (!s)
			continue;
		if (fastack != UINT32_MAX && fastack > r->k.n_marks)
			fastack = r->k.n_marks;
		CHECK("fastack", rig_fastack(r, s), fastack);
		CHECK("xmit", s->xmit, num(b, "xmit"));
		CHECK("rto", s->rto, num(b, "rto"));
		CHECK("resendts", s->deadline, num(b, "resendts"));
		CHECK("len", s->len, num(b, "len"));
	}
}

static void check_state(const struct rig *r, const json_t *s, const char *ctx, size_t step)
{
	struct kcp_info i;

	kcp_info(&r->k, &i);
	CHECK("snd_una", i.snd_una, num(s, "snd_una"));
	CHECK("snd_nxt", i.snd_nxt, num(s, "snd_nxt"));
	CHECK("rcv_nxt", i.rcv_nxt, num(s, "rcv_nxt"));
	CHECK("cwnd", i.cwnd, num(s, "cwnd"));
	CHECK("ssthresh", i.ssthresh, num(s, "ssthresh"));
	CHECK("incr", i.incr, num(s, "incr"));
	CHECK("rmt_wnd", i.rmt_wnd, num(s, "rmt_wnd"));
	CHECK("rx_rto", i.rto, num(s, "rx_rto"));
	CHECK("rx_srtt", i.srtt, num(s, "rx_srtt"));
	CHECK("rx_rttvar", i.rttvar, num(s, "rx_rttvar"));
	CHECK("probe", i.ask_send | i.ask_tell << 1, num(s, "probe"));
	CHECK("probe_wait", i.probe_wait, num(s, "probe_wait"));
	CHECK("ts_probe", i.ts_probe, num(s, "ts_probe"));
	CHECK("state", i.dead ? UINT32_MAX : 0, num(s, "state"));
	CHECK("snd_queue", i.snd_queue, num(s, "snd_queue"));
	CHECK("snd_buf", i.snd_buf, json_array_size(json_object_get(s, "snd_buf")));
	CHECK("rcv_queue", i.rcv_queue, num(s, "rcv_queue"));
	CHECK("rcv_buf", i.rcv_buf, num(s, "rcv_buf"));
	CHECK("acklist", i.acks, num(s, "acklist"));
	check_segments(r, json_object_get(s, "snd_buf"), ctx, step);
}

static int do_input(struct rig *r, const json_t *step, const uint8_t *p, size_t n, uint64_t now)
{
	bool fec = !strcmp(json_string_value(json_object_get(step, "type")), "fec");
	int want;

	r->conf.acknodelay = json_is_true(json_object_get(step, "ack_nodelay"));
	want = kcp_input(&r->k, p, (uint16_t)n, fec ? KCP_IN_RECOVERED : 0, now, NULL);
	switch (want) {
	case -EINVAL:
		return -1;
	case -EBADMSG:
		return -2;
	case -EPROTO:
		return -3;
	case KCP_WANT_FULL:
		rig_flush(r, KCP_FLUSH_FULL, now);
		return 0;
	case KCP_WANT_ACKS:
		rig_flush(r, KCP_FLUSH_ACKS, now);
		return 0;
	default:
		cr_assert_eq(want, 0);
		return 0;
	}
}

/* stock's Recv: -1 for nothing, -2 for a buffer too small, else one message. */
static int do_recv(struct rig *r, const json_t *step, const uint8_t *want, size_t n)
{
	int size = atoi(json_string_value(json_object_get(step, "note")) + strlen("bufsize "));
	struct slice s;
	int got;

	if (!kcp_peek(&r->k, &s, 1))
		return -1;
	if (s.n > (uint32_t)size)
		return -2;
	got = (int)s.n;
	cr_assert_eq(s.n, n);
	cr_assert_arr_eq(s.p, want, n);
	kcp_consume(&r->k, 1);
	return got;
}

static void do_step(struct rig *r, const json_t *st, const char *ctx, size_t step)
{
	const char *op = json_string_value(json_object_get(st, "op"));
	uint64_t now = num(st, "clock_ms");
	size_t n = 0, i;
	uint8_t *data = json_object_get(st, "data") ? vectors_hex(st, "data", &n) : NULL;
	const json_t *out = json_object_get(st, "output"), *o;
	int ret = 0;

	r->n_out = 0;
	if (!strcmp(op, "send")) {
		ret = kcp_send(&r->k, &(struct slice){.p = data, .n = (uint32_t)n}, 1);
	} else if (!strcmp(op, "input")) {
		ret = do_input(r, st, data, n, now);
	} else if (!strcmp(op, "recv")) {
		ret = do_recv(r, st, data, n);
	} else {
		enum kcp_flush_kind kind = !strcmp(op, "flush_full") ? KCP_FLUSH_FULL : KCP_FLUSH_ACKS;

		rig_flush(r, kind, now);
		ret = (int)rig_delay(r, kind);
	}

	CHECK("ret", ret, num(st, "ret"));
	CHECK("datagrams", r->n_out, json_array_size(out));
	json_array_foreach(out, i, o)
	{
		uint8_t *want = vectors_hex(o, "datagram", &n);

		CHECK("length", r->out[i].n, n);
		cr_assert_arr_eq(r->out[i].p, want, n, "%s step %zu: datagram %zu", ctx, step, i);
		free(want);
	}
	check_state(r, json_object_get(st, "state"), ctx, step);
	free(data);
}

static void replay(unsigned lend)
{
	json_t *root = vectors_load("kcp");
	const json_t *scenarios = json_object_get(root, "scenarios"), *sc, *st;
	size_t i, j;

	cr_assert_eq(json_array_size(scenarios), 18);
	json_array_foreach(scenarios, i, sc)
	{
		struct rig *r = scenario_rig(sc);

		r->lend = lend;
		json_array_foreach(json_object_get(sc, "steps"), j, st)
			do_step(r, st, json_string_value(json_object_get(sc, "name")), j);
		rig_free(r);
	}
	json_decref(root);
}

Test(kcp_vectors, all_scenarios)
{
	replay(RIG_OUT);
}

Test(kcp_vectors, all_scenarios_one_datagram_at_a_time)
{
	replay(1);
}
