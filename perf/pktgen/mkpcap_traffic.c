/* SPDX-License-Identifier: MIT */

/*
 * The mix: which kind of packet comes next, of which flow, and what a gateway makes of it.  Each flow has at most one
 * session at a time, whose other end is imagined: it reads everything at once, and acknowledges all but the last
 * segment, so that KCP itself has something to send again.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "comp.h"
#include "fec.h"
#include "kcp_state.h"
#include "kcp_wire.h"
#include "le.h"
#include "mkpcap.h"
#include "mux.h"
#include "smux_wire.h"
#include "snappy_wire.h"

#define NOISE	    65536u
#define WINDOW	    1024  /* segments: one is in flight */
#define CREDIT	    65536 /* bytes after which the imagined end tells that it has read */
#define FRAMESIZE   8192
#define MIN_PAYLOAD 12 /* shorter ones no listener looks at (wire.md 5.2) */
#define TIME	    1  /* of FEC: all packets come close together, and each group has its parity */

struct stream {
	struct mux_stream *s;
	uint32_t sent, told;
};

struct client {
	bool open;
	uint32_t conv;
	uint64_t now; /* ms: the session's own clock, which runs on when something is to time out */
	struct kcp kcp;
	struct mux mux;
	struct comp_enc comp;
	struct fec_enc fec;
	unsigned turn; /* the stream that sends next */
	struct stream *streams;
};

struct traffic {
	const struct mk_opts *o;
	struct mk_writer *w;
	struct mk_sum *sum;
	uint64_t rng;
	unsigned flows, head, tail, fec_head;
	bool null;
	struct kcp_conf kcp;
	struct mux_conf mux;
	struct mem *mem;
	size_t mem_len;
	struct comp_scratch *comp;
	struct fec_codec *codec;
	struct snmp cnt;
	struct client *client;
	struct stream *streams;
	uint64_t opened; /* sessions */
	uint8_t noise[2 * NOISE];
};

/* What a valid packet is for the session that it reaches. */
static void count_in(struct traffic *t, unsigned n)
{
	t->sum->in_pkts++;
	t->sum->in_bytes += n;
}

static void count_drop(struct traffic *t, enum verdict why)
{
	t->sum->drops[why]++;
}

/* ---- one session's packets ---- */

static const uint8_t *payload(struct traffic *t)
{
	return t->noise + mk_random(&t->rng) % NOISE;
}

/* The other end has everything up to una, and has read it. */
static void acknowledge(struct traffic *t, struct client *c, uint32_t una)
{
	uint8_t seg[KCP_HEAD];

	kcp_head_put(seg, &(struct kcp_head){.conv = c->conv, .cmd = KCP_WINS, .wnd = WINDOW, .una = una});
	kcp_input(&c->kcp, seg, sizeof(seg), 0, c->now, NULL);
}

static void grant(struct traffic *t, struct client *c, struct stream *s)
{
	uint8_t upd[MUX_HEAD + SMUX_UPD_BODY] = {2, SMUX_UPD, SMUX_UPD_BODY};
	struct slice in = {upd, sizeof(upd)};
	struct mux_ev ev;

	if (t->mux.version != 2 || s->sent - s->told < CREDIT)
		return;
	le32_put(upd + SMUX_SID, s->s->id);
	le32_put(upd + MUX_HEAD + SMUX_UPD_CONSUMED, s->sent);
	le32_put(upd + MUX_HEAD + SMUX_UPD_WINDOW, MUX_INITIAL_WINDOW);
	s->told = s->sent;
	do
		mux_next(&c->mux, &in, &ev);
	while (ev.type != MUX_EV_NONE);
}

/* One frame of smux, through compression, into KCP.  Its bytes there, or -ENOMEM. */
static int send_frame(struct traffic *t, struct client *c, const struct mux_out *f)
{
	struct slice in[2] = {{f->head, f->head_n}, {payload(t), f->n}}, packed[COMP_OUT_MAX(2)];
	unsigned n = f->n ? 2 : 1, bytes = 0;
	const struct slice *v = in;

	if (!t->o->nocomp) {
		n = comp_enc(&c->comp, t->comp, in, n, packed);
		v = packed;
	}
	for (unsigned i = 0; i < n; i++)
		bytes += v[i].n;
	if (kcp_send(&c->kcp, v, n))
		return -ENOMEM;
	t->sum->stream_bytes += bytes;
	t->sum->payload += f->n;
	return (int)bytes;
}

