/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "flags.h"

#define BOTH   CONF_R_BOTH
#define CLIENT CONF_R_CLIENT
#define SERVER CONF_R_SERVER

#define TUNNEL(s)    .part = CONF_P_TUNNEL, .setting = (s)
#define TELEMETRY(s) .part = CONF_P_TELEMETRY, .setting = (s)
#define LOG(s)	     .part = CONF_P_LOG, .setting = (s)
#define SECURITY(s)  .part = CONF_P_SECURITY, .setting = (s)

/* In the order of kcptun's help (wire.md 9.4), ours last. */
const struct conf_flag conf_flags[] = {
	{"localaddr",
	 {"l"},
	 .roles = CLIENT,
	 TUNNEL("listen"),
	 .unset = ":12948",
	 .help = "TCP address, or path of a Unix socket, to accept connections on"},
	{"remoteaddr", {"r"}, .roles = CLIENT, TUNNEL("remote"), .unset = "vps:29900"},
	{"listen",
	 {"l"},
	 .roles = SERVER,
	 TUNNEL("listen"),
	 .unset = ":29900",
	 .help = "UDP address to listen on, one port or a range"},
	{"target", {"t"}, .roles = SERVER, TUNNEL("target"), .unset = "127.0.0.1:12948"},
	{"key", .roles = BOTH, TUNNEL("key"), .help = "passphrase, the same on both sides"},
	{"crypt", .roles = BOTH, TUNNEL("crypt")},
	{"mode", .roles = BOTH, TUNNEL("mode"), .help = "profile"},
	{"QPP", {"qpp"}, .roles = BOTH, TUNNEL("qpp")},
	{"QPPCount", {"qpp-count"}, "qpp-count", .roles = BOTH, TUNNEL("qpp-count")},
	{"conn", .roles = CLIENT, TUNNEL("conn")},
	{"autoexpire", .roles = CLIENT, TUNNEL("autoexpire")},
	{"scavengettl", .roles = CLIENT, TUNNEL("scavengettl")},
	{"mtu", .roles = BOTH, TUNNEL("mtu")},
	{"ratelimit", .roles = BOTH, TUNNEL("ratelimit")},
	{"sndwnd", .roles = BOTH, TUNNEL("sndwnd")},
	{"rcvwnd", .roles = BOTH, TUNNEL("rcvwnd")},
	{"datashard", {"ds"}, .roles = BOTH, TUNNEL("datashard")},
	{"parityshard", {"ps"}, .roles = BOTH, TUNNEL("parityshard")},
	{"dscp", .roles = BOTH, TUNNEL("dscp")},
	{"nocomp", .roles = BOTH, TUNNEL("nocomp"), .help = "no compression, the same on both sides"},
	{"acknodelay", .roles = BOTH, TUNNEL("acknodelay")},
	{"nodelay", .roles = BOTH, TUNNEL("nodelay")},
	{"interval", .roles = BOTH, TUNNEL("interval")},
	{"resend", .roles = BOTH, TUNNEL("resend")},
	{"nc", .roles = BOTH, TUNNEL("nc")},
	{"sockbuf", .roles = BOTH, TUNNEL("sockbuf")},
	{"smuxver", .roles = BOTH, TUNNEL("smuxver")},
	{"smuxbuf", .roles = BOTH, TUNNEL("smuxbuf")},
	{"framesize", .roles = BOTH, TUNNEL("framesize")},
	{"streambuf", .roles = BOTH, TUNNEL("streambuf")},
	{"keepalive", .roles = BOTH, TUNNEL("keepalive")},
	{"closewait", .roles = BOTH, TUNNEL("closewait")},
	{"snmplog", .roles = BOTH, TELEMETRY("snmplog")},
	{"snmpperiod", .roles = BOTH, TELEMETRY("snmpperiod")},
	{"log", .roles = BOTH, LOG("file"), .help = "file to append the log to; \"\": stderr"},
	{"quiet", .roles = BOTH, LOG("quiet")},
	{"tcp", .roles = BOTH, TUNNEL("tcp")},
	{"pprof", .roles = BOTH, .part = CONF_P_NONE, .help = "refused: dpdk-telemetry.py shows where the cycles go"},
	{"compat", .roles = BOTH, .ours = true, TUNNEL("compat")},
	{"congestion", .roles = BOTH, .ours = true, TUNNEL("congestion")},
	{"bandwidth", .roles = BOTH, .ours = true, TUNNEL("bandwidth")},
	{"iface", .roles = BOTH, .ours = true, .part = CONF_P_PORT, .setting = "ifname",
	 .help = "interface to share with the kernel, by frames; not given: UDP sockets, on all interfaces (with tcp: "
		 "by the "
		 "kernel's routes)"},
	{"user", .roles = BOTH, .ours = true, SECURITY("user")},
	{"sandbox", .roles = BOTH, .ours = true, SECURITY("sandbox"),
	 .help = "--sandbox=false: do not refuse itself, by seccomp, the system calls that it does not need"},
	{NULL},
};

