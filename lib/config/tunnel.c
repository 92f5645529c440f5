/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* A tunnel's options, by kcptun's names (wire.md 9.4). */

/* ---- rows ---- */

static int put_key(void *field, const char *text, const char **allowed)
{
	struct conf_tunnel *t = field;
	size_t n = strlen(text);

	if (n > CONF_KEY_MAX)
		return -EINVAL;
	t->key_len = (uint32_t)n;
	return conf_put_text(&t->key, text, allowed);
}

static int put_path(void *field, const char *text, const char **allowed)
{
	return text[0] != '\0' ? conf_put_text(field, text, allowed) : -EINVAL;
}

static int put_listen(void *field, const char *text, const char **allowed)
{
	return conf_hostport_parse(text, field, allowed);
}

/* An address to send to. */
static int put_remote(void *field, const char *text, const char **allowed)
{
	struct conf_hostport hp = {0}, *out = field;
	struct addr a;
	int rc = conf_hostport_parse(text, &hp, allowed);

	if (rc < 0)
		return rc;
	if (hp.host[0] == '\0' || (addr_parse(hp.host, &a) == 0 && addr_is_any(&a))) {
		*allowed = "HOST:PORT with a host to send to";
		free(hp.host);
		return -EINVAL;
	}
	free(out->host);
	*out = hp;
	return 0;
}

static const char *const role_words[] = {"server", "client", NULL}; /* enum conf_role */
static const char *const crypt_words[] = {"aes",     "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish",
					  "twofish", "cast5",	"3des",	   "tea",	  "xtea",    "xor",
					  "sm4",     "none",	"null",	   NULL};
static const char *const mode_words[] = {"normal", "fast", "fast2", "fast3", "manual", NULL};

#define SETS(k, f)	  .kind = (k), .offset = offsetof(struct conf_tunnel, f), .size = sizeof(((struct conf_tunnel *)0)->f)
#define UINT(f, from, to) SETS(CONF_UINT, f), .min = (from), .max = (to)
#define INT(f, from, to)  SETS(CONF_INT, f), .min = (from), .max = (to)
#define NAME_ALLOWED	  "1 to 31 characters of A-Z a-z 0-9 . _ -"

