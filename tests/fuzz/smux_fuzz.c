/* SPDX-License-Identifier: MIT */

/*
 * smux of both versions, as client and as server: a peer that may say anything, and a local side that opens, sends,
 * takes and closes.  What arrives is charged and given back exactly, what goes out is well formed, and all memory
 * comes back.
 *
 *	conf(1), steps: op(1) and what it takes
 */

#include "fuzz.h"
#include "le.h"
#include "mem.h"
#include "smux_wire.h"

#define STEPS	600
#define STREAMS 64

struct world {
	struct mux m;
	struct mux_conf conf;
	/* What we hold of each: bytes delivered and not taken, and what is ready to be sent. */
	struct local {
		struct mux_stream *s;
		uint32_t held, ready;
		bool ours; /* not closed by us */
		bool over; /* it may not send any more */
	} v[STREAMS];
	bool broken;
};

static struct local *local_new(struct world *w, struct mux_stream *s)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		if (w->v[i].s)
			continue;
		w->v[i] = (struct local){.s = s, .ours = true};
		return &w->v[i];
	}
	return NULL;
}

static void opened(struct world *w, struct mux_stream *s)
{
	struct local *l = local_new(w, s);

	if (l)
		s->user = l;
	else
		mux_close(&w->m, s, false);
}

static void event(struct world *w, const struct mux_ev *ev)
{
	struct local *l = ev->stream ? ev->stream->user : NULL;

	switch (ev->type) {
	case MUX_EV_OPEN:
		opened(w, ev->stream);
		break;
	case MUX_EV_DATA:
		fuzz_must(l && l->ours && ev->data.n);
		l->held += ev->data.n;
		break;
	case MUX_EV_FIN:
	case MUX_EV_RESET:
	case MUX_EV_BROKEN:
		fuzz_must(l && l->ours);
		l->over = true;
		l->ready = 0;
		break;
	case MUX_EV_HALF:
	case MUX_EV_CREDIT:
		fuzz_must(l && l->ours);
		break;
	default:
		fuzz_must(!ev->stream);
	}
}

static void feed(struct world *w, const uint8_t *p, size_t n)
{
	uint8_t *exact = fuzz_exact(p, n);
	struct slice in = {exact, (uint32_t)n};
	struct mux_ev ev;

	while (!w->broken) {
		const uint8_t *was = in.p;
		uint32_t left = in.n;

		if (mux_next(&w->m, &in, &ev)) {
			w->broken = true;
			fuzz_must(mux_next(&w->m, &(struct slice){exact, 1}, &ev), "a protocol error is for good");
			break;
		}
		fuzz_must(in.p >= was && in.n <= left && in.p + in.n == exact + n);
		event(w, &ev);
		if (ev.type == MUX_EV_DATA)
			fuzz_must(ev.data.p >= exact && ev.data.p + ev.data.n <= exact + n);
		if (ev.type == MUX_EV_NONE) {
			fuzz_must(in.n == 0);
			break;
		}
	}
	free(exact);
}

/* A frame with a header that makes sense, or nearly. */
static void frame(struct world *w, struct fuzz_in *in, unsigned op)
{
	static const uint32_t high[] = {SMUX_NOP_HELLO, SMUX_NOP_RESET, 0, UINT32_MAX & ~255u};
	uint8_t p[MUX_HEAD + 65535] = {w->conf.version, (uint8_t)(op >> 4 & 7)};
	uint32_t sid = fuzz_u8(in), n = 0;

	if (op & 0x80)
		sid |= high[fuzz_u8(in) & 3];
	if (p[SMUX_CMD] == SMUX_PSH)
		n = fuzz_u16(in);
	le16_put(p + SMUX_LEN, (uint16_t)n);
	le32_put(p + SMUX_SID, sid);
	if (p[SMUX_CMD] == SMUX_UPD) {
		le32_put(p + MUX_HEAD, fuzz_u32(in));
		le32_put(p + MUX_HEAD + 4, fuzz_u32(in));
		n = SMUX_UPD_BODY;
	}
	memset(p + MUX_HEAD + (n == SMUX_UPD_BODY ? n : 0), 0x5a, n == SMUX_UPD_BODY ? 0 : n);
	feed(w, p, MUX_HEAD + n);
}

