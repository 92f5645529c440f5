/* SPDX-License-Identifier: MIT */

/* Tunnels as shards see them, from tunnels as the file has them: keys, codecs, sizes, session slots. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "acl.h"
#include "app.h"
#include "comp.h"
#include "host.h"
#include "log.h"
#include "origin.h"
#include "speed.h"

#define RECALL_OF "kcpgate conversations 1" /* what a key's conversations are known by */

static uint16_t port_index(const struct conf *c, const char *name)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (name[0] && !strcmp(c->ports[i].name, name))
			return (uint16_t)i;
	return UINT16_MAX;
}

static int tunnel_crypt(struct app *a, unsigned i)
{
	const struct conf_tunnel *t = &a->conf->tunnels[i];
	uint8_t key[CRYPT_KEY_LEN];
	int ret = crypt_selftest(t->crypt);

	if (ret) {
		snprintf(a->why, sizeof(a->why), "tunnel %s: cipher %s fails its self-test on this machine", t->name,
			 t->crypt);
		return ret;
	}
	ret = crypt_kdf(t->key, t->key_len, key);
	if (ret == 0)
		ret = crypt_create(&a->crypts[i], t->crypt, key);
	if (ret == 0)
		ret = crypt_derive(key, RECALL_OF, (uint8_t *)&a->recall_keys[i], sizeof(a->recall_keys[i]));
	explicit_bzero(key, sizeof(key));
	return ret ? app_fail(a, ret, t->name) : 0;
}

/* The address that a server listens on: unspecified for none given, and for a name until control has resolved it. */
static void listen_addr(const struct conf_tunnel *t, struct addr *out)
{
	const char *zone;

	if (t->listen.host && addr_parse_zone(t->listen.host, out, &zone))
		*out = (struct addr){{0}};
}

void app_listens(void *app, unsigned tunnel, const struct addr *addr)
{
	struct app *a = app;

	/* No worker has looked: none of its ports is in the map yet. */
	for (unsigned i = tunnel; i < a->conf->n_tunnels; i++)
		if (i == tunnel || (a->conf->tunnels[i].role == CONF_SERVER && a->conf->tunnels[i].ring == tunnel))
			a->tunnels[i].local = *addr;
}

int app_fec_shape(void *app, unsigned tunnel, unsigned ds, unsigned ps)
{
	struct app *a = app;

	return fec_shapes_add(&a->tunnels[tunnel].others, ds, ps);
}

static int tunnel_slots(struct app *a, unsigned i)
{
	struct shard_tunnel *s = &a->tunnels[i];

	s->dials = calloc(s->conn, sizeof(*s->dials));
	a->slot_worker[i] = calloc(s->conn, sizeof(**a->slot_worker));
	if (!s->dials || !a->slot_worker[i])
		return app_fail(a, -ENOMEM, "session slots");
	for (unsigned k = 0; k < s->conn; k++) {
		struct dial *d = &s->dials[k];

		d->to_ctl.kind = d->to_worker.kind = MBOX_DIAL;
		d->tunnel = (uint16_t)i;
		d->slot = (uint16_t)k;
		d->worker_id = a->slot_worker[i][k] = (uint16_t)((i + k) % a->plan.workers);
	}
	return 0;
}

/* A frame and its header make one chunk of the compression layer, which takes no more (wire.md section 6). */
static uint16_t framesize(const struct conf_tunnel *t)
{
	unsigned max = t->nocomp == 1 ? MUX_FRAME_MAX : COMP_BLOCK_MAX - MUX_HEAD;

	return (uint16_t)(t->framesize < max ? t->framesize : max);
}

/* The pads of QPP, from the passphrase itself: before the keys are wiped. */
static int tunnel_qpp(struct app *a, unsigned i)
{
	const struct conf_tunnel *t = &a->conf->tunnels[i];
	struct qpp_pads *q = NULL;
	int ret;

	if (!t->qpp)
		return 0;
	ret = qpp_pads_create(&q, t->key, t->key_len, t->qpp_count);
	a->tunnels[i].qpp = q;
	return ret ? app_fail(a, ret, t->name) : 0;
}

/* Bytes a second of payload, of what the link takes of the bandwidth that was given. */
static uint64_t bandwidth(const struct conf *c, const struct conf_tunnel *t)
{
	unsigned mbps[CONF_PORTS_MAX];
	struct conf_tunnel cut = *t;
	char text[200];

	host_ports_mbps(c, mbps);
	cut.bandwidth.up = cut.bandwidth.down = speed_cut(c, t, mbps);
	if (speed_cut_text(c, t, mbps, text, sizeof(text)))
		log_warn("%s", text);
	return conf_bandwidth_sent(&cut);
}

