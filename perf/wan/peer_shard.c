/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "end.h"
#include "wanflow.h"
#include "flow.h"
#include "sess.h"

/*
 * A kcpgate: a shard with one tunnel, whole but for ciphers and ports.  Here is what a worker does in a turn, and
 * control's part: dialling, and the applications' ends of the chans.
 */

#define HEAP	   ((size_t)256 << 20) /* touched by need */
#define HEAP_ALIGN 65536u
#define CHUNKS	   512u
#define CHANS	   64u
#define AHEAD	   (128u << 10) /* bytes that an application writes ahead of the shard */
#define OUT	   (SHARD_OUT_MIN + 64)
#define HEAD	   128u
#define PORT	   4000u   /* the server's; clients have PORT + 1 + flow */
#define SHARD_NS   PATH_MS /* the shard's unit of time */

struct app { /* control's end of one stream */
	struct chan *chan;
	unsigned i;
	uint64_t sent;
	bool starved; /* the last write found no chunk */
};

struct shard_end {
	struct end end; /* first */
	struct shard_tunnel tun;
	struct dial dial;
	struct shard *shard;
	struct border *border;
	struct chan_pool pool;
	void *map;
	struct mem *mem;
	struct flow_key key;
	struct app app[1 + FLOW_BULKS];
	unsigned opened;
	uint32_t window_told, rcvwnd;
	struct pkt out[OUT];
	uint8_t buf[OUT][HEAD + 1600];
};

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "wan: cannot have %s\n", what);
	exit(1);
}

/* ---- making ---- */

static void set_tunnel(struct shard_end *s)
{
	const struct end_conf *c = &s->end.conf;
	struct shard_tunnel *t = &s->tun;

	t->client = s->end.side == CLIENT;
	t->nocomp = true;
	t->head = WAN_CRYPT_HEAD;
	t->dev = UINT16_MAX;
	if (c->ds && c->ps)
		need(fec_codec_get(&t->fec, c->ds, c->ps) == 0, "FEC");
	t->kcp = (struct kcp_conf){
		.mtu = c->mtu - WAN_CRYPT_HEAD - (t->fec ? FEC_HEAD : 0u),
		.snd_wnd = c->sndwnd,
		.rcv_wnd = c->rcvwnd,
		.nodelay = c->nodelay,
		.interval = c->interval,
		.resend = c->resend,
		.nc = c->nc,
		.acknodelay = c->acknodelay,
		.congestion = c->stock ? KCP_CONGESTION_STOCK : KCP_CONGESTION_AUTO,
		.bandwidth = c->bandwidth,
	};
	t->mux = (struct mux_conf){
		.version = (uint8_t)c->smuxver,
		.client = t->client,
		.framesize = 8192,
		.smuxbuf = c->smuxbuf,
		.streambuf = c->streambuf,
		.max_streams = 4096,
		.hello = c->hello,
	};
	t->keepalive_ms = 10000;
	t->closewait_ms = t->client ? 30000 : 0;
	t->ratelimit = c->ratelimit;
	t->conn = t->client;
	t->dials = t->client ? &s->dial : NULL;
}

static struct flow_key make_key(const struct wan_flow *f, int side)
{
	struct flow_key k = {.peer = addr_v4(0x0a000002), .local = addr_v4(0x0a000001), .peer_port = PORT};

	k.local_port = (uint16_t)(PORT + 1 + f->id);
	if (side == CLIENT)
		return k;
	return (struct flow_key){
		.peer = k.local, .local = k.peer, .peer_port = k.local_port, .local_port = k.peer_port};
}

