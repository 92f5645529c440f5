/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* The tunnel as a whole: defaults that depend on generation, role and mode, and the rules between its options. */

/* ---- defaults ---- */

#define GENERATIONS (CONF_COMPAT_2026 + 1)

void conf_tunnel_defaults(struct conf_tunnel *t)
{
	*t = (struct conf_tunnel){
		.crypt = "aes",
		.mode = "fast",
		.mtu = 1350,
		.datashard = 10,
		.parityshard = 3,
		.smuxbuf = 4194304,
		.streambuf = 2097152,
		.keepalive = 10,
		.scavengettl = 600,
		.sockbuf = 4194304,
		.qpp_count = 61,
		.replaycheck = true,
	};
}

/* wire.md 9.4, server and client of each generation; closewait of ours: wire.md 14. */
static void finish_unsigned(const struct conf_obj *o, struct conf_tunnel *t)
{
	static const struct {
		const char *name;
		size_t offset;
		unsigned value[GENERATIONS][2]; /* [compat][role] */
	} rows[] = {
#define ROW(f) #f, offsetof(struct conf_tunnel, f)
		{ROW(conn), {{0, 1}, {0, 1}, {0, 1}, {0, 1}}},
		{ROW(sndwnd), {{1024, 128}, {1024, 128}, {1024, 128}, {1024, 128}}},
		{ROW(rcvwnd), {{1024, 512}, {1024, 1024}, {1024, 512}, {1024, 512}}},
		{ROW(smuxver), {{0, 2}, {1, 1}, {1, 1}, {2, 2}}},
		/* 2021's limit is 32768, but it reads 4096 bytes at a time */
		{ROW(framesize), {{8192, 8192}, {4096, 4096}, {4096, 4096}, {8192, 8192}}},
		{ROW(closewait), {{0, 30}, {0, 0}, {0, 0}, {30, 0}}},
#undef ROW
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!o || !conf_obj_line(o, rows[i].name))
			*(unsigned *)((char *)t + rows[i].offset) = rows[i].value[t->compat][t->role];
}

/* kcptun's profiles, wire.md 4.2; manual leaves the four as they were given. */
static void finish_mode(const struct conf_obj *o, struct conf_tunnel *t)
{
	static const struct {
		const char *mode;
		int nodelay, interval, interval_2016, resend, nc;
	} profiles[] = {
		{"normal", 0, 40, 30, 2, 1},
		{"fast", 0, 30, 20, 2, 1},
		{"fast2", 1, 20, 20, 2, 1},
		{"fast3", 1, 10, 10, 2, 1},
	};
	bool old = t->compat == CONF_COMPAT_2016;

	if (!o || !conf_obj_line(o, "interval"))
		t->interval = old ? 40 : 50;
	for (unsigned i = 0; o && i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		if (strcmp(profiles[i].mode, t->mode) != 0)
			continue;
		t->nodelay = profiles[i].nodelay;
		t->interval = old ? profiles[i].interval_2016 : profiles[i].interval;
		t->resend = profiles[i].resend;
		t->nc = profiles[i].nc;
	}
}

/* Where the path is modelled nobody needs to give its windows; but what a year has is to the letter. */
static void finish_windows(const struct conf_obj *o, struct conf_tunnel *t)
{
	if (!o || t->congestion != CONF_CONGESTION_AUTO || t->compat != CONF_COMPAT_OURS)
		return;
	if (!conf_obj_line(o, "sndwnd"))
		t->sndwnd = 0;
	if (!conf_obj_line(o, "rcvwnd"))
		t->rcvwnd = 0;
}

void conf_tunnel_generation(const struct conf_obj *o, struct conf_tunnel *t)
{
	if (!o || !conf_obj_line(o, "congestion"))
		t->congestion = t->compat == CONF_COMPAT_OURS ? CONF_CONGESTION_AUTO : CONF_CONGESTION_STOCK;
	finish_unsigned(o, t);
	finish_windows(o, t);
	finish_mode(o, t);
	if (!o || t->compat != CONF_COMPAT_2016)
		return;
	/* 2016 has one number for the socket's buffers and smux's, and smux 1, which knows no limit of a stream. */
	if (!conf_obj_line(o, "smuxbuf") && conf_obj_line(o, "sockbuf"))
		t->smuxbuf = t->sockbuf < 65536 ? 65536 : t->sockbuf;
	if (!conf_obj_line(o, "streambuf") && t->streambuf > t->smuxbuf)
		t->streambuf = t->smuxbuf;
}

/* ---- what is allowed but hardly meant ---- */

