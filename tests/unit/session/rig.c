/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_mempool.h>

#include "fec_wire.h"
#include "le.h"
#include "rig.h"

#define ALIGN	   65536 /* of a heap */
#define OUT	   512
#define ROOM	   2048
#define HEAD	   128
#define SETTLE_MAX 100000 /* turns at one time: more are a livelock */

/* What tests without a mind of their own run with: meson.build runs some of them twice. */
bool rig_auto(void)
{
	const char *e = getenv("RIG_CONGESTION");

	return e && !strcmp(e, "auto");
}

struct rig_conf rig_defaults(void)
{
	return (struct rig_conf){
		.congestion = rig_auto() ? KCP_CONGESTION_AUTO : KCP_CONGESTION_STOCK,
		.fine = rig_auto(),
		.smux = 2,
		.hello = {true, true},
		.closewait_ms = {30000, 0},
		.keepalive_ms = 10000,
		.smuxbuf = 4 << 20,
		.streambuf = 2 << 20,
		.max_streams = 4096,
		.wnd = 512,
		.conn = 1,
		.tunnels = 1,
		.chunks = {1024, 1024},
		.chans = 64,
		.sessions = 8,
		.heap = {32 << 20, 32 << 20},
		.link = {.delay_us = 20000},
		.seed = 1,
	};
}

/* ---- set-up ---- */

static void side_tunnel(struct rig_side *s)
{
	const struct rig_conf *c = &s->rig->conf;
	struct shard_tunnel *t = &s->tun;

	t->client = s->end == CLIENT;
	t->nocomp = c->nocomp;
	if (c->ds)
		cr_assert_eq(fec_codec_get(&t->fec, c->ds, c->ps), 0);
	t->kcp = (struct kcp_conf){
		.mtu = c->ds ? 1350 - FEC_HEAD : 1350,
		.snd_wnd = c->wnd,
		.rcv_wnd = c->wnd,
		.nodelay = 1,
		.interval = 10,
		.resend = 2,
		.nc = 1,
		.congestion = c->congestion,
		.bandwidth = c->bandwidth[s->end],
		.ts_key = s->end == SERVER ? 0x5ec2e7a1 : 0,
	};
	t->mux = (struct mux_conf){
		.version = c->smux,
		.client = t->client,
		.framesize = 8192,
		.smuxbuf = c->smuxbuf,
		.streambuf = c->streambuf,
		.max_streams = c->max_streams,
		.hello = c->hello[s->end],
	};
	if (c->qpp)
		cr_assert_eq(qpp_pads_create(&s->qpp, "it's a secrect", 14, c->qpp), 0);
	t->qpp = s->qpp;
	t->autoexpire_ms = t->client ? c->autoexpire_ms : 0;
	t->scavenge_ms = t->client ? c->scavenge_ms : 0;
	t->ratelimit = c->ratelimit[s->end];
	t->keepalive_ms = c->keepalive_ms;
	t->closewait_ms = c->closewait_ms[s->end];
	t->conn = t->client ? c->conn : 0;
	t->book = t->client ? NULL : c->book;
	t->dials = t->client ? s->rig->dials : NULL;
}