static uint32_t to_ms(unsigned s)
{
	return s < UINT32_MAX / 1000 ? s * 1000u : UINT32_MAX;
}

/* Without an allow: whoever no deny names. */
int app_tunnel_acl(const struct conf_tunnel *t, struct net_acl **out)
{
	struct net_acl_rule *v = calloc(t->n_rules + 1, sizeof(*v));
	int ret = v ? 0 : -ENOMEM;

	*out = NULL;
	for (unsigned k = 0; v && k < t->n_rules; k++) {
		const struct conf_rule *r = &t->rules[k];

		v[k] = (struct net_acl_rule){r->prefix, (uint8_t)(r->plen + (addr_is_v4(&r->prefix) ? 96 : 0)),
					     r->allow};
	}
	if (ret == 0 && t->n_rules)
		ret = net_acl_create(out, v, t->n_rules, t->n_allow == 0);
	free(v);
	return ret;
}

void app_tunnel_live(const struct conf_tunnel *t, struct shard_live *l)
{
	*l = (struct shard_live){
		.keepalive_ms = t->keepalive * 1000,
		.closewait_ms = t->closewait * 1000,
		.traffic_class = (uint8_t)(t->dscp << 2),
		.autoexpire_ms = to_ms(t->autoexpire),
		.scavenge_ms = to_ms(t->scavengettl),
		.max_sessions = t->sessions,
		.ratelimit = t->ratelimit,
	};
}

static int tunnel_live(struct app *a, unsigned i)
{
	struct net_acl *acl;
	struct shard_live l;
	int ret = app_tunnel_acl(&a->conf->tunnels[i], &acl);

	if (ret)
		return app_fail(a, ret, a->conf->tunnels[i].name);
	app_tunnel_live(&a->conf->tunnels[i], &l);
	l.acl = acl;
	shard_live_set(&a->tunnels[i], &l);
	return 0;
}

bool app_same_key(const struct app *a, unsigned i, const struct conf_tunnel *t)
{
	struct recall_key of;
	uint8_t key[CRYPT_KEY_LEN];
	bool same = crypt_kdf(t->key, t->key_len, key) == 0 &&
		    crypt_derive(key, RECALL_OF, (uint8_t *)&of, sizeof(of)) == 0 &&
		    !memcmp(&of, &a->recall_keys[i], sizeof(of));

	explicit_bzero(key, sizeof(key));
	explicit_bzero(&of, sizeof(of));
	return same;
}

/* One tunnel as shards see it, from one tunnel as the file has it (wire.md section 1 for the sizes). */
int app_tunnel_make(struct app *a, unsigned i)
{
	const struct conf_tunnel *t = &a->conf->tunnels[i];
	struct shard_tunnel *s = &a->tunnels[i];
	bool fec = t->datashard && t->parityshard;
	int ret = tunnel_crypt(a, i);

	s->blank = false;
	if (ret == 0)
		ret = tunnel_qpp(a, i);
	if (ret == 0)
		ret = tunnel_live(a, i);
	if (ret)
		return ret;
	s->client = t->role == CONF_CLIENT;
	s->nocomp = t->nocomp == 1;
	s->nocomp_auto = t->nocomp == CONF_NOCOMP_AUTO;
	s->crypt = a->crypts[i];
	s->head = crypt_head(s->crypt);
	s->tail = crypt_tail(s->crypt);
	if (t->replaycheck) {
		unsigned at;

		s->mark_len = (uint8_t)crypt_mark(s->crypt, &at);
		s->mark_at = (uint8_t)at;
		crypt_set_side(a->crypts[i], s->client ? CRYPT_SIDE_CLIENT : CRYPT_SIDE_SERVER);
		s->knows_own = crypt_knows_own(s->crypt);
	}
	s->dev = port_index(a->conf, t->port);
	if (!s->client)
		listen_addr(t, &s->local);
	if (fec && (ret = fec_codec_get(&s->fec, t->datashard, t->parityshard)))
		return app_fail(a, ret, t->name);
	s->kcp = (struct kcp_conf){
		.mtu = t->mtu - s->head - s->tail - (fec ? FEC_HEAD : 0u),
		.snd_wnd = t->sndwnd ? t->sndwnd : KCP_WND_MAX,
		.rcv_wnd = t->rcvwnd ? t->rcvwnd : KCP_WND_MAX,
		.congestion = t->congestion == CONF_CONGESTION_AUTO ? KCP_CONGESTION_AUTO : KCP_CONGESTION_STOCK,
		.bandwidth = t->bandwidth.up ? bandwidth(a->conf, t) : 0,
		.nodelay = t->nodelay,
		.interval = t->interval,
		.resend = t->resend,
		.nc = t->nc,
		.acknodelay = t->acknodelay,
	};
	s->mux = (struct mux_conf){
		.version = (uint8_t)t->smuxver,
		.client = s->client,
		.framesize = framesize(t),
		.smuxbuf = t->smuxbuf,
		.streambuf = t->streambuf,
		.max_streams = a->conf->max_streams,
		.hello = true,
	};
	if (getrandom(s->mux.hash_key, sizeof(s->mux.hash_key), 0) != sizeof(s->mux.hash_key))
		return app_fail(a, -EIO, "random numbers");
	if (!s->client && getrandom(&s->kcp.ts_key, sizeof(s->kcp.ts_key), 0) != sizeof(s->kcp.ts_key))
		return app_fail(a, -EIO, "random numbers");
	s->kcp.ts_key |= !s->client;
	s->memory = ((size_t)t->memory << 20) / a->plan.workers;
	s->tcp = t->tcp;
	s->conn = t->conn;
	return s->client ? tunnel_slots(a, i) : 0;
}

