/* SPDX-License-Identifier: MIT */

/*
 * KCP beside the plain reference of wire.md 4: both hear the same peer, send the same bytes and are read alike, and
 * must be alike in all that they say, deliver and count.  The peer may say anything, but that an ACK is of a segment
 * that has been sent, and echoes when: that is what lib/kcp/loss.c counts by, without stock's walk over the window.
 *
 *	conf(2) start(1), steps: op(1) and what it takes
 */

#include "kcp_test.h"
#include "ref.h"

#define STEPS 300
#define CONV  0x11223344u

static struct rig *r;
static struct ref *f;
static uint64_t now, ticked, flushed;

static void same(void)
{
	struct kcp_info i;

	kcp_info(&r->k, &i);
	fuzz_must(i.snd_una == f->una && i.snd_nxt == f->nxt && i.rcv_nxt == f->rcv && i.rmt_wnd == f->rmt);
	fuzz_must(i.cwnd == f->cwnd && i.ssthresh == f->ssthresh && i.incr == f->incr, "%u/%u %u/%u %u/%u", i.cwnd,
		  f->cwnd, i.ssthresh, f->ssthresh, i.incr, f->incr);
	fuzz_must(i.srtt == (uint32_t)f->srtt && i.rttvar == (uint32_t)f->rttvar && i.rto == f->rto);
	fuzz_must(i.snd_queue == f->n_sq && i.snd_buf == f->n_sb && i.rcv_queue == f->n_rq && i.rcv_buf == f->n_rb);
	fuzz_must(i.acks == f->n_acks && i.dead == f->dead && (i.ask_send | i.ask_tell << 1) == (int)f->probe);
	fuzz_must((kcp_room(&r->k) > 0) == ref_may_send(f));
	fuzz_must(r->cnt.InSegs == f->in_segs && r->cnt.RepeatSegs == f->repeat && r->cnt.KCPInErrors == f->in_errors);
}

static void flush(enum kcp_flush_kind kind, unsigned lend)
{
	r->lend = lend;
	rig_flush(r, kind, now);
	ref_flush(f, kind, (uint32_t)now);
	fuzz_must(r->n_out == f->n_out, "%u datagrams, reference %u", r->n_out, f->n_out);
	for (unsigned i = 0; i < r->n_out; i++)
		fuzz_must(r->out[i].n == f->out_len[i] && memcmp(r->out[i].p, f->out[i], f->out_len[i]) == 0,
			  "datagram %u", i);
	if (kind == KCP_FLUSH_FULL)
		flushed = now;
}

static void tick(void)
{
	if (kcp_next(&r->k) <= now) {
		flush(KCP_FLUSH_FULL, RIG_OUT);
		fuzz_must(kcp_next(&r->k) > now);
	} else if (ticked == now && flushed != now) {
		ref_flush(f, KCP_FLUSH_FULL, (uint32_t)now);
		fuzz_must(f->n_out == 0);
	}
}

/* Ms by ms: stock's periodic flush changes what is said next. */
static void pass(unsigned ms)
{
	while (ms--) {
		now++;
		while (ticked < now)
			ticked += (uint64_t)r->conf.interval;
		tick();
	}
}

static void read_one(void)
{
	uint8_t buf[KCP_MTU_MAX];
	int n = ref_recv(f, buf);
	struct slice s = {0};

	fuzz_must(kcp_peek(&r->k, &s, 1) == (n >= 0));
	if (n < 0)
		return;
	fuzz_must(s.n == (uint32_t)n && memcmp(s.p, buf, s.n) == 0);
	kcp_consume(&r->k, 1);
}

static void echo(uint8_t *p, unsigned n)
{
	struct kcp_head h = {0};

	for (; n >= KCP_HEAD; p += KCP_HEAD + h.len, n -= KCP_HEAD + h.len) {
		kcp_head_get(&h, p);
		for (unsigned i = 0; i < f->n_sb; i++) {
			if (h.cmd != KCP_ACK || f->sb[i].sn != h.sn)
				continue;
			le32_put(p + KCP_OFF_TS, f->sb[i].ts);
			p[KCP_OFF_CMD] = f->sb[i].xmit ? KCP_ACK : KCP_WINS;
		}
		if (h.len > n - KCP_HEAD)
			return;
	}
}