/* Room for payload in a data packet of the wanted length, behind `used` bytes that go before in the stream. */
static int room(const struct traffic *t, unsigned used)
{
	unsigned over = t->head + t->tail + t->fec_head + KCP_HEAD + used + MUX_HEAD;

	if (!t->o->nocomp)
		over += SNAPPY_HEAD + SNAPPY_CRC;
	return (int)t->o->length - (int)over;
}

/* Sends all that smux has ready.  Bytes in KCP's stream, or -ENOMEM. */
static int drain(struct traffic *t, struct client *c)
{
	struct mux_out f;
	int n, sum = 0;

	while (mux_out(&c->mux, &f)) {
		n = send_frame(t, c, &f);
		if (n < 0)
			return n;
		sum += n;
	}
	return sum;
}

/* Queues what waits in smux, opened streams, and then as much payload of one stream as fills the packet. */
static int queue(struct traffic *t, struct client *c)
{
	struct stream *s = &c->streams[c->turn];
	int n = drain(t, c);

	if (n < 0)
		return n;
	if (!t->o->nocomp && !c->comp.begun)
		n += SNAPPY_ID_LEN;
	n = room(t, (unsigned)n);
	if (n < 1)
		return -ERANGE;
	mux_avail(&c->mux, s->s, (uint32_t)n);
	s->sent += (uint32_t)n;
	c->turn = (c->turn + 1) % t->o->streams;
	n = drain(t, c);
	grant(t, c, s);
	return n < 0 ? n : 0;
}

/* Flushes the one datagram that is due, with what FEC adds, as packets of `kind`. */
static int emit(struct traffic *t, struct client *c, unsigned flow, enum mk_kind kind)
{
	unsigned ps = t->codec ? fec_codec_ps(t->codec) : 0, n;
	struct pkt *v = mk_lend(t->w, 2 + ps);

	if (!v)
		return -EIO;
	n = kcp_flush(&c->kcp, KCP_FLUSH_FULL, c->now, v, 2);
	if (n != 1)
		return n ? -ERANGE : -EPROTO;
	t->sum->in_segs++;
	if (t->codec)
		n += fec_enc_burst(&c->fec, v, 1, TIME);
	for (unsigned i = 0; i < n; i++) {
		count_in(t, v[i].n);
		mk_commit(t->w, i ? MK_PARITY : kind, flow, false, MK_WHOLE, 0);
	}
	return 0;
}

static void client_close(struct client *c)
{
	if (!c->open)
		return;
	kcp_fini(&c->kcp);
	mux_fini(&c->mux);
	if (c->fec.codec)
		fec_enc_fini(&c->fec);
	c->open = false;
}

static int client_open(struct traffic *t, struct client *c)
{
	c->conv = (uint32_t)mk_random(&t->rng);
	c->now = 1000;
	c->turn = 0;
	kcp_init(&c->kcp, c->conv, &t->kcp, t->mem, &t->cnt, c->now);
	mux_init(&c->mux, &t->mux, t->mem);
	comp_enc_init(&c->comp);
	if (t->codec)
		fec_enc_init(&c->fec, t->codec, t->mem, &t->cnt);
	c->open = true;
	for (unsigned i = 0; i < t->o->streams; i++) {
		c->streams[i] = (struct stream){.s = mux_open(&c->mux, &c->streams[i])};
		if (!c->streams[i].s)
			return -ENOMEM;
		t->sum->streams++;
	}
	return 0;
}

static int send_data(struct traffic *t, struct client *c, unsigned flow, enum mk_kind kind)
{
	uint32_t una = c->kcp.snd_nxt;
	int err;

	c->now++;
	err = queue(t, c);
	if (!err)
		err = emit(t, c, flow, kind);
	acknowledge(t, c, t->o->weight[MK_REPEAT] ? una : c->kcp.snd_nxt);
	return err;
}

static int pick_new(struct traffic *t)
{
	unsigned flow = (unsigned)(t->opened % t->flows);
	struct client *c = &t->client[flow];
	int err;

	if (c->open)
		t->sum->replaced++;
	client_close(c);
	err = client_open(t, c);
	if (err)
		return err;
	t->opened++;
	t->sum->sessions++;
	return send_data(t, c, flow, MK_NEW);
}

/* The last segment's time runs out: KCP sends it again. */
static int pick_repeat(struct traffic *t, unsigned flow)
{
	struct client *c = &t->client[flow];

	c->now = kcp_next(&c->kcp);
	t->sum->repeat_segs++;
	return emit(t, c, flow, MK_REPEAT);
}