static void send_one(struct world *w)
{
	bool due = mux_pending(&w->m);
	struct mux_out o;
	struct local *l;

	fuzz_must(mux_out(&w->m, &o) == due);
	if (!due)
		return;
	l = o.user;
	if (o.head_n) {
		fuzz_must(o.head_n == 8 || o.head_n == 16);
		fuzz_must(o.head[0] == w->conf.version && o.head[1] <= (w->conf.version == 2 ? SMUX_UPD : SMUX_NOP));
		fuzz_must(le16_get(o.head + 2) == (o.head[1] == SMUX_UPD ? 8 : o.n));
		fuzz_must(o.n <= w->conf.framesize && (o.n == 0 || o.head[1] == SMUX_PSH));
	}
	if (o.n) {
		fuzz_must(l && l->ready >= o.n, "%u bytes are asked for, of %u", o.n, l ? l->ready : 0);
		l->ready -= o.n;
	}
	if (o.last) {
		fuzz_must(l && !l->ours);
		l->s = NULL;
	}
}

static void with(struct world *w, struct fuzz_in *in, struct local *l, unsigned what)
{
	uint32_t n;

	if (!l->s || !l->ours)
		return;
	switch (what) {
	case 0:
		n = fuzz_u16(in) << (fuzz_u8(in) & 7);
		if (!l->over && n < 1u << 24 && l->ready < 1u << 28) {
			l->ready += n;
			mux_avail(&w->m, l->s, n);
		}
		break;
	case 1:
		n = fuzz_u8(in) & 1 ? l->held : l->held / 2;
		l->held -= n;
		mux_taken(&w->m, l->s, n);
		break;
	case 2:
		if (mux_half(&w->m, l->s) == 0)
			l->over = true;
		break;
	case 3 ... 4:
		l->ours = false;
		if (what == 3)
			mux_close(&w->m, l->s, true);
		else
			mux_abort(&w->m, l->s, true, fuzz_u8(in) & 1);
		break;
	default:
		if (what == 5)
			mux_close(&w->m, l->s, false);
		else
			mux_abort(&w->m, l->s, false, fuzz_u8(in) & 1);
		l->s = NULL;
	}
}

static void held_is_charged(const struct world *w)
{
	int64_t held = 0;

	for (unsigned i = 0; i < STREAMS; i++)
		if (w->v[i].s && w->v[i].ours)
			held += w->v[i].held;
	fuzz_must(mux_held(&w->m) >= held, "%ld held, %ld are here", mux_held(&w->m), held);
}

static void step(struct world *w, struct fuzz_in *in)
{
	unsigned op = fuzz_u8(in);
	struct fuzz_in b;
	struct mux_stream *s;

	switch (op & 15) {
	case 0 ... 4:
		frame(w, in, op);
		break;
	case 5:
		b = fuzz_bytes(in, fuzz_u8(in));
		feed(w, b.p, b.n);
		break;
	case 6:
		s = w->broken ? NULL : mux_open(&w->m, NULL);
		if (s)
			opened(w, s);
		break;
	case 7 ... 8:
		for (unsigned i = 0; i <= op >> 4; i++)
			send_one(w);
		break;
	case 9:
		if (op & 16)
			mux_keepalive(&w->m);
		else
			mux_grow(&w->m, fuzz_u32(in) & 0xffffff);
		break;
	default:
		with(w, in, &w->v[fuzz_u8(in) % STREAMS], op >> 4 & 7);
	}
	held_is_charged(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	unsigned conf = fuzz_u8(&in);
	struct world *w = calloc(1, sizeof(*w));
	struct mem *mem = fuzz_heap(conf & 16 ? 1 << 20 : 8 << 20);

	w->conf = (struct mux_conf){.version = conf & 1 ? 2 : 1,
				    .client = conf & 2,
				    .framesize = conf & 4 ? 65535 : 1000,
				    .smuxbuf = conf & 8 ? 4 << 20 : 70000,
				    .streambuf = conf & 8 ? 2 << 20 : 65536,
				    .max_streams = conf & 32 ? 5 : 60,
				    .hello = conf & 64,
				    .hash_key = {conf, conf}};
	mux_init(&w->m, &w->conf, mem);
	for (unsigned i = 0; in.n && i < STEPS; i++)
		step(w, &in);
	mux_fini(&w->m);
	free(w);
	fuzz_heap_end();
	return 0;
}