static void warn_mode(struct conf_reader *r, const struct conf_obj *o, const struct conf_tunnel *t)
{
	static const char *const manual[] = {"nodelay", "interval", "resend", "nc"};

	for (unsigned i = 0; strcmp(t->mode, "manual") != 0 && i < sizeof(manual) / sizeof(manual[0]); i++)
		if (conf_obj_line(o, manual[i]))
			conf_obj_warn(r, o, manual[i], "has no effect with mode \"%s\", only with \"manual\"", t->mode);
}

/* Where losses are told by time, nothing counts acknowledgements, doubles a timeout, or moves stock's window. */
static void warn_timers(struct conf_reader *r, const struct conf_obj *o, const struct conf_tunnel *t)
{
	static const char *const stock[] = {"nodelay", "resend", "nc"};

	if (strcmp(t->mode, "manual") != 0 || t->congestion != CONF_CONGESTION_AUTO)
		return;
	for (unsigned i = 0; i < sizeof(stock) / sizeof(stock[0]); i++) {
		if (!conf_obj_line(o, stock[i]))
			continue;
		conf_obj_warn(r, o, stock[i],
			      "nodelay, resend and nc have no effect with congestion \"auto\", only with \"stock\"");
		return;
	}
}

static void warn_crypt(struct conf_reader *r, const struct conf_obj *o, const struct conf_tunnel *t)
{
	static const char *const weak[][2] = {
		{"none", "hides nothing: ANYBODY on the way can read and change this tunnel"},
		{"null", "hides nothing and checks nothing: ANYBODY on the way can read and change this tunnel"},
		{"xor", "hides nothing from those who look: anybody on the way can read and change this tunnel"},
		{"tea", "is a weak cipher, here with a quarter of its rounds"},
	};

	for (unsigned i = 0; i < sizeof(weak) / sizeof(weak[0]); i++)
		if (strcmp(weak[i][0], t->crypt) == 0)
			conf_obj_warn(r, o, "crypt", "\"%s\" %s", t->crypt, weak[i][1]);
}

/* Options that a peer of the generation named does not know: it would not follow. */
static void warn_generation(struct conf_reader *r, const struct conf_obj *o, const struct conf_tunnel *t)
{
	bool y16 = t->compat == CONF_COMPAT_2016, old = y16 || t->compat == CONF_COMPAT_2021;
	const char *year = y16 ? "2016" : "2021";
	bool newer = strcmp(t->crypt, "aes-128-gcm") == 0 || strcmp(t->crypt, "null") == 0;

	if (!old)
		return;
	if (newer || (y16 && strcmp(t->crypt, "sm4") == 0))
		conf_obj_warn(r, o, "crypt", "kcptun of %s does not know \"%s\" and takes aes instead", year, t->crypt);
	if (t->qpp)
		conf_obj_warn(r, o, "qpp", "kcptun of %s does not know it", year);
	if (y16 && t->tcp)
		conf_obj_warn(r, o, "tcp", "kcptun of 2016 does not know it");
	if (y16 && t->smuxver > 1)
		conf_obj_warn(r, o, "smuxver", "kcptun of 2016 knows 1 only");
}

/* Only a port of the kernel's sockets has any whose buffers have a size. */
static bool has_sockets(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (c->ports[i].sockets)
			return true;
	return false;
}

static void warn_idle(struct conf_reader *r, const struct conf_obj *o, const struct conf_tunnel *t)
{
	if (conf_obj_line(o, "sockbuf") && !has_sockets(r->c) &&
	    (t->compat != CONF_COMPAT_2016 || conf_obj_line(o, "smuxbuf")))
		conf_obj_warn(r, o, "sockbuf", "no socket, no effect");
	if (conf_obj_line(o, "qpp-count") && !t->qpp)
		conf_obj_warn(r, o, "qpp-count", "has no effect without qpp");
	if (t->qpp && t->qpp_count < LIMIT_QPP_FEW)
		conf_obj_warn(r, o, "qpp-count", "%u pads hide little: kcptun asks for %u at least", t->qpp_count,
			      LIMIT_QPP_FEW);
}

/* ---- what is refused ---- */

static int finish_fec(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	const char *zero = t->datashard == 0 ? "datashard" : "parityshard";

	if (t->datashard + t->parityshard > LIMIT_FEC_SHARDS)
		return conf_obj_fail(r, o, conf_obj_line(o, "parityshard") ? "parityshard" : "datashard",
				     "found datashard %u + parityshard %u; allowed: a sum of at most %u", t->datashard,
				     t->parityshard, LIMIT_FEC_SHARDS);
	if ((t->datashard == 0) != (t->parityshard == 0))
		conf_obj_warn(r, o, zero, "0 alone turns FEC off, as both at 0 would");
	if (t->datashard == 0 || t->parityshard == 0)
		t->datashard = t->parityshard = 0;
	return 0;
}