static void input(const uint8_t *p, unsigned n, bool recovered)
{
	uint8_t *exact = fuzz_exact(p, n);
	int ours, plain;

	echo(exact, n);
	ours = kcp_input(&r->k, exact, (uint16_t)n, recovered ? KCP_IN_RECOVERED : 0, now, NULL);
	plain = ref_input(f, exact, n, recovered, (uint32_t)now);

	fuzz_must(ours == plain, "%d, reference %d", ours, plain);
	free(exact);
	if (ours > 0)
		flush(ours == KCP_WANT_FULL ? KCP_FLUSH_FULL : KCP_FLUSH_ACKS, RIG_OUT);
}

static unsigned craft(struct fuzz_in *in, uint8_t *p)
{
	unsigned what = fuzz_u8(in);
	struct kcp_head h = {.conv = CONV,
			     .cmd = (uint8_t)(KCP_PUSH + (what & 3)),
			     .wnd = what & 4 ? fuzz_u16(in) : 128,
			     .una = r->k.snd_una + (uint32_t)(what & 8 ? (int8_t)fuzz_u8(in) : 0),
			     .ts = (uint32_t)now - (what & 16 ? fuzz_u16(in) : 20)};

	h.sn = (h.cmd == KCP_PUSH ? r->k.rcv_nxt : r->k.snd_una) + (uint32_t)(int8_t)fuzz_u8(in);
	h.len = h.cmd == KCP_PUSH ? fuzz_u8(in) & 31 : 0;
	kcp_head_put(p, &h);
	for (uint32_t i = 0; i < h.len; i++)
		p[KCP_HEAD + i] = (uint8_t)(h.sn + i * what);
	if ((what & 0xe0) == 0xe0)
		p[fuzz_u8(in) % KCP_HEAD] ^= fuzz_u8(in); /* a header that is bent */
	return KCP_HEAD + h.len;
}

static void step(struct fuzz_in *in)
{
	uint8_t p[8 * 64], bytes[4096] = {0};
	unsigned op = fuzz_u8(in), n = 0;

	switch (op & 7) {
	case 0 ... 2:
		for (unsigned i = 0; i <= (op >> 4 & 7); i++)
			n += craft(in, p + n);
		input(p, n, op & 0x80);
		break;
	case 3:
		pass(1 + fuzz_u8(in));
		break;
	case 4:
		n = 1 + fuzz_u16(in) % sizeof(bytes);
		for (unsigned i = 0; i < n; i++)
			bytes[i] = (uint8_t)(op + i);
		if ((kcp_send(&r->k, &(struct slice){bytes, n}, 1) == 0) == ref_may_send(f) && ref_may_send(f))
			ref_send(f, bytes, n);
		break;
	case 5:
		flush(KCP_FLUSH_FULL, 1 + (op >> 3));
		break;
	case 6:
		for (n = op >> 3; n; n--)
			read_one();
		break;
	default:
		n = fuzz_u8(in);
		struct fuzz_in b = fuzz_bytes(in, n);
		input(b.p, (unsigned)b.n, op & 8);
	}
	same();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint32_t mtus[] = {50, 73, 200, 1350}, wnds[] = {1, 4, 16, 40};
	static const int resends[] = {2, 0, 1, 3};
	struct fuzz_in in = {p, n};
	unsigned a = fuzz_u8(&in), b = fuzz_u8(&in), start = fuzz_u8(&in);
	const struct kcp_conf conf = {.mtu = mtus[a & 3],
				      .snd_wnd = wnds[a >> 2 & 3],
				      .rcv_wnd = wnds[a >> 4 & 3],
				      .resend = resends[a >> 6],
				      .nodelay = b & 1,
				      .nc = b >> 1 & 1,
				      .acknodelay = b >> 2 & 1,
				      .interval = 10 + 10 * (b >> 3 & 3)};

	now = start & 1 ? 0xffffff00 : 1000;
	ticked = now + 100;
	flushed = 0;
	r = rig_new(CONV, &conf, 8 << 20, now);
	f = ref_new(CONV, &r->conf);
	rig_start_at(r, start & 2 ? 0xfffffff0 : 0);
	ref_start_at(f, start & 2 ? 0xfffffff0 : 0);
	flush(KCP_FLUSH_FULL, RIG_OUT);
	for (unsigned i = 0; in.n && i < STEPS; i++)
		step(&in);
	rig_free(r);
	ref_free(f);
	return 0;
}