/* ---- what is to be refused ---- */

/* Writes what the session might send next, without its knowing.  Bytes of it. */
static unsigned imitate(struct traffic *t, const struct client *c, uint8_t *p)
{
	unsigned n = t->o->length - t->head - t->tail - t->fec_head - KCP_HEAD;
	struct kcp_head h = {.conv = c->conv,
			     .cmd = KCP_PUSH,
			     .wnd = WINDOW,
			     .ts = (uint32_t)c->now,
			     .sn = c->kcp.snd_nxt,
			     .len = n};

	if (t->codec) {
		le32_put(p, c->fec.next);
		le16_put(p + 4, FEC_TYPE_DATA);
		le16_put(p + 6, (uint16_t)(2 + KCP_HEAD + n));
	}
	kcp_head_put(p + t->fec_head, &h);
	memcpy(p + t->fec_head + KCP_HEAD, payload(t), n);
	return t->fec_head + KCP_HEAD + n;
}

/* What becomes of a datagram of which n bytes are left. */
static void judge_cut(struct traffic *t, unsigned n)
{
	if (!t->null) {
		count_drop(t, n < t->head + t->tail ? DROP_CRYPT_SHORT : DROP_CRYPT_BAD);
	} else if (n < MIN_PAYLOAD) {
		count_drop(t, DROP_SHORT);
	} else { /* it is the session's, but its segment is longer than what came */
		count_in(t, n);
		count_drop(t, DROP_KCP_INPUT);
	}
}

static int pick_truncated(struct traffic *t, unsigned flow)
{
	struct pkt *k = mk_lend(t->w, 1);
	enum mk_cut cut = (enum mk_cut)mk_between(&t->rng, MK_CUT_DATAGRAM, MK_CUT_FRAME);
	unsigned max = t->o->length - 1, n;

	if (!k)
		return -EIO;
	k->n = (uint16_t)imitate(t, &t->client[flow], k->p);
	if (mk_head(t->o) + max <= 60) /* no frame shorter than that leaves a NIC */
		cut = MK_CUT_DATAGRAM;
	/* Nothing tells such a packet from a whole one but FEC, which would rebuild wrongly from it. */
	if (t->null && t->codec && cut == MK_CUT_DATAGRAM)
		max = MIN_PAYLOAD - 1;
	n = mk_between(&t->rng, 1, max);
	if (cut == MK_CUT_DATAGRAM)
		judge_cut(t, n);
	else
		count_drop(t, cut == MK_CUT_UDP ? DROP_UDP_LENGTH : DROP_IP_HEADER);
	mk_commit(t->w, MK_TRUNCATED, flow, false, cut, n);
	return 0;
}

/* `null` checks nothing: only what cannot begin a session tells such a packet from a client's. */
static void judge_null(struct traffic *t, uint8_t *p, unsigned n)
{
	/* Neither FEC's marks nor a command of KCP's. */
	if (n >= 6)
		le16_put(p + 4, 0);
	count_drop(t, n < KCP_HEAD ? DROP_SHORT : DROP_STRAY);
}

static int pick_garbage(struct traffic *t)
{
	unsigned from = mk_between(&t->rng, 0, t->o->strangers - 1);
	struct pkt *k = mk_lend(t->w, 1);
	unsigned n = mk_between(&t->rng, t->o->garbage_min, t->o->garbage_max);

	if (!k)
		return -EIO;
	for (unsigned i = 0; i < n; i += 8) {
		uint64_t r = mk_random(&t->rng);

		memcpy(k->p + i, &r, sizeof(r));
	}
	k->n = (uint16_t)n;
	if (t->null)
		judge_null(t, k->p, n);
	else
		count_drop(t, n < t->head + t->tail ? DROP_CRYPT_SHORT : DROP_CRYPT_BAD);
	mk_commit(t->w, MK_GARBAGE, t->flows + from, true, MK_WHOLE, 0);
	return 0;
}

/* ---- the mix ---- */

static enum mk_kind weighted(struct traffic *t)
{
	unsigned sum = 0, at, k = 0;

	for (unsigned i = 0; i < MK_PICKS; i++)
		sum += t->o->weight[i];
	at = mk_between(&t->rng, 0, sum - 1);
	while (at >= t->o->weight[k])
		at -= t->o->weight[k++];
	return (enum mk_kind)k;
}