static void side_new(struct rig *r, enum rig_end end)
{
	const struct rig_conf *c = &r->conf;
	struct rig_side *s = &r->side[end];
	static const uint8_t no_csum[NET_DEV_MAX];
	struct shard_conf sc = {.id = end, .tunnels = &s->tun, .n_tunnels = 1, .max_sessions = c->sessions};

	s->rig = r;
	s->end = end;
	side_tunnel(s);
	if (end == SERVER) {
		sc.n_tunnels = c->tunnels;
		for (unsigned t = 0; t < c->tunnels; t++) {
			s->tuns[t] = s->tun;
			s->tuns[t].memory = c->memory[t];
		}
		sc.session_bytes = c->session_bytes;
	}
	s->map_len = c->heap[end] + ALIGN;
	s->map = mmap(NULL, s->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(s->map, MAP_FAILED);
	s->mem = mem_init((void *)(((uintptr_t)s->map + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1)), c->heap[end]);
	cr_assert_not_null(s->mem);
	s->mem_idle = mem_used(s->mem);
	cr_assert_eq(chan_pool_create(&s->pool, c->chunks[end], c->chans, 1, 0), 0);
	cr_assert_eq(border_create(&s->border, end, c->chans + c->conn, 64, 0), 0);
	sc.mem = s->mem;
	sc.chans = &s->pool;
	sc.border = s->border;
	sc.dev_csum = no_csum;
	sc.mbufs_to_hold = 64;
	sc.seed = c->seed * 2 + end;
	sc.secret[0] = c->seed;
	sc.secret[1] = end;
	cr_assert_eq(shard_create(&s->shard, &sc, r->now), 0);
	s->out = sim_link_new(&c->link, c->seed * 1000003 + end);
}

static void rig_set(struct rig *r, uint64_t us)
{
	r->us = us;
	r->now = us / 1000;
}

void rig_at(struct rig *r, uint64_t ms)
{
	rig_set(r, ms * 1000);
}

struct rig *rig_new(const struct rig_conf *conf)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->conf = *conf;
	rig_set(r, RIG_START * 1000);
	r->next_port = RIG_PORT + 1;
	for (int e = 0; e < 2; e++)
		r->side[e].ahead = 256 << 10;
	r->dials = calloc(conf->conn, sizeof(*r->dials));
	for (unsigned i = 0; i < conf->conn; i++) {
		r->dials[i].to_ctl.kind = r->dials[i].to_worker.kind = MBOX_DIAL;
		r->dials[i].slot = (uint16_t)i;
		r->dials[i].worker_id = CLIENT;
	}
	side_new(r, CLIENT);
	side_new(r, SERVER);
	return r;
}

void rig_shape(struct rig_side *s, unsigned ds, unsigned ps)
{
	fec_codec_put(s->tun.fec);
	s->tun.fec = NULL;
	if (ds)
		cr_assert_eq(fec_codec_get(&s->tun.fec, ds, ps), 0);
}

static void side_end(struct rig_side *s)
{
	cr_assert(shard_drained(s->shard), "%lu streams left", shard_stats(s->shard)->streams);
	cr_assert_eq(shard_stats(s->shard)->sessions, 0);
	cr_assert_eq(shard_stats(s->shard)->spilled, 0);
	cr_assert_eq(shard_stats(s->shard)->held_mbufs, 0);
	cr_assert_eq(shard_stats(s->shard)->sessions_opened, shard_stats(s->shard)->sessions_closed);
	cr_assert_eq(shard_snmp(s->shard, 0)->CurrEstab, 0);
	cr_assert_eq(flow_count(shard_flows(s->shard)), 0);
	cr_assert_eq(mem_used(s->mem), s->mem_idle, "end %d: %zu bytes lost", s->end, mem_used(s->mem) - s->mem_idle);
	cr_assert(mbox_empty(s->border->to_worker));
	cr_assert(mbox_empty(s->border->to_ctl));
	cr_assert_eq(rte_mempool_avail_count(s->pool.chunks), s->pool.chunks->size, "a chunk is lost");
	cr_assert_eq(rte_mempool_avail_count(s->pool.chans), s->pool.chans->size, "a chan is lost");
	shard_destroy(s->shard);
	border_destroy(s->border);
	chan_pool_destroy(&s->pool);
	mem_fini(s->mem);
	munmap(s->map, s->map_len);
	sim_link_free(s->out);
	if (s->tun.fec)
		fec_codec_put(s->tun.fec);
	fec_shapes_drop(&s->tun.others);
	qpp_pads_destroy(s->qpp);
	for (unsigned i = 0; i < s->n_conn; i++)
		free(s->conn[i]);
	free(s->conn);
}

void rig_end(struct rig *r)
{
	for (int e = 0; e < 2; e++) {
		r->side[e].dial = DIAL_OK;
		shard_close_all(r->side[e].shard, r->now);
	}
	rig_settle(r);
	for (int e = 0; e < 2; e++)
		side_end(&r->side[e]);
	free(r->dials);
	free(r);
}

/* ---- bytes ---- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Odd keys give bytes that compress, even ones noise. */
void pattern_fill(uint8_t *p, uint64_t key, uint64_t at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, at++) {
		uint64_t word = mix(key * 0x9e3779b97f4a7c15 + at / 8);
		uint8_t b = (uint8_t)(word >> at % 8 * 8);

		p[i] = key & 1 ? (uint8_t)('a' + (b & 1)) : b;
	}
}