static void make_shard(struct shard_end *s, uint64_t seed)
{
	static const uint8_t no_csum[NET_DEV_MAX];
	unsigned id = s->end.flow->id * 2u + (unsigned)s->end.side;
	struct shard_conf sc = {
		.id = id, .tunnels = &s->tun, .n_tunnels = 1, .max_sessions = 8, .mbufs_to_hold = 64, .seed = seed};

	s->map = mmap(NULL, HEAP + HEAP_ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	need(s->map != MAP_FAILED, "memory");
	s->mem = mem_init((void *)(((uintptr_t)s->map + HEAP_ALIGN - 1) & ~(uintptr_t)(HEAP_ALIGN - 1)), HEAP);
	need(s->mem, "a heap");
	need(chan_pool_create(&s->pool, CHUNKS, CHANS, 1, 0) == 0, "chans");
	need(border_create(&s->border, id, CHANS + 1, 64, 0) == 0, "a border");
	s->dial.to_ctl.kind = s->dial.to_worker.kind = MBOX_DIAL;
	s->dial.worker_id = (uint16_t)id;
	sc.mem = s->mem;
	sc.chans = &s->pool;
	sc.border = s->border;
	sc.dev_csum = no_csum;
	need(shard_create(&s->shard, &sc, 1) == 0, "a shard");
	for (unsigned i = 0; i < OUT; i++)
		s->out[i] = (struct pkt){.p = s->buf[i] + HEAD};
}

/* ---- control's part ---- */

static void post(struct shard_end *s, struct app *a, uint32_t ev)
{
	mbox_post(s->border->to_worker, &a->chan->to_worker, ev);
}

static void app_write(struct shard_end *s, struct app *a, uint64_t now)
{
	uint64_t offer = wf_offer(s->end.flow, s->end.side, a->i, now);
	struct chan_ring *up = &a->chan->up;
	uint8_t buf[8192];
	bool wrote = false;

	a->starved = false;
	while (a->sent < offer && chan_used(up) < AHEAD && !a->starved) {
		uint32_t n = offer - a->sent < sizeof(buf) ? (uint32_t)(offer - a->sent) : (uint32_t)sizeof(buf), k;

		wf_fill(buf, a->sent, n);
		k = chan_write(&s->pool, up, &(struct slice){buf, n}, 1);
		a->sent += k;
		wrote |= k > 0;
		a->starved = k < n;
	}
	if (wrote)
		post(s, a, CHAN_EV_DATA);
	if (!chan_used(up))
		chan_trim(&s->pool, up);
}

static void app_read(struct shard_end *s, struct app *a, uint64_t now)
{
	struct chan_ring *down = &a->chan->down;
	struct iovec v[CHAN_IOV];
	bool any = false;
	unsigned n;

	while ((n = chan_peek(down, v, CHAN_IOV))) {
		uint32_t took = 0;

		for (unsigned i = 0; i < n; i++) {
			wf_got(s->end.flow, s->end.side, a->i, v[i].iov_base, (uint32_t)v[i].iov_len, now);
			took += (uint32_t)v[i].iov_len;
		}
		chan_done(&s->pool, down, took);
		any = true;
	}
	if (any)
		post(s, a, CHAN_EV_ROOM);
}

/* The client's application connects, as often as is due. */
static void app_connect(struct shard_end *s, uint64_t now)
{
	unsigned want = s->end.side == CLIENT ? wf_streams(s->end.flow, now) : 0;

	while (s->opened < want) {
		struct app *a = &s->app[s->opened];

		a->i = s->opened++;
		a->chan = chan_alloc(&s->pool, 0);
		need(a->chan, "a chan");
		a->chan->ctl = a;
		a->chan->worker_id = s->dial.worker_id;
		post(s, a, CHAN_EV_OPEN);
	}
}

/* The server's: stream ids count from 3 in steps of 2 (wire.md 8.2). */
static void app_accept(struct shard_end *s, struct chan *ch)
{
	struct app *a;

	need(ch->sid >= 3 && (ch->sid - 3) / 2 < 1 + FLOW_BULKS, "a stream of a known id");
	a = &s->app[(ch->sid - 3) / 2];
	a->i = (ch->sid - 3) / 2;
	a->chan = ch;
	ch->ctl = a;
	post(s, a, CHAN_EV_UP);
}

static void app_event(struct shard_end *s, struct chan *ch, uint32_t ev, uint64_t now)
{
	struct app *a;

	if (ev & CHAN_EV_OPEN)
		app_accept(s, ch);
	a = ch->ctl;
	if (ev & CHAN_EV_CLOSE) {
		app_read(s, a, now);
		post(s, a, CHAN_EV_GONE);
		a->chan = NULL;
		return;
	}
	app_read(s, a, now);
	app_write(s, a, now);
}

static void dial_event(struct shard_end *s, uint32_t ev)
{
	if (!(ev & DIAL_EV_WANT))
		return;
	s->dial.key = s->key;
	s->dial.err = 0;
	mbox_post(s->border->to_worker, &s->dial.to_worker, DIAL_EV_READY);
}

static unsigned control(struct shard_end *s, uint64_t now)
{
	struct mbox_ent *ents[32];
	uint32_t ev[32];
	unsigned n = mbox_get(s->border->to_ctl, ents, ev, 32);

	for (unsigned i = 0; i < n; i++) {
		if (ents[i]->kind == MBOX_CHAN)
			app_event(s, container_of(ents[i], struct chan, to_ctl), ev[i], now);
		else
			dial_event(s, ev[i]);
	}
	return n;
}

/* What the log would say. */
static void take_notes(struct shard_end *s)
{
	struct note v[8];
	unsigned n;

	while ((n = border_notes(s->border, v, 8)))
		for (unsigned i = 0; i < n; i++)
			if (v[i].type == NOTE_WINDOW) {
				s->window_told++;
				s->rcvwnd = v[i].arg & UINT16_MAX;
			}
}

/* What applications do by themselves at `now`, or had no chunk for. */
static void apps(struct shard_end *s, uint64_t now)
{
	app_connect(s, now);
	for (unsigned i = 0; i < 1 + FLOW_BULKS; i++) {
		struct app *a = &s->app[i];

		if (a->chan && (i == 0 || !a->sent || a->starved))
			app_write(s, a, now);
	}
	take_notes(s);
}

/* ---- the worker's part ---- */

static uint64_t unit(uint64_t now)
{
	return now / SHARD_NS + 1; /* 0 is no time to a shard */
}

static uint64_t clock_us(uint64_t now)
{
	return now / 1000 + SHARD_NS / 1000;
}

static void take(struct end *e, uint8_t *p, uint16_t n, uint64_t now)
{
	struct shard_end *s = (struct shard_end *)e;
	struct pkt k = {.p = p, .n = n, .key = &s->key, .hash = flow_hash(&s->key)};

	shard_clock(s->shard, clock_us(now));
	flow_find_burst(shard_flows(s->shard), &k, 1);
	shard_input(s->shard, &k, 1, unit(now));
	if (k.verdict > VERDICT_DROP)
		shard_stats(s->shard)->drops[k.verdict - VERDICT_DROP]++;
	else if (k.verdict == VERDICT_ANSWER)
		end_send(e, k.p, k.n, now);
}

static unsigned output(struct shard_end *s, uint64_t now)
{
	unsigned total = 0, n;

	do {
		n = shard_output(s->shard, s->out, OUT, unit(now));
		for (unsigned i = 0; i < n; i++) {
			struct pkt *k = &s->out[i];

			s->end.parity += fec_is_fec(k->p, k->n) && k->p[4] == FEC_TYPE_PAR;
			end_send(&s->end, k->p, k->n, now);
			*k = (struct pkt){.p = s->buf[i] + HEAD};
		}
		total += n;
	} while (n + shard_out_min(s->shard) > OUT);
	return total;
}

static void turn(struct end *e, uint64_t now)
{
	struct shard_end *s = (struct shard_end *)e;
	unsigned work;

	shard_clock(s->shard, clock_us(now));
	apps(s, now);
	do {
		work = shard_pull(s->shard, unit(now));
		shard_tick(s->shard, unit(now));
		work += output(s, now);
		shard_reap(s->shard);
		work += control(s, now);
	} while (work || shard_ready(s->shard));
}

static uint64_t next(const struct end *e)
{
	const struct shard_end *s = (const struct shard_end *)e;
	uint64_t t = shard_next(s->shard), us = shard_next_us(s->shard);

	t = t == UINT64_MAX ? PATH_NEVER : (t - 1) * SHARD_NS;
	us = us == UINT64_MAX ? PATH_NEVER : us * 1000 - SHARD_NS;
	return t < us ? t : us;
}

static void look(const struct end *e, struct end_look *out)
{
	const struct shard_end *s = (const struct shard_end *)e;
	const struct snmp *c = shard_snmp(s->shard, 0);
	struct kcp_info k;

	*out = (struct end_look){
		.segs_out = c->OutSegs,
		.timeouts = c->LostSegs,
		.fast = c->FastRetransSegs,
		.early = c->EarlyRetransSegs,
		.repeats = c->RepeatSegs,
		.recovered = c->FECRecovered,
		.parity = e->parity,
		.dgrams = e->dgrams,
		.window_told = s->window_told,
		.rcvwnd = s->rcvwnd,
	};
	if (!s->shard->n_all)
		return;
	kcp_info(&s->shard->all[0]->kcp, &k);
	out->in_flight = k.snd_nxt - k.snd_una;
	out->snd_wnd = k.rmt_wnd < e->conf.sndwnd ? k.rmt_wnd : e->conf.sndwnd;
	out->srtt = k.srtt;
}

static void end_free(struct end *e)
{
	struct shard_end *s = (struct shard_end *)e;

	shard_close_all(s->shard, UINT64_MAX / 2 / SHARD_NS);
	while (control(s, 0) | shard_pull(s->shard, UINT64_MAX / 2 / SHARD_NS))
		shard_reap(s->shard);
	shard_reap(s->shard);
	need(shard_drained(s->shard), "all streams back");
	shard_destroy(s->shard);
	border_destroy(s->border);
	chan_pool_destroy(&s->pool);
	mem_fini(s->mem);
	munmap(s->map, HEAP + HEAP_ALIGN);
	if (s->tun.fec)
		fec_codec_put(s->tun.fec);
	free(s);
}

struct end *shard_end_new(struct wan_flow *f, int side, const struct end_conf *conf, uint64_t seed)
{
	static const struct end_ops ops = {take, turn, next, look, end_free};
	struct shard_end *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);

	need(s, "memory");
	memset(s, 0, offsetof(struct shard_end, buf));
	s->end = (struct end){.ops = &ops, .flow = f, .side = side, .conf = *conf};
	s->key = make_key(f, side);
	set_tunnel(s);
	make_shard(s, seed);
	return &s->end;
}