/* Without a weight of their own the sessions begin first, all of them; with one, when their turn comes. */
static enum mk_kind next_kind(struct traffic *t)
{
	const unsigned *w = t->o->weight;
	bool sessions = w[MK_STEADY] || w[MK_REPEAT] || w[MK_TRUNCATED];
	enum mk_kind kind;

	if (!w[MK_NEW] && sessions && t->opened < t->o->sessions)
		return MK_NEW;
	kind = weighted(t);
	if (kind == MK_GARBAGE)
		return kind;
	if (!t->opened)
		return MK_NEW;
	return kind == MK_NEW && t->opened == t->o->sessions ? MK_STEADY : kind;
}

static int one(struct traffic *t)
{
	enum mk_kind kind = next_kind(t);
	unsigned live = (unsigned)(t->opened < t->flows ? t->opened : t->flows);
	unsigned flow = live ? mk_between(&t->rng, 0, live - 1) : 0;

	switch (kind) {
	case MK_NEW:
		return pick_new(t);
	case MK_REPEAT:
		return pick_repeat(t, flow);
	case MK_GARBAGE:
		return pick_garbage(t);
	case MK_TRUNCATED:
		return pick_truncated(t, flow);
	default:
		return send_data(t, &t->client[flow], flow, MK_STEADY);
	}
}

static void noise(struct traffic *t)
{
	static const char text[] = "GET /index.html HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\n\r\n";

	for (unsigned i = 0; i < sizeof(t->noise); i++)
		t->noise[i] = t->o->text ? (uint8_t)text[i % (sizeof(text) - 1)] : (uint8_t)mk_random(&t->rng);
}

static int traffic_memory(struct traffic *t)
{
	const struct mk_opts *o = t->o;
	void *region;

	t->client = calloc(t->flows, sizeof(*t->client));
	t->streams = calloc((size_t)t->flows * o->streams, sizeof(*t->streams));
	t->comp = comp_scratch_create();
	/* Address space for more than any session may take; pages come as they are used. */
	t->mem_len = (size_t)64 << 20;
	t->mem_len += (size_t)t->flows * (16384 + 2048u * o->ps + 512u * o->streams);
	t->mem_len &= ~(size_t)0xffff;
	region = mmap(NULL, t->mem_len + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	if (!t->client || !t->streams || !t->comp || region == MAP_FAILED)
		return -ENOMEM;
	t->mem = mem_init((void *)(((uintptr_t)region + 65535) & ~(uintptr_t)65535), t->mem_len);
	for (unsigned i = 0; i < t->flows; i++)
		t->client[i].streams = &t->streams[(size_t)i * o->streams];
	return t->mem ? 0 : -ENOMEM;
}

static int traffic_init(struct traffic *t, const struct crypt *crypt)
{
	const struct mk_opts *o = t->o;

	t->rng = o->seed;
	t->flows = o->flows && o->flows < o->sessions ? o->flows : o->sessions;
	t->head = crypt_head(crypt);
	t->tail = crypt_tail(crypt);
	t->null = t->head == 0;
	t->fec_head = o->ds && o->ps ? FEC_HEAD : 0;
	t->kcp = (struct kcp_conf){.mtu = o->mtu - t->head - t->tail - t->fec_head,
				   .snd_wnd = WINDOW,
				   .rcv_wnd = WINDOW,
				   .nodelay = 1,
				   .interval = 10,
				   .resend = 2,
				   .nc = 1};
	t->mux = (struct mux_conf){.version = (uint8_t)o->smuxver,
				   .client = true,
				   .framesize = FRAMESIZE,
				   .smuxbuf = 4u << 20,
				   .streambuf = 2u << 20,
				   .max_streams = o->streams};
	noise(t);
	if (t->fec_head && fec_codec_get(&t->codec, o->ds, o->ps))
		return -EINVAL;
	return traffic_memory(t);
}

int mk_traffic(const struct mk_opts *o, const struct crypt *crypt, struct mk_writer *w, struct mk_sum *sum)
{
	struct traffic *t = calloc(1, sizeof(*t));
	uint64_t picks = (uint64_t)o->sessions * o->packets;
	int err;

	if (!t)
		return -ENOMEM;
	*t = (struct traffic){.o = o, .w = w, .sum = sum};
	err = traffic_init(t, crypt);
	for (uint64_t i = 0; !err && i < picks; i++)
		err = one(t);
	if (t->codec)
		fec_codec_put(t->codec);
	comp_scratch_destroy(t->comp);
	free(t->streams);
	free(t->client);
	free(t); /* the sessions' memory goes with the process */
	return err;
}
