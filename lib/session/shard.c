/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "roam.h"
#include "speak.h"
#include "warm.h"

#define RESUME_A_TURN 32

/* Checksum failures of one tunnel: nothing else than these means a wrong key. */
struct bad_key {
	struct timer timer;
	struct shard *shard;
	struct flow_key last;  /* where the latest came from */
	uint64_t errors, good; /* InCsumErrors and InPkts when the timer was armed */
};

static bool shard_has_qpp(const struct shard *s)
{
	for (unsigned t = 0; t < s->conf.n_tunnels; t++)
		if (s->conf.tunnels[t].qpp || s->conf.tunnels[t].blank)
			return true;
	return false;
}

/* Memory for the tables of the set-up: zeroed, counted against no budget. */
static int shard_tables(struct shard *s)
{
	const struct shard_conf *c = &s->conf;

	while (s->chans_mask < c->max_sessions)
		s->chans_mask = 2 * s->chans_mask + 1;
	s->chans_of = calloc((size_t)s->chans_mask + 1, sizeof(*s->chans_of));
	s->all = calloc(c->max_sessions, sizeof(*s->all));
	s->snmp = aligned_alloc(64, (c->n_tunnels * sizeof(*s->snmp) + 63) & ~(size_t)63);
	s->fec_scratch = malloc(FEC_SCRATCH);
	s->got = malloc(sizeof(*s->got));
	s->comp = comp_scratch_create();
	s->bad = calloc(c->n_tunnels, sizeof(*s->bad));
	s->tongues = calloc(c->n_tunnels, sizeof(*s->tongues));
	if (shard_has_qpp(s) && !(s->qpp_scratch = malloc(MUX_FRAME_MAX)))
		return -ENOMEM;
	if (!s->bad || !s->tongues || !s->all || !s->chans_of || !s->snmp || !s->fec_scratch || !s->got || !s->comp)
		return -ENOMEM;
	memset(s->snmp, 0, c->n_tunnels * sizeof(*s->snmp));
	for (unsigned t = 0; t < c->n_tunnels; t++) {
		s->bad[t].shard = s;
		s->bad[t].timer.kind = TIMER_BAD_KEY;
		wheel_ent_init(&s->bad[t].timer.ent);
	}
	return slots_create(s);
}

/* A chain for each two sessions. */
static int shard_convs(struct shard *s)
{
	s->conv_mask = 63;
	while (s->conv_mask < s->conf.max_sessions / 2)
		s->conv_mask = 2 * s->conv_mask + 1;
	s->convs = calloc(s->conv_mask + 1ull, sizeof(*s->convs));
	return s->convs ? 0 : -ENOMEM;
}

static unsigned widest_parity(const struct shard_conf *c)
{
	unsigned most = 0;

	for (unsigned t = 0; t < c->n_tunnels; t++) {
		const struct fec_codec *f = c->tunnels[t].fec;

		if (f && fec_codec_ps(f) > most)
			most = fec_codec_ps(f);
	}
	return most;
}

int shard_tunnel_add(struct shard *s, unsigned tunnel)
{
	const struct fec_codec *f = s->conf.tunnels[tunnel].fec;

	if (f && fec_codec_ps(f) + SHARD_OUT_MIN - FEC_MAX_SHARDS > s->out_min)
		return -ERANGE;
	return slots_add(s, tunnel);
}

static void shard_free(struct shard *s)
{
	slots_destroy(s);
	places_down(s);
	share_down(s);
	if (s->comp)
		comp_scratch_destroy(s->comp);
	free(s->got);
	free(s->qpp_scratch);
	free(s->fec_scratch);
	free(s->tongues);
	free(s->bad);
	free(s->convs);
	free(s->snmp);
	free(s->all);
	free(s->chans_of);
	free(s);
}

int shard_create(struct shard **out, const struct shard_conf *conf, uint64_t now)
{
	struct shard *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	char name[32];
	int ret;

	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->conf = *conf;
	s->mem = conf->mem;
	s->border = conf->border;
	s->ctl_next = conf->id % (1 + conf->border->n_more);
	s->chans = conf->chans;
	s->rng = conf->seed | 1;
	s->out_min = SHARD_OUT_MIN - FEC_MAX_SHARDS + widest_parity(conf);
	s->next_id = ((uint64_t)conf->id << SHARD_ID_WORKER) + 1;
	s->homes_at = UINT64_MAX;
	wheel_init(&s->wheel, now);
	wheel_init(&s->fine, SHARD_FINE(now * 1000));
	list_init(&s->ready);
	list_init(&s->parked);
	list_init(&s->hopless);
	list_init(&s->stalled);
	list_init(&s->dead);
	list_init(&s->knocks);
	list_init(&s->asks);
	list_init(&s->spilled);
	list_init(&s->unproved);
	ret = shard_tables(s);
	if (ret == 0)
		ret = shard_convs(s);
	if (ret == 0)
		ret = share_up(s);
	if (ret == 0)
		ret = places_up(s);
	if (ret)
		goto fail;
	snprintf(name, sizeof(name), "flows%u", conf->id);
	ret = flow_tbl_create(&s->flows, name, conf->max_sessions, conf->socket);
	if (ret)
		goto fail;
	*out = s;
	return 0;
fail:
	shard_free(s);
	return ret;
}