static void pattern_check(const uint8_t *p, uint64_t key, uint64_t at, size_t n)
{
	uint8_t want[4096];

	for (size_t i = 0, k; i < n; i += k) {
		k = n - i < sizeof(want) ? n - i : sizeof(want);
		pattern_fill(want, key, at + i, (uint32_t)k);
		cr_assert_eq(memcmp(p + i, want, k), 0, "bytes %lu.. of stream %lx differ", at + i, key);
	}
}

/* ---- control's part ---- */

static void post(struct conn *c, uint32_t ev)
{
	mbox_post(c->side->border->to_worker, &c->chan->to_worker, ev);
}

static struct conn *conn_new(struct rig_side *s, struct chan *ch)
{
	struct conn *c = calloc(1, sizeof(*c));

	c->side = s;
	c->chan = ch;
	c->stopped = s->stop_new;
	c->hold_eof = s->hold_new;
	ch->ctl = c;
	if (s->n_conn == s->cap_conn) {
		s->cap_conn = s->cap_conn ? 2 * s->cap_conn : 64;
		s->conn = realloc(s->conn, s->cap_conn * sizeof(struct conn *));
	}
	s->conn[s->n_conn++] = c;
	s->live++;
	return c;
}

struct conn *rig_connect(struct rig *r, unsigned slot, uint64_t send, uint64_t reply)
{
	struct rig_side *s = &r->side[CLIENT];
	struct chan *ch = chan_alloc(&s->pool, 0);
	struct conn *c;

	cr_assert_not_null(ch);
	c = conn_new(s, ch);
	ch->slot = (uint16_t)slot;
	ch->worker_id = CLIENT;
	c->slot = slot;
	c->key = 2ull * s->n_conn + (s->n_conn & 1);
	c->to_send = send;
	c->reply = reply;
	c->refuse = s->refuse_new;
	post(c, CHAN_EV_OPEN);
	conn_write(c);
	return c;
}

void conn_write(struct conn *c)
{
	struct chan_ring *up = &c->chan->up;
	uint8_t buf[8192];
	uint32_t wrote = 0;

	if (c->reset)
		return; /* RESET is the last that control posts before GONE */
	while (c->sent < c->to_send && chan_used(up) < c->side->ahead) {
		uint32_t n = c->to_send - c->sent < sizeof(buf) ? (uint32_t)(c->to_send - c->sent) : sizeof(buf), k;

		pattern_fill(buf, c->key, c->sent, n);
		k = chan_write(&c->side->pool, up, &(struct slice){buf, n}, 1);
		c->sent += k;
		wrote += k;
		c->starved = k < n;
		if (c->starved)
			break;
	}
	if (wrote)
		post(c, CHAN_EV_DATA);
	if (c->sent == c->to_send && !c->hold_eof && !c->eof_sent) {
		c->eof_sent = true;
		post(c, CHAN_EV_EOF);
	}
	if (!chan_used(up))
		chan_trim(&c->side->pool, up);
}

void conn_read(struct conn *c)
{
	struct chan_ring *down = &c->chan->down;
	struct iovec v[CHAN_IOV];
	unsigned n;
	bool any = false;

	while (!c->stopped && (n = chan_peek(down, v, CHAN_IOV))) {
		uint32_t took = 0;

		for (unsigned i = 0; i < n; i++) {
			if (c->peer && !c->side->rig->changed)
				pattern_check(v[i].iov_base, c->peer->key, c->got + took, v[i].iov_len);
			took += (uint32_t)v[i].iov_len;
		}
		chan_done(&c->side->pool, down, took);
		c->got += took;
		c->side->got += took;
		c->last_at = c->side->rig->now;
		any = true;
	}
	if (any && !c->closed)
		post(c, CHAN_EV_ROOM);
}

static void conn_close(struct conn *c)
{
	c->stopped = false;
	c->aborted = c->chan->abort;
	c->closed = true;
	c->closed_at = c->side->rig->now;
	conn_read(c); /* what came before an abort counts */
	post(c, CHAN_EV_GONE);
	c->chan = NULL;
	c->side->live--;
}

