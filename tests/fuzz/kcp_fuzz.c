/* SPDX-License-Identifier: MIT */

/*
 * One KCP session and a peer that may say anything, over many datagrams, with time that passes, bytes that are sent
 * and a reader that is slow.  What is delivered is what was sent, in order; what goes out is well formed, and a
 * segment that leaves again is what it was; counts agree with lists; all memory comes back.
 *
 *	conf(2) start(1), steps: op(1) and what it takes
 */

#include "fuzz.h"
#include "kcp_seg.h"
#include "kcp_state.h"
#include "kcp_wire.h"
#include "mem.h"

#define STEPS 500
#define LENT  32
#define CONV  0x11223344u
#define SEEN  4096 /* segments that have left, the latest */

struct world {
	struct kcp k;
	struct kcp_conf conf;
	struct snmp cnt;
	uint64_t us, sent;
	bool stalled; /* nobody reads */
	bool lied;    /* segments came that no sender of ours makes: what is delivered is anything */
	uint32_t rd_sn, rd_at;
	uint32_t out_sn; /* the first that has not left yet */
	uint64_t out_at; /* and its place in the stream that we send; UINT64_MAX: not known any more */
	struct {
		uint32_t sn, len, sum;
	} seen[SEEN];
};

/* Our peer's segments. */
static uint32_t their_len(uint32_t sn)
{
	return sn * 2654435761u >> 27; /* 0..31 */
}

static uint8_t their_byte(uint32_t sn, uint32_t i)
{
	return (uint8_t)((sn * 40503u + i * 97u) >> 3);
}

static uint8_t our_byte(uint64_t i)
{
	return (uint8_t)((i * 0x9e3779b97f4a7c15) >> 56);
}

/* ---- in ---- */

static void read_bytes(struct world *w, const struct slice *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		volatile uint8_t b = s->p[i];

		if (w->lied)
			continue;
		while (w->rd_at == their_len(w->rd_sn)) {
			w->rd_sn++;
			w->rd_at = 0;
		}
		fuzz_must(b == their_byte(w->rd_sn, w->rd_at), "byte %u of segment %u", w->rd_at, w->rd_sn);
		w->rd_at++;
	}
}

static void read_some(struct world *w, unsigned most)
{
	struct slice v[8];
	unsigned n;

	while (most && (n = kcp_peek(&w->k, v, most < 8 ? most : 8))) {
		for (unsigned i = 0; i < n; i++)
			read_bytes(w, &v[i]);
		kcp_consume(&w->k, n);
		most -= n;
	}
}

static void input(struct world *w, const uint8_t *p, size_t n, bool recovered)
{
	uint8_t *exact = fuzz_exact(p, n);
	struct kcp_got got;
	int rc;

	kcp_clock(&w->k, w->us);
	rc = kcp_input(&w->k, exact, (uint16_t)n, recovered ? KCP_IN_RECOVERED : 0, w->us / 1000,
		       w->stalled ? NULL : &got);
	fuzz_must(rc >= -1000 && rc <= 3);
	for (unsigned i = 0; !w->stalled && i < got.n; i++) {
		fuzz_must(got.v[i].p >= exact && got.v[i].p + got.v[i].n <= exact + n);
		read_bytes(w, &got.v[i]);
	}
	free(exact);
	if (!w->stalled)
		read_some(w, UINT32_MAX);
}

static unsigned craft(struct world *w, struct fuzz_in *in, uint8_t *p)
{
	unsigned what = fuzz_u8(in);
	struct kcp_head h = {.conv = CONV,
			     .cmd = (uint8_t)(KCP_PUSH + (what & 3)),
			     .wnd = what & 4 ? fuzz_u16(in) : 128,
			     .una = w->k.snd_una + (uint32_t)(what & 8 ? (int8_t)fuzz_u8(in) : 0),
			     .ts = (uint32_t)(w->us / 1000) - (what & 16 ? fuzz_u16(in) : 20)};

	h.sn = (h.cmd == KCP_PUSH ? w->k.rcv_nxt : w->k.snd_una) + (uint32_t)(int8_t)fuzz_u8(in);
	if (what & 32)
		h.sn += fuzz_u16(in);
	if (h.cmd == KCP_PUSH)
		h.len = their_len(h.sn);
	if ((what & 0xc0) == 0xc0) {
		h.len += fuzz_u8(in) & 63;
		w->lied = true;
	}
	kcp_head_put(p, &h);
	for (uint32_t i = 0; i < h.len; i++)
		p[KCP_HEAD + i] = their_byte(h.sn, i);
	if (what & 0x40 && !(what & 0x80)) { /* the length is a lie */
		le32_put(p + KCP_OFF_LEN, fuzz_u16(in));
		w->lied = true;
	}
	return KCP_HEAD + h.len;
}