void shard_destroy(struct shard *s)
{
	shard_close_all(s, s->wheel.now);
	flow_tbl_destroy(s->flows);
	shard_free(s);
}

void shard_close_all(struct shard *s, uint64_t now)
{
	s->closing = true;
	while (s->n_all)
		sess_close(s->all[s->n_all - 1], 0, now);
	slots_close(s);
	shard_reap(s);
}

bool shard_drained(const struct shard *s)
{
	return s->stats.streams == 0;
}

unsigned shard_out_min(const struct shard *s)
{
	return s->out_min;
}

const struct flow_tbl *shard_flows(const struct shard *s)
{
	return s->flows;
}

void shard_adopt(struct shard *s, const struct net_tbl *tbl)
{
	if (tbl && (!s->tbl || tbl->gen_here > s->gen_here))
		s->homes_at = s->wheel.now + HOME_MS;
	if (tbl)
		s->gen_here = tbl->gen_here;
	s->tbl = tbl;
	list_splice_tail(&s->ready, &s->hopless); /* for some of them it may be known now */
}

void shard_reap(struct shard *s)
{
	struct list *e;

	while ((e = list_pop(&s->dead)))
		sess_free(container_of(e, struct sess, ready));
}

/* Lets sessions read again that had to stop, where the reason has gone: each once, a bounded number.  Returns the
 * segments read: while there are any, there are more. */
static unsigned shard_resume(struct shard *s, uint64_t now)
{
	struct list *last = s->stalled.prev;
	unsigned total = 0;

	for (unsigned i = 0; i < RESUME_A_TURN && !list_empty(&s->stalled); i++) {
		struct list *e = list_pop(&s->stalled);
		struct sess *ss = container_of(e, struct sess, stalled_link);

		ss->stalled = false;
		total += sess_read(ss, now); /* goes back to the list if the reason has not gone */
		if (e == last)
			break;
	}
	return total;
}

/* ents[i] is at hand: what those behind it are about gets a link further. */
static void pull_warm(struct mbox_ent **ents, unsigned i, unsigned n)
{
	const struct chan *c;
	const struct stream *st;

	if (i + 2 * WARM_STEP < n && ents[i + 2 * WARM_STEP]->kind == MBOX_CHAN) {
		c = container_of(ents[i + 2 * WARM_STEP], struct chan, to_worker);
		if (c->worker)
			__builtin_prefetch(c->worker, 1);
		warm_lines(&c->up, 0, sizeof(c->up));
	}
	if (i + WARM_STEP < n && ents[i + WARM_STEP]->kind == MBOX_CHAN) {
		c = container_of(ents[i + WARM_STEP], struct chan, to_worker);
		st = c->worker;
		if (st && st->sess) {
			warm_sess(st->sess);
			__builtin_prefetch(st->ms, 1);
		}
	}
}

/* What one control instance has posted, a bounded number. */
static unsigned pull_from(struct shard *s, struct border *from, uint64_t now)
{
	struct mbox_ent *ents[64];
	uint32_t ev[64];
	unsigned n, total = 0;

	do {
		n = mbox_get(from->to_worker, ents, ev, 64);
		for (unsigned i = 0; i < n; i++) {
			pull_warm(ents, i, n);
			if (ents[i]->kind == MBOX_CHAN)
				stream_event(s, container_of(ents[i], struct chan, to_worker), ev[i], now);
			else
				slot_event(s, container_of(ents[i], struct dial, to_worker), ev[i], now);
		}
		total += n;
	} while (n == 64 && total < 1024);
	return total;
}

unsigned shard_pull(struct shard *s, uint64_t now)
{
	unsigned total = 0;

	for (unsigned k = 0; k <= s->border->n_more; k++)
		total += pull_from(s, border_of(s->border, k), now);
	if (!list_empty(&s->spilled))
		shard_pump_spilled(s);
	total += shard_resume(s, now);
	shard_settle(s);
	return total;
}