void app_origins_conf(const struct app *a, const struct conf *c, struct origins_conf *oc)
{
	unsigned burst = c->max_rate * CONF_RATE_SPAN;

	*oc = (struct origins_conf){
		.sessions = (uint64_t)a->conf->max_sessions * a->plan.workers,
		.address = c->max_address,
		.prefix = c->max_prefix,
		.rate = c->max_rate,
		.burst = burst > CONF_BURST_MIN ? burst : CONF_BURST_MIN,
		.n_tunnels = a->conf->tunnels_room,
	};
}

/* Who counts where sessions come from, for all workers. */
static int origins_up(struct app *a)
{
	struct origins_conf oc;

	app_origins_conf(a, a->conf, &oc);
	if (getrandom(oc.key, sizeof(oc.key), 0) != sizeof(oc.key))
		return app_fail(a, -EIO, "random numbers");
	return origins_create(&a->origins, &oc) ? app_fail(a, -ENOMEM, "sources' tables") : 0;
}

int app_tunnels_up(struct app *a)
{
	unsigned n = a->conf->n_tunnels, room = a->conf->tunnels_room;

	a->crypts = calloc(room, sizeof(*a->crypts));
	a->tunnels = calloc(room, sizeof(*a->tunnels));
	a->slot_worker = calloc(room, sizeof(*a->slot_worker));
	a->recall_keys = calloc(room, sizeof(*a->recall_keys));
	if (!a->crypts || !a->tunnels || !a->slot_worker || !a->recall_keys)
		return app_fail(a, -ENOMEM, "tunnels");
	for (unsigned i = n; i < room; i++)
		a->tunnels[i].blank = true;
	log_info("initiating key derivation");
	for (unsigned i = 0; i < n; i++) {
		int ret = app_tunnel_make(a, i);

		if (ret)
			return ret;
	}
	log_info("key derivation done");
	conf_wipe_keys((struct conf *)a->conf);
	if (app_circles_up(a))
		return -ENOMEM;
	return origins_up(a);
}

void app_tunnel_unmake(struct app *a, unsigned i)
{
	struct shard_tunnel *t = &a->tunnels[i];

	if (t->fec)
		fec_codec_put(t->fec);
	fec_shapes_drop(&t->others);
	qpp_pads_destroy((struct qpp_pads *)t->qpp);
	net_acl_destroy((struct net_acl *)t->acl);
	free(t->dials);
	free(a->slot_worker[i]);
	if (a->crypts[i])
		crypt_destroy(a->crypts[i]);
	*t = (struct shard_tunnel){.blank = true};
	a->slot_worker[i] = NULL;
	a->crypts[i] = NULL;
}

void app_tunnels_down(struct app *a)
{
	bool all = a->crypts && a->tunnels && a->slot_worker && a->recall_keys;

	for (unsigned i = 0; all && i < a->conf->tunnels_room; i++)
		app_tunnel_unmake(a, i);
	origins_destroy(a->origins);
	if (a->recall_keys)
		explicit_bzero(a->recall_keys, a->conf->tunnels_room * sizeof(*a->recall_keys));
	free(a->recall_keys);
	free(a->ring_next);
	free(a->slot_worker);
	free(a->tunnels);
	free(a->crypts);
}