static void crafted(struct world *w, struct fuzz_in *in, unsigned op)
{
	uint8_t p[8 * (KCP_HEAD + 128)];
	unsigned n = 0;

	for (unsigned i = 0; i <= (op >> 4 & 7); i++)
		n += craft(w, in, p + n);
	input(w, p, n, op & 0x80);
}

static void raw(struct world *w, struct fuzz_in *in, unsigned op)
{
	struct fuzz_in b = fuzz_bytes(in, op & 16 ? fuzz_u16(in) % 1500 : fuzz_u8(in));
	uint8_t p[1500];

	if (b.n)
		memcpy(p, b.p, b.n);
	if (op & 32 && b.n >= 4)
		le32_put(p, CONV);
	w->lied = true;
	input(w, p, b.n, op & 64);
}

/* ---- out ---- */

static void check_push(struct world *w, const struct kcp_head *h, const uint8_t *data)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < h->len; i++)
		sum = sum * 31 + data[i];
	/* Between two calls of a flush a liar may have acknowledged what was to leave in the second one. */
	if ((int32_t)(h->sn - w->out_sn) > 0) {
		w->out_sn = h->sn;
		w->out_at = UINT64_MAX;
	}
	if (h->sn == w->out_sn) {
		for (uint32_t i = 0; i < h->len && w->out_at != UINT64_MAX; i++)
			fuzz_must(data[i] == our_byte(w->out_at + i), "byte %lu leaves as another", w->out_at + i);
		w->out_at += w->out_at == UINT64_MAX ? 0 : h->len;
		w->out_sn++;
		w->seen[h->sn % SEEN].sn = h->sn;
		w->seen[h->sn % SEEN].len = h->len;
		w->seen[h->sn % SEEN].sum = sum;
	} else if (w->seen[h->sn % SEEN].sn == h->sn) {
		fuzz_must(w->seen[h->sn % SEEN].len == h->len && w->seen[h->sn % SEEN].sum == sum, "segment %u", h->sn);
	}
}

static void check_out(struct world *w, const struct pkt *k)
{
	unsigned at = 0;

	fuzz_must(k->n <= w->conf.mtu && k->n >= KCP_HEAD);
	while (k->n - at >= KCP_HEAD) {
		struct kcp_head h;

		kcp_head_get(&h, k->p + at);
		fuzz_must(h.conv == CONV && h.cmd >= KCP_PUSH && h.cmd <= KCP_WINS && at + KCP_HEAD + h.len <= k->n);
		fuzz_must(h.una == w->k.rcv_nxt && h.wnd <= UINT16_MAX);
		if (h.cmd == KCP_PUSH)
			check_push(w, &h, k->p + at + KCP_HEAD);
		else
			fuzz_must(h.len == 0);
		at += KCP_HEAD + h.len;
	}
	fuzz_must(at == k->n || k->flags & PKT_F_PROBE);
}

static void flush(struct world *w, enum kcp_flush_kind kind, unsigned max)
{
	struct pkt out[LENT];
	unsigned n;

	for (unsigned i = 0; i < max; i++)
		out[i] = (struct pkt){.p = malloc(w->conf.mtu)};
	kcp_clock(&w->k, w->us);
	n = kcp_flush(&w->k, kind, w->us / 1000, out, max);
	fuzz_must(n <= max);
	for (unsigned i = 0; i < n; i++)
		check_out(w, &out[i]);
	for (unsigned i = 0; i < max; i++)
		free(out[i].p);
}

static void send_bytes(struct world *w, unsigned n)
{
	uint8_t buf[4096];
	struct slice v = {buf, n % sizeof(buf) + 1};

	if (!kcp_room(&w->k))
		return;
	for (uint32_t i = 0; i < v.n; i++)
		buf[i] = our_byte(w->sent + i);
	if (kcp_send(&w->k, &v, 1) == 0)
		w->sent += v.n;
}

/* ---- */

static void look(struct world *w)
{
	struct kcp_rounds rounds;
	struct kcp_look l;
	struct kcp_info i;

	kcp_look(&w->k, &l);
	kcp_info(&w->k, &i);
	kcp_rounds(&w->k, &rounds);
	fuzz_must(kcp_bound(&w->k, true) < KCP_N_BOUNDS && kcp_bound(&w->k, false) < KCP_N_BOUNDS);
	kcp_window_wanted(&w->k);
	kcp_is_open(&w->k, true);
	kcp_takes(&w->k);
	kcp_owes(&w->k);
	kcp_pace(&w->k);
	fuzz_must(i.rto <= KCP_RTO_MAX && (int32_t)(i.snd_nxt - i.snd_una) >= 0);
	fuzz_must(i.snd_nxt - i.snd_una <= KCP_WND_MAX);
}