static const struct conf_item items[] = {
	{"name", SETS(CONF_TEXT, name), .flags = CONF_F_NEEDED, .put = conf_put_name, .allowed = NAME_ALLOWED,
	 .help = "by which messages and telemetry know the tunnel"},
	{"role", SETS(CONF_ENUM, role), .flags = CONF_F_NEEDED, .words = role_words,
	 .help = "which of kcptun's programs"},
	{"port", SETS(CONF_TEXT, port), .put = conf_put_name, .allowed = NAME_ALLOWED,
	 .help = "gateway port; not given: any (server), by route (client)"},
	{"listen", "localaddr", SETS(CONF_TEXT, listen), .flags = CONF_F_NEEDED, .alias_roles = CONF_R_CLIENT,
	 .put = put_listen, .allowed = "HOST:PORT, :PORT, or HOST:MIN-MAX on a server",
	 .help = "server: UDP of its clients; client: TCP to accept"},
	{"target", SETS(CONF_TEXT, target), .flags = CONF_F_NEEDED, .roles = CONF_R_SERVER, .put = put_remote,
	 .allowed = "HOST:PORT", .help = "TCP to dial for each stream"},
	{"remote", "remoteaddr", SETS(CONF_TEXT, remote), .flags = CONF_F_NEEDED, .roles = CONF_R_CLIENT,
	 .put = put_remote, .allowed = "HOST:PORT or HOST:MIN-MAX", .help = "UDP of the server"},
	{"key", .kind = CONF_TEXT, .flags = CONF_F_SECRET, .put = put_key, .allowed = "a string of up to 4096 bytes",
	 .help = "passphrase"},
	{"key_file", SETS(CONF_TEXT, key_file), .put = put_path, .allowed = "a file's path",
	 .help = "file that holds the passphrase"},
	{"crypt", SETS(CONF_WORD, crypt), .words = crypt_words, .help = "cipher"},
	{"mode", SETS(CONF_WORD, mode), .words = mode_words, .help = "profile of KCP (wire.md 4.2)"},
	{"nodelay", INT(nodelay, 0, 2), .help = "with mode manual: 0, 1 or 2, faster retransmission timers"},
	{"interval", INT(interval, 10, 5000), .help = "with mode manual: ms between flushes"},
	{"resend", INT(resend, 0, 255), .help = "with mode manual: retransmit after so many later ACKs; 0: never"},
	{"nc", INT(nc, 0, 1), .help = "with mode manual: 1: no congestion window"},
	{"conn", UINT(conn, 1, CONF_CONN_MAX), .roles = CONF_R_CLIENT, .help = "sessions to spread connections over"},
	{"mtu", UINT(mtu, 50, 1500), .help = "largest UDP payload"},
	{"sndwnd", UINT(sndwnd, 1, 65535), .help = "send window, packets"},
	{"rcvwnd", UINT(rcvwnd, 1, 65535), .help = "receive window, packets"},
	{"datashard", "ds", UINT(datashard, 0, 255), .help = "FEC: data packets a group; 0: off"},
	{"parityshard", "ps", UINT(parityshard, 0, 255), .help = "FEC: parity packets a group; 0: off"},
	{"nocomp", SETS(CONF_BOOL, nocomp), .help = "no compression"},
	{"acknodelay", SETS(CONF_BOOL, acknodelay), .help = "send ACKs at once"},
	{"smuxver", UINT(smuxver, 1, 2), .help = "version of smux, the same on both sides"},
	{"smuxbuf", UINT(smuxbuf, 4096, INT32_MAX), .help = "bytes received and not yet taken, a session"},
	{"streambuf", UINT(streambuf, 4096, INT32_MAX), .help = "bytes received and not yet taken, a stream"},
	{"framesize", UINT(framesize, 1, 65535), .help = "largest smux frame that is sent"},
	{"keepalive", UINT(keepalive, 1, 30), .help = "s between keepalives"},
	{"closewait", UINT(closewait, 0, 86400), .help = "s that a connection ended on one side may linger"},
	{NULL},
};

#define IN_LOG "a setting of the group `log'; allowed: there, for all tunnels"

static const struct conf_later later[] = {
	{"autoexpire", CONF_NOT_YET},
	{"scavengettl", CONF_NOT_YET},
	{"ratelimit", CONF_NOT_YET},
	{"dscp", CONF_NOT_YET},
	{"qpp", CONF_NOT_YET},
	{"qppcount", CONF_NOT_YET},
	{"qpp-count", CONF_NOT_YET},
	{"tcp", CONF_NOT_YET},
	{"sockbuf", CONF_NOT_YET},
	{"pprof", CONF_NOT_YET},
	{"snmplog", CONF_NOT_YET},
	{"snmpperiod", CONF_NOT_YET},
	{"log", IN_LOG},
	{"quiet", IN_LOG},
	{NULL},
};

const struct conf_table conf_tunnel_table = {items, later};

/* ---- the tunnel as a whole ---- */

void conf_tunnel_defaults(struct conf_tunnel *t)
{
	*t = (struct conf_tunnel){
		.crypt = "aes",
		.mode = "fast",
		.interval = 50,
		.mtu = 1350,
		.datashard = 10,
		.parityshard = 3,
		.smuxver = 2,
		.smuxbuf = 4194304,
		.streambuf = 2097152,
		.framesize = 8192,
		.keepalive = 10,
	};
}

static void finish_role(const struct conf_obj *o, struct conf_tunnel *t)
{
	bool client = t->role == CONF_CLIENT;

	if (!conf_obj_line(o, "conn"))
		t->conn = client ? 1 : 0;
	if (!conf_obj_line(o, "sndwnd"))
		t->sndwnd = client ? 128 : 1024;
	if (!conf_obj_line(o, "rcvwnd"))
		t->rcvwnd = client ? 512 : 1024;
	if (!conf_obj_line(o, "closewait"))
		t->closewait = client ? 30 : 0;
}