void conn_reset(struct conn *c)
{
	c->reset = true;
	post(c, CHAN_EV_RESET);
}

void conn_more(struct conn *c, uint64_t n)
{
	c->to_send += n;
	if (c->side->end == SERVER && c->peer)
		c->peer->reply += n;
	conn_write(c);
}

void conn_eof(struct conn *c)
{
	c->hold_eof = false;
	conn_write(c);
}

/* The conversation of the session with that port of the client's, 0: there is none, any more. */
static uint32_t conv_at(const struct rig_side *s, unsigned port)
{
	for (unsigned i = 0; i < s->shard->n_all; i++) {
		const struct sess *ss = s->shard->all[i];

		if ((s->end == CLIENT ? ss->key.local_port : ss->key.peer_port) == port)
			return ss->conv;
	}
	return 0;
}

/*
 * Somebody has sent a session's first datagram from another's port: what comes there is the former's stream, and the
 * copy is taken for one, since the filter of copies lies above the rig.
 */
static bool other_conv(const struct rig_side *s, const struct conn *p, unsigned port)
{
	uint32_t here = conv_at(s, port), there = conv_at(&s->rig->side[CLIENT], p->port);

	return here && there && here != there;
}

/* The server's end of a stream: finds the client's by port and stream id. */
static void conn_accept(struct rig_side *s, struct chan *ch)
{
	const struct rig_side *cl = &s->rig->side[CLIENT];
	struct conn *c = conn_new(s, ch);
	unsigned port = ch->peer_port - s->rig->nat;

	for (unsigned i = 0; i < cl->n_conn; i++) {
		struct conn *p = cl->conn[i];

		if (p->peer || !p->port || p->sid != ch->sid || p->port != port || other_conv(s, p, port + s->rig->nat))
			continue;
		p->peer = c;
		c->peer = p;
		c->key = p->key + 1000000;
		c->to_send = p->reply;
		c->refuse = p->refuse;
		c->stopped |= p->stop_peer;
		break;
	}
	if (c->refuse || s->refuse_new) {
		ch->err = 111;
		post(c, CHAN_EV_RESET);
		return;
	}
	c->up = true;
	c->hold_eof |= !c->peer;
	post(c, CHAN_EV_UP);
	conn_write(c);
}

static void conn_event(struct rig_side *s, struct chan *ch, uint32_t ev)
{
	struct conn *c;

	if (ev & CHAN_EV_OPEN)
		conn_accept(s, ch);
	c = ch->ctl;
	cr_assert(!c->closed, "an event behind CLOSE");
	if (ev & CHAN_EV_UP) {
		c->up = true;
		c->sid = ch->sid;
		c->slot = ch->slot; /* which may be another than rig_connect's */
		c->port = s->rig->dials[c->slot].key.local_port;
	}
	if (ev & CHAN_EV_CLOSE) {
		conn_close(c);
		return;
	}
	conn_read(c);
	if (ev & CHAN_EV_ROOM)
		conn_write(c);
	if (ev & CHAN_EV_EOF) {
		cr_assert(!c->eof_in);
		c->eof_in = true;
		c->eof_at = s->rig->now;
	}
}

struct flow_key rig_key(enum rig_end end, uint16_t port)
{
	struct flow_key k = {.peer = addr_v4(0x0a000002), .local = addr_v4(0x0a000001), .peer_port = RIG_PORT};

	k.local_port = port;
	if (end == CLIENT)
		return k;
	return (struct flow_key){.peer = k.local, .local = k.peer, .peer_port = port, .local_port = RIG_PORT};
}

/* The same, of the addresses that this rig has. */
static struct flow_key side_key(const struct rig_side *s, uint16_t port)
{
	struct flow_key k = rig_key(s->end, port);

	if (s->rig->conf.v6) {
		cr_assert_eq(addr_parse(s->end == CLIENT ? "2001:db8::2" : "2001:db8::1", &k.peer), 0);
		cr_assert_eq(addr_parse(s->end == CLIENT ? "2001:db8::1" : "2001:db8::2", &k.local), 0);
	}
	return k;
}