/* What the model counts, and what its lists hold. */
static void sane(const struct kcp *k)
{
	uint32_t flight = 0, late = 0, again = 0;

	if (k->conf->congestion != KCP_CONGESTION_AUTO)
		return;
	for (uint32_t sn = k->snd_una; sn != k->snd_nxt; sn++) {
		const struct kcp_seg *s = kcp_snd_seg(k, sn);

		if (!s || !s->xmit)
			continue;
		flight += s->why ? 0 : kcp_seg_cost(s);
		late += !s->why;
		again += s->why != KCP_WHY_NONE;
	}
	fuzz_must(k->m.flight == flight, "%u in flight, not %u", k->m.flight, flight);
	for (const struct list *l = k->late.next; l != &k->late; l = l->next)
		late--;
	for (const struct list *l = k->again.next; l != &k->again; l = l->next)
		again--;
	fuzz_must(late == 0 && again == 0);
}

static void rare(struct world *w, struct fuzz_in *in)
{
	unsigned v = fuzz_u16(in), mtu = w->conf.mtu;

	switch (v & 7) {
	case 0:
		kcp_mtu(&w->k, KCP_MTU_MIN + v / 8 % (mtu - KCP_MTU_MIN + 1));
		break;
	case 1:
		kcp_probe(&w->k, v & 8 ? 0 : mtu);
		break;
	case 2:
		kcp_limited(&w->k, v & 8);
		break;
	case 3:
		kcp_parity(&w->k, v / 8 % 10, 1 + v / 256 % 20);
		break;
	case 4:
		kcp_knows(&w->k);
		break;
	case 5:
		kcp_limit(&w->k, v & 8 ? UINT32_MAX : v / 16);
		break;
	case 6:
		kcp_ask(&w->k);
		break;
	default:
		look(w);
	}
}

static void step(struct world *w, struct fuzz_in *in)
{
	unsigned op = fuzz_u8(in);

	switch (op & 15) {
	case 0 ... 4:
		crafted(w, in, op);
		break;
	case 5:
		raw(w, in, op);
		break;
	case 6:
		w->us += fuzz_u16(in);
		break;
	case 7:
		w->us += 1000ull * fuzz_u16(in) << (op >> 4);
		break;
	case 8:
	case 9:
		send_bytes(w, fuzz_u16(in));
		break;
	case 10:
	case 11:
		flush(w, KCP_FLUSH_FULL, 1 + fuzz_u8(in) % LENT);
		break;
	case 12:
		flush(w, KCP_FLUSH_ACKS, 1 + fuzz_u8(in) % LENT);
		break;
	case 13:
		read_some(w, fuzz_u8(in));
		break;
	case 14:
		w->stalled = op & 16;
		break;
	default:
		rare(w, in);
	}
	sane(&w->k);
}

static void start_at(struct world *w, uint32_t sn)
{
	struct kcp *k = &w->k;

	k->snd_una = k->snd_sent = k->snd_nxt = k->snd_end = k->fast = k->plain = k->m.hole = sn;
	k->rcv_nxt = k->rcv_top = sn;
	for (unsigned i = 0; i < KCP_RESEND_MAX; i++)
		k->marks[i] = sn;
	w->rd_sn = w->out_sn = sn;
	memset(w->seen, (int)~sn, sizeof(w->seen)); /* none of them is near */
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint32_t mtus[] = {50, 73, 200, 1350}, wnds[] = {1, 4, 32, 128, 512, 1024, 4096, 65535};
	struct fuzz_in in = {p, n};
	unsigned a = fuzz_u8(&in), b = fuzz_u8(&in), start = fuzz_u8(&in);
	struct world *w = calloc(1, sizeof(*w));
	struct mem *mem = fuzz_heap(start & 4 ? 1 << 20 : 8 << 20);

	w->conf = (struct kcp_conf){.mtu = mtus[a & 3],
				    .snd_wnd = wnds[a >> 2 & 7],
				    .rcv_wnd = wnds[a >> 5],
				    .congestion = b & 1 ? KCP_CONGESTION_AUTO : KCP_CONGESTION_STOCK,
				    .bandwidth = b & 2 ? 1000000 : 0,
				    .nodelay = b >> 2 & 1,
				    .nc = b >> 3 & 1,
				    .resend = b >> 4 & 3,
				    .interval = 10 + 10 * (b >> 6 & 1),
				    .acknodelay = b >> 7};
	w->us = start & 8 ? (UINT64_C(1) << 32) * 1000 - 300000 : 1000000;
	kcp_init(&w->k, CONV, &w->conf, mem, &w->cnt, w->us / 1000);
	start_at(w, start & 1 ? 0xfffffff0u : start & 2 ? 0x7ffffff0u : 0);
	for (unsigned i = 0; in.n && i < STEPS; i++)
		step(w, &in);
	look(w);
	kcp_fini(&w->k);
	free(w);
	fuzz_heap_end();
	return 0;
}