/* kcp_mtu of wire.md 1 must hold a header and a little more: below 50 stock keeps its earlier setting. */
static int finish_mtu(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	unsigned head = 20, fec = t->datashard ? 8 : 0, least;

	if (strcmp(t->crypt, "null") == 0)
		head = 0;
	else if (strcmp(t->crypt, "aes-128-gcm") == 0)
		head = 28;
	least = 50 + head + fec;
	if (t->mtu >= least)
		return 0;
	return conf_obj_fail(r, o, "mtu", "found %u; allowed: %u to 1500 with crypt \"%s\" and FEC %s", t->mtu, least,
			     t->crypt, fec ? "on" : "off");
}

static int finish_addresses(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	const struct conf_hostport *one = t->role == CONF_CLIENT ? &t->listen : &t->target;

	if (t->role == CONF_SERVER && t->listen.path)
		return conf_obj_fail(r, o, "listen",
				     "found the path of a Unix socket; allowed: HOST:PORT, :PORT or HOST:MIN-MAX");
	if (one->port_min == one->port_max)
		return 0;
	return conf_obj_fail(r, o, t->role == CONF_CLIENT ? "listen" : "target",
			     "found a range of ports, %u-%u; allowed: one TCP port", one->port_min, one->port_max);
}

static int finish_buffers(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	if (t->streambuf <= t->smuxbuf)
		return 0;
	return conf_obj_fail(r, o, conf_obj_line(o, "smuxbuf") ? "smuxbuf" : "streambuf",
			     "found smuxbuf %u and streambuf %u; allowed: a smuxbuf of at least streambuf", t->smuxbuf,
			     t->streambuf);
}

static int finish_qpp(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	if (!t->qpp || limit_qpp_count(t->qpp_count))
		return 0;
	return conf_obj_fail(r, o, "qpp-count",
			     "found %u; allowed: a prime number from %u to %u, the same on both sides", t->qpp_count,
			     LIMIT_QPP_MIN, LIMIT_QPP_MAX);
}

/* Who speaks first decides, which is the client. */
static int finish_speech(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	if (t->role != CONF_CLIENT)
		return 0;
	if (t->nocomp == CONF_NOCOMP_AUTO)
		return conf_obj_fail(r, o, "nocomp", "found \"auto\" in a client; allowed: there, true or false");
	return 0;
}

/* Stock sends what its windows let through, whatever the path takes. */
static int finish_bandwidth(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	if (t->congestion == CONF_CONGESTION_AUTO || !conf_obj_line(o, "bandwidth"))
		return 0;
	if (conf_obj_line(o, "congestion"))
		return conf_obj_fail(r, o, "bandwidth", "found with congestion \"stock\"; allowed: with \"auto\" only");
	return conf_obj_fail(r, o, "bandwidth",
			     "found with compat \"%s\", which means congestion \"stock\"; allowed: with \"auto\" only",
			     conf_item_find(o->table, "compat")->words[t->compat]);
}

/* A list of nobody would read as "all". */
static int finish_allow(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	if (!conf_obj_line(o, "allow") || t->n_allow)
		return 0;
	return conf_obj_fail(r, o, "allow", "found an empty list; allowed: one prefix at least, or no allow for all");
}

int conf_tunnel_finish(struct conf_reader *r, const struct conf_obj *o)
{
	static int (*const rules[])(struct conf_reader *, const struct conf_obj *, struct conf_tunnel *) = {
		finish_fec, finish_mtu,	   finish_addresses, finish_buffers,
		finish_qpp, finish_speech, finish_bandwidth, finish_allow,
	};
	static void (*const warns[])(struct conf_reader *, const struct conf_obj *, const struct conf_tunnel *) = {
		warn_mode, warn_timers, warn_crypt, warn_generation, warn_idle,
	};
	struct conf_tunnel *t = o->base;
	int rc;

	t->line = (int)o->line;
	if (!conf_obj_line(o, "role"))
		return conf_obj_fail(r, o, "role", "found nothing; allowed: \"server\", \"client\"");
	rc = conf_obj_roles(r, o, 1u << t->role);
	if (rc < 0)
		return rc;
	conf_tunnel_generation(o, t);
	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]) && rc == 0; i++)
		rc = rules[i](r, o, t);
	for (unsigned i = 0; i < sizeof(warns) / sizeof(warns[0]) && rc == 0; i++)
		warns[i](r, o, t);
	return rc == 0 ? conf_key_finish(r, o) : rc;
}