static void dial_event(struct rig_side *s, struct dial *d, uint32_t ev)
{
	if (ev & DIAL_EV_DROP)
		s->drops++;
	if (ev & DIAL_EV_KEEP)
		s->keeps++;
	if (!(ev & DIAL_EV_WANT))
		return;
	s->wants++;
	if (s->dial == DIAL_OK)
		d->key = side_key(s, s->rig->next_port++);
	d->err = s->dial == DIAL_FAILS ? -101 : 0;
	if (s->dial != DIAL_SILENT)
		mbox_post(s->border->to_worker, &d->to_worker, s->dial == DIAL_OK ? DIAL_EV_READY : DIAL_EV_FAIL);
}

static unsigned side_control(struct rig_side *s)
{
	struct mbox_ent *ents[64];
	uint32_t ev[64];
	unsigned n = mbox_get(s->border->to_ctl, ents, ev, 64);

	for (unsigned i = 0; i < n; i++) {
		if (ents[i]->kind == MBOX_CHAN)
			conn_event(s, container_of(ents[i], struct chan, to_ctl), ev[i]);
		else
			dial_event(s, container_of(ents[i], struct dial, to_ctl), ev[i]);
	}
	/* Chunks that the worker gives back ring no bell: control's timer looks again. */
	for (unsigned i = 0; i < s->n_conn; i++)
		if (s->conn[i]->chan && s->conn[i]->starved)
			conn_write(s->conn[i]);
	return n;
}

/* ---- the worker's part ---- */

/* What comes back to a port of the NAT's: to whom?  False: to nobody any more. */
static bool nat_in(const struct rig *r, uint16_t *port)
{
	const struct rig_side *s = &r->side[CLIENT];

	for (unsigned i = 0; i < s->shard->n_all; i++) {
		uint16_t own = s->shard->all[i]->key.local_port;

		if (*port != own + r->nat && !(r->nat_keeps && *port == own + r->nat_was))
			continue;
		*port = own;
		return true;
	}
	*port -= r->nat;
	return !r->nat;
}

static unsigned side_input(struct rig_side *s)
{
	static uint8_t buf[64][ROOM];
	struct sim_link *in = s->rig->side[!s->end].out;
	struct flow_key keys[64];
	struct pkt v[64];
	unsigned n = 0;
	int len;

	while (n < 64 && (len = sim_link_recv(in, buf[n], ROOM, s->rig->us)) >= 0) {
		uint16_t port;

		memcpy(&port, buf[n], 2);
		if (s->end == CLIENT && !nat_in(s->rig, &port))
			continue;
		keys[n] = side_key(s, port);
		v[n] = (struct pkt){.p = buf[n] + 2, .n = (uint16_t)(len - 2), .key = &keys[n]};
		v[n].hash = flow_hash(&keys[n]);
		n++;
	}
	flow_find_burst(shard_flows(s->shard), v, n);
	shard_input(s->shard, v, n, s->rig->now);
	for (unsigned i = 0; i < n; i++) {
		if (v[i].verdict > VERDICT_DROP)
			shard_stats(s->shard)->drops[v[i].verdict - VERDICT_DROP]++;
		if (v[i].verdict == VERDICT_ANSWER && !s->rig->cut[s->end])
			sim_link_send(s->out, v[i].p - 2, v[i].n + 2u, s->rig->us);
	}
	return n;
}

unsigned rig_too_big(struct rig_side *s, struct sess *ss, uint32_t mtu, uint16_t len, uint32_t mark)
{
	uint8_t msg[8 + 40] = {0};
	struct pkt k = {.p = msg, .n = sizeof(msg), .sess = ss, .key = &ss->key};

	if (addr_is_v4(&ss->key.peer)) {
		be16_put(msg + 6, (uint16_t)mtu);
		be16_put(msg + 8 + 2, len);
		be16_put(msg + 8 + 4, (uint16_t)mark);
	} else {
		be32_put(msg + 4, mtu);
		be32_put(msg + 8, 6u << 28 | (mark & NET_MARK_V6));
		be16_put(msg + 8 + 4, (uint16_t)(len - 40));
	}
	return shard_too_big(s->shard, &k, s->rig->now);
}