/* kcptun's profiles, wire.md 4.2; manual leaves the four as they were given. */
static void finish_mode(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	static const struct {
		const char *mode;
		int nodelay, interval, resend, nc;
	} profiles[] = {
		{"normal", 0, 40, 2, 1},
		{"fast", 0, 30, 2, 1},
		{"fast2", 1, 20, 2, 1},
		{"fast3", 1, 10, 2, 1},
	};
	static const char *const manual[] = {"nodelay", "interval", "resend", "nc"};

	for (unsigned i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		if (strcmp(profiles[i].mode, t->mode) != 0)
			continue;
		t->nodelay = profiles[i].nodelay;
		t->interval = profiles[i].interval;
		t->resend = profiles[i].resend;
		t->nc = profiles[i].nc;
		for (unsigned j = 0; j < sizeof(manual) / sizeof(manual[0]); j++)
			if (conf_obj_line(o, manual[j]))
				conf_obj_warn(r, o, manual[j], "has no effect with mode \"%s\", only with \"manual\"",
					      t->mode);
	}
}

static int finish_fec(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	const char *zero = t->datashard == 0 ? "datashard" : "parityshard";

	if (t->datashard + t->parityshard > 256)
		return conf_obj_fail(r, o, conf_obj_line(o, "parityshard") ? "parityshard" : "datashard",
				     "found datashard %u + parityshard %u; allowed: a sum of at most 256", t->datashard,
				     t->parityshard);
	if ((t->datashard == 0) != (t->parityshard == 0))
		conf_obj_warn(r, o, zero, "0 alone turns FEC off, as both at 0 would");
	if (t->datashard == 0 || t->parityshard == 0)
		t->datashard = t->parityshard = 0;
	return 0;
}

/* kcp_mtu of wire.md 1 must hold a header and a little more: below 50 stock keeps its earlier setting. */
static int finish_mtu(struct conf_reader *r, const struct conf_obj *o, const struct conf_tunnel *t)
{
	unsigned head = strcmp(t->crypt, "null") == 0 ? 0 : strcmp(t->crypt, "aes-128-gcm") == 0 ? 28 : 20;
	unsigned fec = t->datashard ? 8 : 0, least = 50 + head + fec;

	if (t->mtu >= least)
		return 0;
	return conf_obj_fail(r, o, "mtu", "found %u; allowed: %u to 1500 with crypt \"%s\" and FEC %s", t->mtu, least,
			     t->crypt, fec ? "on" : "off");
}

static int finish_addresses(struct conf_reader *r, const struct conf_obj *o, const struct conf_tunnel *t)
{
	const struct conf_hostport *one = t->role == CONF_CLIENT ? &t->listen : &t->target;

	if (one->port_min == one->port_max)
		return 0;
	return conf_obj_fail(r, o, t->role == CONF_CLIENT ? "listen" : "target",
			     "found a range of ports, %u-%u; allowed: one TCP port", one->port_min, one->port_max);
}

int conf_tunnel_finish(struct conf_reader *r, const struct conf_obj *o)
{
	struct conf_tunnel *t = o->base;
	int rc;

	t->line = (int)o->line;
	if (!conf_obj_line(o, "role"))
		return conf_obj_fail(r, o, "role", "found nothing; allowed: \"server\", \"client\"");
	rc = conf_obj_roles(r, o, 1u << t->role);
	if (rc < 0)
		return rc;
	finish_role(o, t);
	finish_mode(r, o, t);
	rc = finish_fec(r, o, t);
	if (rc == 0)
		rc = finish_mtu(r, o, t);
	if (rc == 0)
		rc = finish_addresses(r, o, t);
	if (rc == 0 && t->streambuf > t->smuxbuf)
		rc = conf_obj_fail(r, o, conf_obj_line(o, "smuxbuf") ? "smuxbuf" : "streambuf",
				   "found smuxbuf %u and streambuf %u; allowed: a smuxbuf of at least streambuf",
				   t->smuxbuf, t->streambuf);
	return rc == 0 ? conf_key_finish(r, o) : rc;
}