uint64_t shard_random(struct shard *s)
{
	/* xorshift64* */
	s->rng ^= s->rng >> 12;
	s->rng ^= s->rng << 25;
	s->rng ^= s->rng >> 27;
	return s->rng * 0x2545f4914f6cdd1dull;
}

void shard_bad_key(struct shard *s, const struct pkt *k, uint64_t now)
{
	struct bad_key *b = &s->bad[k->tunnel];
	struct snmp *c = &s->snmp[k->tunnel];

	b->last = *k->key;
	if (!wheel_armed(&b->timer.ent)) {
		b->errors = c->InCsumErrors;
		b->good = c->InPkts;
		wheel_arm(&s->wheel, &b->timer.ent, now + BAD_KEY_MS);
	}
	c->InCsumErrors++;
}

/* Failures beside good packets are noise, or the random keepalives of 2016 (wire.md 8.6): nothing to report. */
static void bad_key_timer(struct bad_key *b)
{
	struct shard *s = b->shard;
	unsigned t = (unsigned)(b - s->bad);
	struct note n = {.type = NOTE_BAD_KEY, .tunnel = (uint16_t)t, .worker = (uint16_t)s->conf.id, .key = b->last};

	if (s->snmp[t].InPkts != b->good)
		return;
	n.arg = (uint32_t)(s->snmp[t].InCsumErrors - b->errors);
	border_note(s->border, &n);
}

/* Sessions that may go on at their path's pace. */
static void tick_fine(struct shard *s, uint64_t now)
{
	struct wheel_ent *e;

	while ((e = wheel_due(&s->fine, SHARD_FINE(shard_us(s, now))))) {
		struct sess *ss = container_of(e, struct sess, fine);

		if (ss->pace_soft) {
			pace_over(ss);
			sess_ready(ss);
		}
	}
}

void shard_tick(struct shard *s, uint64_t now)
{
	struct wheel_ent *e;

	share_tick(s, now);
	hop_tick(s, now);
	if (now >= s->homes_at)
		homes_look(s, now);
	tick_fine(s, now);
	while ((e = wheel_due(&s->wheel, now))) {
		struct timer *t = container_of(e, struct timer, ent);
		const struct wheel_ent *next = wheel_after(&s->wheel);

		if (next) /* most are sessions' */
			warm_sess(container_of(next, struct sess, timer.ent));
		switch (t->kind) {
		case TIMER_SESS:
			sess_timer(container_of(t, struct sess, timer), now);
			break;
		case TIMER_STREAM:
			stream_timer(container_of(t, struct stream, timer), now);
			break;
		case TIMER_BAD_KEY:
			bad_key_timer(container_of(t, struct bad_key, timer));
			break;
		case TIMER_SLOT:
			slot_timer(container_of(t, struct slot, timer), now);
			break;
		}
	}
}

bool shard_ready(const struct shard *s)
{
	return !list_empty(&s->ready) || !list_empty(&s->asks) || s->out_cur || s->ping.due;
}

bool shard_waits(const struct shard *s)
{
	return !list_empty(&s->stalled) || !list_empty(&s->spilled);
}

void shard_clock(struct shard *s, uint64_t us)
{
	s->us = us;
}

void shard_load(struct shard *s, bool saturated)
{
	s->saturated = saturated;
}

uint64_t shard_next_us(const struct shard *s)
{
	uint64_t at = wheel_next(&s->fine);

	return at == UINT64_MAX ? at : at << SHARD_FINE_BITS;
}

uint64_t shard_next(const struct shard *s)
{
	uint64_t ms = wheel_next(&s->wheel), fine = shard_next_us(s), hop = hop_next(s);

	if (fine != UINT64_MAX && (fine + 999) / 1000 < ms)
		ms = (fine + 999) / 1000;
	if (s->homes_at < ms)
		ms = s->homes_at;
	return hop < ms ? hop : ms;
}

const struct snmp *shard_snmp(const struct shard *s, unsigned tunnel)
{
	return &s->snmp[tunnel];
}

struct shard_stats *shard_stats(struct shard *s)
{
	return &s->stats;
}

size_t shard_mem_used(const struct shard *s)
{
	return mem_used(s->mem);
}

size_t shard_mem_total(const struct shard *s)
{
	return mem_total(s->mem);
}

uint16_t shard_tunnel_of(const struct sess *sess)
{
	return (uint16_t)sess_tunnel(sess);
}

struct shard_who shard_who(const struct shard *s, const struct sess *sess)
{
	return (struct shard_who){
		.id = sess->id,
		.key = &sess->key,
		.tunnel = (uint16_t)sess_tunnel(sess),
		.dev = sess->path_ok ? sess->path.dev : sess->reply_dev,
	};
}