/* Does the path take it, whole or in fragments?  Of IPv4's fragments routers make smaller ones. */
static bool path_takes(struct rig_side *s, const struct pkt *k)
{
	const bool v4 = addr_is_v4(&k->key->peer);
	unsigned len = k->n + (v4 ? 28u : 48u), *big = &s->rig->path[s->end].big;
	const unsigned mtu = s->rig->path[s->end].mtu;
	const struct pmtu *p = &k->sess->pmtu;
	const bool cut = len > p->now && !(k->flags & PKT_F_PROBE);

	s->rig->path[s->end].wrong += !cut && len > p->link;
	s->rig->path[s->end].frags += cut;
	if (cut)
		len = v4 ? 0 : p->now;
	if (!mtu || len <= mtu || (v4 && pmtu_is_least(k->sess) && !(k->flags & PKT_F_PROBE)))
		return true;
	++*big;
	if (s->rig->path[s->end].told)
		cr_assert_eq(rig_too_big(s, k->sess, mtu, (uint16_t)len, p->mark), VERDICT_BIG);
	return false;
}

static unsigned side_output(struct rig_side *s)
{
	static uint8_t buf[OUT][HEAD + ROOM];
	struct pkt v[OUT];
	unsigned n, total = 0;

	do {
		unsigned max = s->every_us && s->most - total < OUT ? s->most - total : OUT;

		if (max < shard_out_min(s->shard))
			break;
		for (unsigned i = 0; i < max; i++)
			v[i] = (struct pkt){.p = buf[i] + HEAD};
		n = shard_output(s->shard, v, max, s->rig->now);
		for (unsigned i = 0; i < n; i++) {
			uint16_t port =
				s->end == CLIENT ? (uint16_t)(v[i].key->local_port + s->rig->nat) : v[i].key->peer_port;
			bool takes = path_takes(s, &v[i]);

			cr_assert_leq(v[i].n, 1350);
			cr_assert_not_null(v[i].sess);
			if (s->sent)
				s->sent(s->sent_arg, s, &v[i]);
			s->wire += v[i].n;
			s->dgrams++;
			s->framed += fec_is_fec(v[i].p, v[i].n);
			if (fec_is_fec(v[i].p, v[i].n) && v[i].p[4] == FEC_TYPE_PAR) {
				s->parity++;
				s->odd_parity += v[i].p[0] & 1;
			}
			s->lone += fec_is_fec(v[i].p, v[i].n) && !le32_get(v[i].p);
			v[i].p -= 2;
			memcpy(v[i].p, &port, 2);
			if (takes && !s->rig->cut[s->end])
				sim_link_send(s->out, v[i].p, v[i].n + 2u, s->rig->us);
		}
		total += n;
	} while (n);
	return total;
}

/* Bytes above KCP that all sessions have read. */
static uint64_t side_read(const struct rig_side *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->shard->n_all; i++)
		sum += s->shard->all[i]->bytes_in;
	return sum;
}

/* A worker that turns seldom: is this not the time, or has it had its turn? */
static bool side_rests(struct rig_side *s)
{
	if (!s->every_us)
		return false;
	if (s->rig->us % s->every_us || s->turned == s->rig->us)
		return true;
	s->turned = s->rig->us;
	return false;
}

static void sess_stock_fec(struct sess *ss)
{
	if (!ss->enc.codec) {
		fec_enc_init(&ss->enc, ss->tun->fec, &ss->mem, ss->cnt);
		parity_init(ss);
	}
	ss->peer_fec = PEER_SAME;
	fec_enc_parity(&ss->enc, FEC_PARITY_ALL);
}

static unsigned side_turn(struct rig_side *s)
{
	uint64_t read = side_read(s);
	unsigned work;

	if (side_rests(s))
		return 0;
	if (s->rig->conf.fine)
		shard_clock(s->shard, s->rig->us);
	work = side_input(s);
	for (unsigned i = 0; s->stock_fec && i < s->shard->n_all; i++)
		sess_stock_fec(s->shard->all[i]);
	work += shard_pull(s->shard, s->rig->now);
	shard_tick(s->shard, s->rig->now);
	work += side_output(s);
	shard_reap(s->shard);
	s->rig->turns++;
	read = side_read(s) - read;
	if ((int64_t)read > (int64_t)s->most_read)
		s->most_read = read;
	return work + side_control(s);
}

