/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "app.h"
#include "comp.h"
#include "log.h"

/* ---- tunnels ---- */

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
	explicit_bzero(key, sizeof(key));
	return ret ? app_fail(a, ret, t->name) : 0;
}

/* The address that a server listens on: unspecified for none given, and for a name until control has resolved it. */
static void listen_addr(const struct conf_tunnel *t, struct addr *out)
{
	if (t->listen.host && addr_parse(t->listen.host, out))
		*out = (struct addr){{0}};
}

static void on_listens(void *app, unsigned tunnel, const struct addr *addr)
{
	struct app *a = app;

	a->tunnels[tunnel].local = *addr; /* no worker has looked: none of its ports is in the map yet */
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
	unsigned max = t->nocomp ? MUX_FRAME_MAX : COMP_BLOCK_MAX - MUX_HEAD;

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

static uint32_t to_ms(unsigned s)
{
	return s < UINT32_MAX / 1000 ? s * 1000u : UINT32_MAX;
}

/* One tunnel as shards see it, from one tunnel as the file has it (wire.md section 1 for the sizes). */
static int tunnel_make(struct app *a, unsigned i)
{
	const struct conf_tunnel *t = &a->conf->tunnels[i];
	struct shard_tunnel *s = &a->tunnels[i];
	bool fec = t->datashard && t->parityshard;
	int ret = tunnel_crypt(a, i);

	if (ret == 0)
		ret = tunnel_qpp(a, i);
	if (ret)
		return ret;
	s->client = t->role == CONF_CLIENT;
	s->nocomp = t->nocomp;
	s->crypt = a->crypts[i];
	s->head = crypt_head(s->crypt);
	s->tail = crypt_tail(s->crypt);
	s->dev = port_index(a->conf, t->port);
	if (!s->client)
		listen_addr(t, &s->local);
	if (fec && (ret = fec_codec_get(&s->fec, t->datashard, t->parityshard)))
		return app_fail(a, ret, t->name);
	s->kcp = (struct kcp_conf){
		.mtu = t->mtu - s->head - s->tail - (fec ? FEC_HEAD : 0u),
		.snd_wnd = t->sndwnd,
		.rcv_wnd = t->rcvwnd,
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
	s->keepalive_ms = t->keepalive * 1000;
	s->closewait_ms = t->closewait * 1000;
	s->traffic_class = (uint8_t)(t->dscp << 2);
	s->autoexpire_ms = to_ms(t->autoexpire);
	s->scavenge_ms = to_ms(t->scavengettl);
	s->ratelimit = t->ratelimit;
	s->tcp = t->tcp;
	s->conn = t->conn;
	return s->client ? tunnel_slots(a, i) : 0;
}

int app_tunnels_up(struct app *a)
{
	unsigned n = a->conf->n_tunnels;

	a->crypts = calloc(n, sizeof(*a->crypts));
	a->tunnels = calloc(n, sizeof(*a->tunnels));
	a->slot_worker = calloc(n, sizeof(*a->slot_worker));
	if (!a->crypts || !a->tunnels || !a->slot_worker)
		return app_fail(a, -ENOMEM, "tunnels");
	log_info("initiating key derivation");
	for (unsigned i = 0; i < n; i++) {
		int ret = tunnel_make(a, i);

		if (ret)
			return ret;
	}
	log_info("key derivation done");
	conf_wipe_keys((struct conf *)a->conf);
	return 0;
}

void app_tunnels_down(struct app *a)
{
	for (unsigned i = 0; i < a->conf->n_tunnels; i++) {
		if (a->tunnels && a->tunnels[i].fec)
			fec_codec_put(a->tunnels[i].fec);
		if (a->tunnels) {
			qpp_pads_destroy((struct qpp_pads *)a->tunnels[i].qpp);
			free(a->tunnels[i].dials);
		}
		if (a->slot_worker)
			free(a->slot_worker[i]);
		if (a->crypts && a->crypts[i])
			crypt_destroy(a->crypts[i]);
	}
	free(a->slot_worker);
	free(a->tunnels);
	free(a->crypts);
}

/* ---- workers ---- */

static int shard_up(struct app *a, unsigned w)
{
	struct shard_conf sc = {
		.id = w,
		.tunnels = a->tunnels,
		.n_tunnels = a->conf->n_tunnels,
		.max_sessions = a->conf->max_sessions,
		.chans = &a->chans,
		.border = a->borders[w],
		.dev_csum = a->dev_csum,
		.mbufs_to_hold = a->plan.hold,
		.socket = a->plan.place.worker[w],
	};
	int ret;

	sc.mem = a->mems[w] = mem_init(a->heaps[w], a->plan.heap);
	if (!sc.mem)
		return app_fail(a, -ENOMEM, "sessions' memory");
	if (getrandom(&sc.seed, sizeof(sc.seed), 0) != sizeof(sc.seed))
		return app_fail(a, -EIO, "random numbers");
	ret = shard_create(&a->shards[w], &sc, worker_clock_ms(&a->clock, rte_rdtsc()));
	return ret ? app_fail(a, ret, "sessions' tables") : 0;
}

static int crypt_up(struct app *a, unsigned w)
{
	struct timespec now;
	uint8_t seed[32];
	int ret;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return app_fail(a, -EIO, "random numbers");
	clock_gettime(CLOCK_REALTIME, &now);
	ret = crypt_mb_create(&a->mbs[w], seed, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, w,
			      (uint32_t)getpid());
	explicit_bzero(seed, sizeof(seed));
	for (unsigned i = 0; ret == 0 && i < a->conf->n_tunnels; i++)
		ret = crypt_mb_attach(a->mbs[w], a->crypts[i]);
	return ret ? app_fail(a, ret, "multi-buffer crypto") : 0;
}

static int worker_up(struct app *a, unsigned w, unsigned objects)
{
	struct worker_conf wc = {
		.id = w,
		.mesh = a->mesh,
		.udp = a->udp,
		.crypts = (const struct crypt *const *)a->crypts,
		.n_tunnels = a->conf->n_tunnels,
		.n_ports = a->conf->n_ports,
		.pool = a->pools[a->plan.place.tx_pool[w]],
		.poll = a->conf->eal.idle == CONF_IDLE_POLL,
		.socket = a->plan.place.worker[w],
	};
	int ret = border_create(&a->borders[w], w, objects, PLAN_RING_FRAMES, wc.socket);

	if (ret)
		return app_fail(a, ret, "rings to the control side");
	ret = shard_up(a, w);
	if (ret)
		return ret;
	ret = crypt_up(a, w);
	if (ret)
		return ret;
	a->worker_ports[w] = calloc(a->conf->n_ports, sizeof(struct worker_port));
	if (!a->worker_ports[w])
		return app_fail(a, -ENOMEM, "ports");
	app_worker_ports(a, w);
	wc.ports = a->worker_ports[w];
	wc.shard = a->shards[w];
	wc.border = a->borders[w];
	wc.mb = a->mbs[w];
	ret = worker_create(&a->workers[w], &wc, &a->clock);
	return ret ? app_fail(a, ret, "worker") : 0;
}

int app_workers_up(struct app *a)
{
	unsigned n = a->plan.workers, objects = a->plan.chans;

	for (unsigned i = 0; i < a->conf->n_tunnels; i++)
		objects += a->tunnels[i].client ? a->tunnels[i].conn : 0;
	a->borders = calloc(n, sizeof(*a->borders));
	a->shards = calloc(n, sizeof(*a->shards));
	a->workers = calloc(n, sizeof(*a->workers));
	a->mbs = calloc(n, sizeof(*a->mbs));
	a->mems = calloc(n, sizeof(*a->mems));
	a->worker_ports = calloc(n, sizeof(*a->worker_ports));
	if (!a->borders || !a->shards || !a->workers || !a->mbs || !a->mems || !a->worker_ports)
		return app_fail(a, -ENOMEM, "workers");
	for (unsigned w = 0; w < n; w++) {
		int ret = worker_up(a, w, objects);

		if (ret)
			return ret;
	}
	return 0;
}

void app_workers_down(struct app *a)
{
	/* Tables are made before the first worker: where one is missing, there is none. */
	bool any = a->borders && a->shards && a->workers && a->mbs && a->mems && a->worker_ports;

	for (unsigned w = 0; any && w < a->plan.workers; w++) {
		worker_destroy(a->workers[w]);
		free(a->worker_ports[w]);
		crypt_mb_destroy(a->mbs[w]);
		if (a->shards[w])
			shard_destroy(a->shards[w]);
		if (a->mems[w])
			mem_fini(a->mems[w]);
		border_destroy(a->borders[w]);
	}
	free(a->worker_ports);
	free(a->mems);
	free(a->mbs);
	free(a->workers);
	free(a->shards);
	free(a->borders);
}

/* ---- control ---- */

static struct ctl_addr ctl_addr(const struct conf_hostport *h)
{
	return (struct ctl_addr){h->host ? h->host : "", h->port_min, h->port_max};
}

static void ctl_tunnel(struct app *a, unsigned i)
{
	const struct conf_tunnel *t = &a->conf->tunnels[i];

	a->ctl_tunnels[i] = (struct ctl_tunnel){
		.name = t->name,
		.client = t->role == CONF_CLIENT,
		.listen = ctl_addr(&t->listen),
		.target = ctl_addr(&t->target),
		.remote = ctl_addr(&t->remote),
		.port = a->tunnels[i].dev,
		.conn = t->conn,
		.slot_worker = a->slot_worker[i],
		.scavenge_ms = a->tunnels[i].scavenge_ms,
		.listen_path = t->listen.path,
		.target_path = t->target.path,
		.tcp = t->tcp,
	};
}

/* A port without an interface's name is a command line's, and so its one tunnel's. */
static const char *seek_host(const struct conf *c)
{
	const struct conf_tunnel *t = &c->tunnels[0];

	return t->role == CONF_CLIENT ? t->remote.host : t->listen.host;
}

static enum ctl_seek seek(const struct conf *c, const struct conf_port *p)
{
	const char *host = seek_host(c);
	struct addr a;

	if (!p->seek)
		return CTL_SEEK_NO;
	if (c->tunnels[0].role == CONF_CLIENT)
		return CTL_SEEK_ROUTE;
	return !host || !host[0] || (addr_parse(host, &a) == 0 && addr_is_any(&a)) ? CTL_SEEK_DEFAULT : CTL_SEEK_OWNER;
}

static void ctl_port(struct app *a, unsigned i)
{
	const struct conf_port *p = &a->conf->ports[i];
	struct net_local *addr = a->ctl_addrs + i * CONF_ADDRS_MAX;

	for (unsigned k = 0; k < p->n_addresses; k++) {
		addr[k].addr = p->addresses[k].addr;
		addr[k].plen = p->addresses[k].plen + (addr_is_v4(&addr[k].addr) ? 96 : 0);
		addr[k].dev = (uint16_t)i;
	}
	a->ctl_ports[i] = (struct ctl_port){
		.name = p->name,
		.port = &a->ports[i],
		.tap = p->exception == CONF_EXC_TAP,
		.ifname = p->ifname,
		.base = a->bases[i],
		.seek = seek(a->conf, p),
		.seek_host = seek_host(a->conf),
		.mtu = p->mtu,
		.addresses = addr,
		.n_addresses = p->n_addresses,
		.gateway = p->gateway,
		.n_gateway = p->n_gateway,
	};
}

int app_ctl_up(struct app *a)
{
	struct ctl_conf cc = {
		.n_tunnels = a->conf->n_tunnels,
		.n_ports = a->conf->n_ports,
		.borders = a->borders,
		.n_workers = a->plan.workers,
		.chans = &a->chans,
		.udp = a->udp,
		.frames = a->pools[a->plan.place.ctl_pool],
		.quiet = a->conf->log.quiet,
		.port_open = app_port_open,
		.port_close = app_port_close,
		.listens = on_listens,
		.ctx = a,
		.dials = a->conf->max_dials,
		.dial_ms = a->conf->dial_timeout * 1000,
	};
	int ret;

	a->ctl_tunnels = calloc(cc.n_tunnels, sizeof(*a->ctl_tunnels));
	a->ctl_ports = calloc(cc.n_ports, sizeof(*a->ctl_ports));
	a->ctl_addrs = calloc(cc.n_ports * CONF_ADDRS_MAX, sizeof(*a->ctl_addrs));
	if (!a->ctl_tunnels || !a->ctl_ports || !a->ctl_addrs)
		return app_fail(a, -ENOMEM, "control");
	for (unsigned i = 0; i < cc.n_tunnels; i++)
		ctl_tunnel(a, i);
	for (unsigned i = 0; i < cc.n_ports; i++)
		ctl_port(a, i);
	cc.tunnels = a->ctl_tunnels;
	cc.ports = a->ctl_ports;
	sigemptyset(&cc.signals);
	sigaddset(&cc.signals, SIGINT);
	sigaddset(&cc.signals, SIGTERM);
	sigaddset(&cc.signals, SIGUSR1);
	ret = ctl_create(&a->ctl, &cc, a->why, sizeof(a->why));
	return ret ? app_fail(a, ret, "control") : 0;
}

void app_ctl_down(struct app *a)
{
	if (a->ctl)
		ctl_destroy(a->ctl);
	free(a->ctl_addrs);
	free(a->ctl_ports);
	free(a->ctl_tunnels);
}

int app_telemetry_up(struct app *a)
{
	a->tlm = (struct tlm_src){
		.conf = a->conf,
		.n_workers = a->plan.workers,
		.shards = a->shards,
		.workers = a->workers,
		.borders = a->borders,
		.ctl = a->ctl,
		.chans = &a->chans,
		.pools = a->pools,
		.n_pools = a->plan.place.n_pools,
		.tsc_hz = a->clock.hz,
	};
	return a->conf->telemetry.enable ? tlm_start(&a->tlm) : 0;
}

void app_telemetry_down(struct app *a)
{
	tlm_stop();
}

/* Not longer than this for a file that hangs: the process ends without it. */
#define SNMPLOG_STOP_MS 1000

int app_snmplog_up(struct app *a)
{
	const struct conf_telemetry *t = &a->conf->telemetry;
	int ret = snmplog_start(&a->snmplog, &a->tlm, t->snmplog, t->snmpperiod);

	return ret ? app_fail(a, ret, "snmplog") : 0;
}

void app_snmplog_down(struct app *a)
{
	snmplog_stop(a->snmplog, SNMPLOG_STOP_MS);
}

/* ---- the workers' lcores ---- */

int app_launch_up(struct app *a)
{
	unsigned lcore, w = 0;

	RTE_LCORE_FOREACH_WORKER(lcore)
	{
		int ret = rte_eal_remote_launch(worker_main, a->workers[w++], lcore);

		if (ret)
			return app_fail(a, ret, "lcore");
	}
	return 0;
}

void app_launch_down(struct app *a)
{
	for (unsigned w = 0; w < a->plan.workers; w++)
		worker_stop(a->workers[w]);
	rte_eal_mp_wait_lcore();
}