static const struct conf_table *part_table(enum conf_part part)
{
	switch (part) {
	case CONF_P_TUNNEL:
		return &conf_tunnel_table;
	case CONF_P_TELEMETRY:
		return &conf_telemetry_table;
	case CONF_P_LOG:
		return &conf_log_table;
	case CONF_P_SECURITY:
		return &conf_security_table;
	case CONF_P_PORT:
		return &conf_port_table;
	case CONF_P_NONE:
		break;
	}
	return NULL;
}

const struct conf_item *conf_flag_item(const struct conf_flag *f)
{
	const struct conf_table *table = part_table(f->part);

	return table ? conf_item_find(table, f->setting) : NULL;
}

struct conf_obj *conf_flag_obj(struct conf_args *a, const struct conf_flag *f)
{
	switch (f->part) {
	case CONF_P_TUNNEL:
		return a->r.tunnels;
	case CONF_P_TELEMETRY:
		return &a->r.telemetry;
	case CONF_P_LOG:
		return &a->r.log;
	case CONF_P_SECURITY:
		return &a->r.security;
	case CONF_P_PORT:
		return a->r.ports;
	case CONF_P_NONE:
		break;
	}
	return NULL;
}

static bool same(const char *known, const char *name, size_t n, bool any_case)
{
	if (!known || strlen(known) != n)
		return false;
	return any_case ? strncasecmp(known, name, n) == 0 : memcmp(known, name, n) == 0;
}

static bool flag_is(const struct conf_flag *f, const char *name, size_t n, bool json)
{
	if (json)
		return same(f->json ? f->json : f->name, name, n, true);
	return same(f->name, name, n, false) || same(f->also[0], name, n, false) || same(f->also[1], name, n, false);
}

const struct conf_flag *conf_flag_find(const char *name, size_t n, enum conf_role role, bool json)
{
	const struct conf_flag *other = NULL;

	for (const struct conf_flag *f = conf_flags; f->name; f++) {
		if (!flag_is(f, name, n, json))
			continue;
		if (f->roles & 1u << role)
			return f;
		other = f;
	}
	return other;
}

const char *conf_flag_nearest(const char *name, enum conf_role role, bool json)
{
	struct conf_nearest near;

	conf_nearest_start(&near, name);
	for (const struct conf_flag *f = conf_flags; f->name; f++)
		if (f->roles & 1u << role)
			conf_nearest_try(&near, json && f->json ? f->json : f->name);
	return near.best;
}

int conf_flag_set(struct conf_args *a, const struct conf_flag *f, struct conf_value *v)
{
	struct conf_obj *o = conf_flag_obj(a, f);
	char where[CONF_WHERE_MAX], found[CONF_FOUND_MAX];
	bool json = v->line < CONF_LINE_ENV;

	v->name = json && f->json ? f->json : f->name;
	if (o) {
		conf_obj_forget(o, f->setting);
		return conf_obj_set(&a->r, o, f->setting, v);
	}
	/* pprof: a file of stock's may well say that it is off */
	o = a->r.tunnels;
	conf_obj_where(o, v->name, v->line, where);
	if (v->kind != CONF_V_BOOL)
		return conf_fail(&a->r, v->line, "%s: found %s; allowed: true or false", where,
				 conf_found(v, false, found));
	if (!v->i)
		return 0;
	if (!a->r.lenient)
		return conf_fail(&a->r, v->line, "%s: found " CONF_NO_PPROF, where);
	conf_warn(&a->r, v->line, "%s: " CONF_NO_PPROF, where);
	return 0;
}