void rig_settle(struct rig *r)
{
	unsigned turns = 0;

	while (side_turn(&r->side[CLIENT]) | side_turn(&r->side[SERVER]))
		cr_assert_lt(turns++, SETTLE_MAX, "it never settles");
	for (int e = 0; e < 2; e++)
		cr_assert(!shard_ready(r->side[e].shard) || r->side[e].every_us);
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* us: when something is due.  Without finer turns that is a whole millisecond. */
static uint64_t side_next(const struct rig_side *s)
{
	uint64_t ms = shard_next(s->shard), us = sim_link_next(s->rig->side[!s->end].out);

	if (s->every_us) /* whatever is due waits for it */
		return (s->rig->us / s->every_us + 1) * s->every_us;
	us = min64(us, ms == UINT64_MAX ? ms : ms * 1000);
	if (s->rig->conf.fine)
		return min64(us, shard_next_us(s->shard));
	return us == UINT64_MAX ? us : (us + 999) / 1000 * 1000;
}

bool rig_run(struct rig *r, uint64_t until, bool (*done)(void *), void *arg)
{
	for (;;) {
		uint64_t next;

		rig_settle(r);
		if (done && done(arg))
			return true;
		next = min64(side_next(&r->side[CLIENT]), side_next(&r->side[SERVER]));
		cr_assert_gt(next, r->us, "a turn leaves something due");
		if (next > until * 1000) {
			if (until * 1000 > r->us)
				rig_set(r, until * 1000);
			return false;
		}
		rig_set(r, next);
	}
}

static bool all_closed(void *arg)
{
	const struct rig *r = arg;

	return !r->side[CLIENT].live && !r->side[SERVER].live;
}

bool rig_finish(struct rig *r, uint64_t ms)
{
	return rig_run(r, r->now + ms, all_closed, r);
}

void conn_complete(const struct conn *c)
{
	cr_assert_not_null(c->peer, "stream %lx was not opened", c->key);
	cr_assert_eq(c->sent, c->to_send);
	cr_assert_eq(c->peer->sent, c->peer->to_send);
	cr_assert_eq(c->peer->got, c->to_send, "stream %lx: %lu of %lu bytes up", c->key, c->peer->got, c->to_send);
	cr_assert_eq(c->got, c->reply, "stream %lx: %lu of %lu bytes down", c->key, c->got, c->reply);
	cr_assert(c->closed && c->peer->closed);
	cr_assert(!c->aborted && !c->peer->aborted);
}

static unsigned feed(struct rig_side *s, uint16_t tunnel, uint16_t port, const void *p, uint16_t n)
{
	uint8_t buf[ROOM];
	struct flow_key key = rig_key(s->end, port);
	struct pkt k = {.p = buf, .n = n, .key = &key, .hash = flow_hash(&key), .tunnel = tunnel};

	memcpy(buf, p, n);
	flow_find_burst(shard_flows(s->shard), &k, 1);
	shard_input(s->shard, &k, 1, s->rig->now);
	return k.verdict;
}

unsigned rig_feed(struct rig *r, enum rig_end end, uint16_t port, const void *p, uint16_t n)
{
	return feed(&r->side[end], 0, port, p, n);
}

unsigned rig_feed_to(struct rig *r, uint16_t tunnel, uint16_t port, const void *p, uint16_t n)
{
	return feed(&r->side[SERVER], tunnel, port, p, n);
}

uint64_t rig_drops(const struct rig_side *s, unsigned verdict)
{
	return shard_stats(s->shard)->drops[verdict - VERDICT_DROP];
}

uint64_t rig_other_drops(const struct rig_side *s, unsigned a, unsigned b)
{
	uint64_t sum = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++) {
		if (v == a || v == b || v == DROP_FEC_UNPROVED || !rig_drops(s, v))
			continue; /* nothing that came is missing for not having been rebuilt */
		printf("end %d: %lu dropped: %s\n", s->end, rig_drops(s, v), drop_name(v));
		sum += rig_drops(s, v);
	}
	return sum;
}

unsigned rig_notes(struct rig_side *s, enum note_type type, struct note *last)
{
	struct note v[32];
	unsigned n, found = 0;

	while ((n = border_notes(s->border, v, 32))) {
		for (unsigned i = 0; i < n; i++) {
			if (v[i].type != type)
				continue;
			found++;
			if (last)
				*last = v[i];
		}
	}
	return found;
}
