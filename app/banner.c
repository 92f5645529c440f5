/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "log.h"

#define FLUSH_MS   1000
#define PORT_LINES 16 /* of a tunnel, one a port; a longer range is one line */

/* One line of a tunnel: in a process of one tunnel it is kcptun's word for word. */
static void say(const struct conf *c, const struct conf_tunnel *t, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(const struct conf *c, const struct conf_tunnel *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->n_tunnels > 1)
		log_info("%s: %s", t->name, text);
	else
		log_info("%s", text);
}

static const char *yes(bool v)
{
	return v ? "true" : "false";
}

/* any: what stands for no host. */
static const char *hostport(char *buf, size_t n, const struct conf_hostport *h, const char *any)
{
	const char *host = h->host && *h->host ? h->host : any;
	bool v6 = strchr(host, ':') && host[0] != '[';

	if (h->path)
		snprintf(buf, n, "%s", h->path);
	else if (h->port_min == h->port_max)
		snprintf(buf, n, v6 ? "[%s]:%u" : "%s:%u", host, h->port_min);
	else
		snprintf(buf, n, v6 ? "[%s]:%u-%u" : "%s:%u-%u", host, h->port_min, h->port_max);
	return buf;
}

static void say_ends(const struct conf *c, const struct conf_tunnel *t)
{
	char text[300];

	if (t->smuxver)
		say(c, t, "smux version: %u", t->smuxver);
	else
		say(c, t, "smux version: auto");
	say(c, t, "listening on: %s", hostport(text, sizeof(text), &t->listen, t->role == CONF_CLIENT ? "[::]" : ""));
	if (t->role == CONF_SERVER)
		say(c, t, "target: %s", hostport(text, sizeof(text), &t->target, ""));
	say(c, t, "encryption: %s", t->crypt);
	say(c, t, "QPP: %s", yes(t->qpp));
	say(c, t, "QPP Count: %u", t->qpp_count);
	say(c, t, "nodelay parameters: %d %d %d %d", t->nodelay, t->interval, t->resend, t->nc);
	if (t->role == CONF_CLIENT)
		say(c, t, "remote address: %s", hostport(text, sizeof(text), &t->remote, ""));
}

/* A window in kcptun's place for it: its number, or the most that it may grow to, or a word. */
static const char *window(char buf[12], unsigned packets)
{
	snprintf(buf, 12, "%u", packets);
	return packets ? buf : "auto";
}

static void say_sizes(const struct conf *c, const struct conf_tunnel *t)
{
	char snd[12], rcv[12];

	say(c, t, "sndwnd: %s rcvwnd: %s", window(snd, t->sndwnd), window(rcv, t->rcvwnd));
	say(c, t, "compression: %s", t->nocomp == CONF_NOCOMP_AUTO ? "auto" : yes(!t->nocomp));
	say(c, t, "mtu: %u", t->mtu);
	say(c, t, "ratelimit: %llu", (unsigned long long)t->ratelimit);
	say(c, t, "datashard: %u parityshard: %u", t->datashard, t->parityshard);
	say(c, t, "acknodelay: %s", yes(t->acknodelay));
	say(c, t, "dscp: %u", t->dscp);
	say(c, t, "sockbuf: %u", t->sockbuf);
	say(c, t, "smuxbuf: %u", t->smuxbuf);
	say(c, t, "framesize: %u", t->framesize);
	say(c, t, "streambuf: %u", t->streambuf);
	say(c, t, "keepalive: %u", t->keepalive);
}

static void say_rest(const struct conf *c, const struct conf_tunnel *t)
{
	char rate[CONF_BANDWIDTH_MAX];

	if (t->role == CONF_CLIENT) {
		say(c, t, "conn: %u", t->conn);
		say(c, t, "autoexpire: %u", t->autoexpire);
		say(c, t, "scavengettl: %u", t->scavengettl);
	}
	say(c, t, "snmplog: %s", c->telemetry.snmplog ? c->telemetry.snmplog : "");
	say(c, t, "snmpperiod: %u", c->telemetry.snmpperiod);
	say(c, t, "quiet: %s", yes(c->log.quiet));
	say(c, t, "tcp: %s", yes(t->tcp));
	say(c, t, "pprof: false");
	say(c, t, "congestion: %s", t->congestion == CONF_CONGESTION_AUTO ? "auto" : "stock");
	if (t->bandwidth.up)
		say(c, t, "bandwidth: %s", conf_bandwidth_text(&t->bandwidth, rate));
}

void banner(const struct conf *c)
{
	bool read = true;

	log_info("version: " KCPGATE_VERSION);
	for (unsigned i = 0; i < c->n_tunnels; i++) {
		/* A thousand tunnels have more lines than the log's queue: it may be emptied first, if it can. */
		read = read && log_flush(FLUSH_MS);
		say_ends(c, &c->tunnels[i]);
		say_sizes(c, &c->tunnels[i]);
		say_rest(c, &c->tunnels[i]);
	}
}

static void say_listening(const struct conf *c, const struct conf_tunnel *t, const struct conf_hostport *h)
{
	char text[300];

	hostport(text, sizeof(text), h, "");
	if (t->tcp)
		say(c, t, "Listening on: %s/tcp", text);
	say(c, t, "Listening on: %s/udp", text);
}

void banner_listening(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_tunnels; i++) {
		const struct conf_tunnel *t = &c->tunnels[i];
		struct conf_hostport one = t->listen;

		if (t->role != CONF_SERVER)
			continue;
		if (t->listen.port_max - t->listen.port_min >= PORT_LINES) {
			say_listening(c, t, &t->listen);
			continue;
		}
		for (unsigned p = t->listen.port_min; p <= t->listen.port_max; p++) {
			one.port_min = one.port_max = (uint16_t)p;
			say_listening(c, t, &one);
		}
	}
}
