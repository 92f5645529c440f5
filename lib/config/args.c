/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flags.h"

#define ARGS_PORTS 2 /* the one that was named or found, and loopback */

/* kcptun's command line, as Go reads it: one dash or two, "-x=y" or "-x y", the last of two flags wins. */

static const char *role_name(const struct conf_args *a)
{
	return a->role == CONF_SERVER ? "server" : "client";
}

/* ---- values ---- */

/* Go's ParseBool. */
static int parse_bool(const char *text)
{
	static const char *const words[][6] = {{"0", "f", "F", "false", "FALSE", "False"},
					       {"1", "t", "T", "true", "TRUE", "True"}};

	for (int yes = 0; yes < 2; yes++)
		for (unsigned i = 0; i < 6; i++)
			if (strcmp(words[yes][i], text) == 0)
				return yes;
	return -1;
}

/* Text of the command line as the setting's kind wants it; what does not fit stays text, for the message. */
static struct conf_value value_of(const struct conf_item *it, const char *text)
{
	struct conf_value v = {.kind = CONF_V_TEXT, .line = CONF_LINE_ARGV, .text = text};
	enum conf_kind kind = it ? it->kind : CONF_BOOL;
	long long i;
	char *end;

	if (kind == CONF_BOOL && parse_bool(text) >= 0) {
		v.kind = CONF_V_BOOL;
		v.i = parse_bool(text);
	}
	if (kind != CONF_UINT && kind != CONF_INT && kind != CONF_RATE)
		return v;
	errno = 0;
	i = strtoll(text, &end, 0);
	if (errno == 0 && end != text && *end == '\0' && text[0] != ' ') {
		v.kind = CONF_V_INT;
		v.i = i;
	}
	return v;
}

/* ---- flags ---- */

#define ASK_HELP    CONF_ARGS_HELP
#define ASK_VERSION CONF_ARGS_VERSION

static bool name_is(const char *name, size_t n, const char *a, const char *b)
{
	return (n == strlen(a) && memcmp(name, a, n) == 0) || (n == strlen(b) && memcmp(name, b, n) == 0);
}

/* arg: with its dashes, and perhaps a value, which is nobody's business. */
static int fail_unknown(struct conf_args *a, const char *arg)
{
	char cut[40], quoted[CONF_FOUND_MAX];
	const char *near;

	snprintf(cut, sizeof(cut), "%.*s", (int)strcspn(arg, "="), arg);
	near = conf_flag_nearest(cut + strspn(cut, "-"), a->role, false);
	conf_quote(cut, quoted);
	if (near)
		return conf_fail(&a->r, CONF_LINE_ARGV, "%s: found an unknown option; did you mean --%s?", quoted,
				 near);
	return conf_fail(&a->r, CONF_LINE_ARGV, "%s: found an unknown option; allowed: those of kcpgate %s --help",
			 quoted, role_name(a));
}

static int fail_missing(struct conf_args *a, const struct conf_flag *f, const struct conf_item *it)
{
	char buf[CONF_ALLOWED_MAX];

	if (!f)
		return conf_fail(&a->r, CONF_LINE_ARGV, "-c: found no value; allowed: a JSON file of kcptun's");
	return conf_fail(&a->r, CONF_LINE_ARGV, "--%s: found no value; allowed: %s", f->name,
			 conf_item_allowed(it, buf));
}

static int take_config(struct conf_args *a, const char *path)
{
	char quoted[CONF_FOUND_MAX];

	for (const char *s = path; *s != '\0' || s == path; s++)
		if ((unsigned char)*s < ' ')
			return conf_fail(&a->r, CONF_LINE_ARGV, "-c: found %s; allowed: a JSON file of kcptun's",
					 conf_quote(path, quoted));
	a->json = path;
	return 0;
}

/* One flag with its value if it needs one: text behind "=", else the next argument.  0, ASK_*, or -errno and why. */
static int take_flag(struct conf_args *a, char **argv, int argc, int *i)
{
	char *name = argv[*i] + (argv[*i][1] == '-' ? 2 : 1), *text = strchr(name, '=');
	size_t n = text ? (size_t)(text++ - name) : strlen(name);
	const struct conf_flag *f;
	const struct conf_item *it;
	struct conf_value v;
	bool config = name_is(name, n, "c", "c"), flag;
	int rc;

	if (name_is(name, n, "h", "help"))
		return ASK_HELP;
	if (name_is(name, n, "v", "version"))
		return ASK_VERSION;
	f = config ? NULL : conf_flag_find(name, n, a->role, false);
	if (!f && !config)
		return fail_unknown(a, argv[*i]);
	it = f ? conf_flag_item(f) : NULL;
	flag = !config && (!it || it->kind == CONF_BOOL);
	if (!text && flag)
		text = "true";
	else if (!text && *i + 1 < argc)
		text = argv[++*i];
	if (!text)
		return fail_missing(a, f, it);
	if (config)
		return take_config(a, text);
	if (!(f->roles & 1u << a->role))
		return conf_fail(&a->r, CONF_LINE_ARGV, "--%s: found in a %s; allowed: only in a %s", f->name,
				 role_name(a), a->role == CONF_SERVER ? "client" : "server");
	v = value_of(it, text);
	rc = conf_flag_set(a, f, &v);
	if (it && (it->flags & CONF_F_SECRET))
		memset(text, 'x', strlen(text)); /* which other users' ps would show */
	return rc;
}

static int take_argv(struct conf_args *a, int argc, char **argv)
{
	char quoted[CONF_FOUND_MAX];
	int rc = 0;

	for (int i = 1; i < argc && rc == 0; i++) {
		if (argv[i][0] == '-' && argv[i][1] != '\0' && strcmp(argv[i], "--") != 0)
			rc = take_flag(a, argv, argc, &i);
		else
			return conf_fail(&a->r, CONF_LINE_ARGV, "%s: found an argument; allowed: options only",
					 conf_quote(argv[i], quoted));
	}
	return rc;
}

/* ---- the whole ---- */

int conf_args_open(struct conf_args *a)
{
	struct conf_reader *r = &a->r;
	int rc = conf_reader_open(r);

	if (rc < 0)
		return rc;
	r->c->ports = calloc(ARGS_PORTS, sizeof(*r->c->ports));
	r->c->tunnels = calloc(1, sizeof(*r->c->tunnels));
	r->ports = calloc(ARGS_PORTS, sizeof(*r->ports));
	r->tunnels = calloc(1, sizeof(*r->tunnels));
	if (!r->c->ports || !r->c->tunnels || !r->ports || !r->tunnels) {
		snprintf(r->why, r->why_n, "%s: %s", r->path, strerror(ENOMEM));
		return -ENOMEM;
	}
	r->c->n_ports = r->c->n_tunnels = 1;
	conf_port_defaults(r->c->ports);
	conf_tunnel_defaults(r->c->tunnels);
	r->ports[0] = (struct conf_obj){.table = &conf_port_table, .base = r->c->ports, .line = CONF_LINE_ARGV};
	r->tunnels[0] = (struct conf_obj){.table = &conf_tunnel_table, .base = r->c->tunnels, .line = CONF_LINE_ARGV};
	r->telemetry.path[0] = r->log.path[0] = r->security.path[0] = '\0';
	return 0;
}

static int set_text(struct conf_args *a, struct conf_obj *o, const char *name, const char *text, const char *shown)
{
	struct conf_value v = {.kind = CONF_V_TEXT, .line = CONF_LINE_ARGV, .text = text, .name = shown};

	return conf_obj_set(&a->r, o, name, &v);
}

/* What stock has a default for and a configuration file must say. */
static int set_defaults(struct conf_args *a)
{
	int rc = 0;

	for (const struct conf_flag *f = conf_flags; f->name && rc == 0; f++)
		if (f->unset && (f->roles & 1u << a->role) && !conf_obj_line(conf_flag_obj(a, f), f->setting))
			rc = set_text(a, conf_flag_obj(a, f), f->setting, f->unset, f->name);
	if (rc == 0)
		rc = set_text(a, a->r.tunnels, "role", role_name(a), NULL);
	return rc == 0 ? set_text(a, a->r.tunnels, "name", role_name(a), NULL) : rc;
}

/* A gateway may be started before the network is. */
static int seek_port(struct conf_args *a, const char *why)
{
	int rc = set_text(a, a->r.ports, "name", "port0", "iface");

	if (why[0] != '\0')
		conf_warn(&a->r, CONF_LINE_ARGV, "--iface: not given, and %s: the gateway waits until there is one",
			  why);
	return rc == 0 ? set_text(a, a->r.ports, "device", "net_af_packet0", "iface") : rc;
}

/* As stock's: on all interfaces and addresses, without privileges. */
static int sockets_port(struct conf_args *a)
{
	int rc = set_text(a, a->r.ports, "name", "sockets", "iface");

	a->r.c->ports->found = true;
	return rc == 0 ? set_text(a, a->r.ports, "device", "net_kudp0", "iface") : rc;
}

/* The zone of a link-local address says which interface it is. */
static bool names_iface(const struct conf_tunnel *t)
{
	const char *host = t->role == CONF_CLIENT ? t->remote.host : t->listen.host, *zone;
	struct addr a;

	return host && addr_parse_zone(host, &a, &zone) == 0 && zone;
}

/* The one port: an interface that the kernel keeps, named by --iface or by the kernel's routes. */
static int set_port(struct conf_args *a)
{
	struct conf_port *p = a->r.c->ports;
	char why[256] = "", device[64];
	int rc = 0;

	if (p->ifname[0] == '\0' && a->host->sockets && !a->r.c->tunnels->tcp && !names_iface(a->r.c->tunnels))
		return sockets_port(a);
	p->found = p->ifname[0] == '\0' && a->host->iface;
	if (p->found)
		rc = a->host->iface(a->host->ctx, a->r.c->tunnels, p->ifname, why, sizeof(why));
	p->seek = rc == -EAGAIN;
	if (p->seek)
		return seek_port(a, why);
	if (rc < 0)
		return conf_fail(&a->r, CONF_LINE_ARGV, "--iface: not given, and %s; allowed: an interface's name",
				 why);
	if (p->ifname[0] == '\0')
		snprintf(p->ifname, sizeof(p->ifname), "eth0");
	if (a->host->mtu)
		p->mtu = a->host->mtu(a->host->ctx, p->ifname);
	/* Who names lo has a peer on this host, which may be stock's. */
	p->local_peers = !p->found && strcmp(p->ifname, "lo") == 0;
	snprintf(device, sizeof(device), "net_af_packet0,iface=%s", p->ifname);
	rc = set_text(a, a->r.ports, "name", conf_name_ok(p->ifname) ? p->ifname : "port0", "iface");
	return rc == 0 ? set_text(a, a->r.ports, "device", device, "iface") : rc;
}

/*
 * A server on all addresses is stock's on every interface, and first tried out with a client on the same host: beside
 * the interface that was found it serves loopback.
 */
static int add_loopback(struct conf_args *a, bool named)
{
	const struct conf_port *p = a->r.c->ports;
	const char *host = a->r.c->tunnels->listen.host;
	struct conf_obj *o = &a->r.ports[1];
	int rc;

	if (named || p->sockets || a->role != CONF_SERVER || !a->host->iface || !host || host[0] != '\0' ||
	    strcmp(p->ifname, "lo") == 0)
		return 0;
	conf_port_defaults(&a->r.c->ports[1]);
	*o = (struct conf_obj){.table = &conf_port_table, .base = &a->r.c->ports[1], .line = CONF_LINE_ARGV};
	a->r.c->n_ports = 2;
	rc = set_text(a, o, "name", strcmp(p->name, "loopback") ? "loopback" : "loopback1", "iface");
	return rc == 0 ? set_text(a, o, "device", "net_af_packet1,iface=lo", "iface") : rc;
}

static int set_machine(struct conf_args *a)
{
	int rc = 0;

	if (a->host->lcores)
		rc = set_text(a, &a->r.eal, "lcores", a->host->lcores, NULL);
	if (rc == 0 && a->host->file_prefix)
		rc = set_text(a, &a->r.eal, "file_prefix", a->host->file_prefix, NULL);
	return rc;
}

int conf_args_finish(struct conf_args *a)
{
	bool named = a->r.c->ports->ifname[0] != '\0';
	int rc = set_defaults(a);

	if (rc == 0)
		rc = set_port(a);
	if (rc == 0)
		rc = add_loopback(a, named);
	if (rc == 0)
		rc = set_machine(a);
	return rc == 0 ? conf_check(&a->r) : rc;
}

static int take_key(struct conf_args *a)
{
	struct conf_value v = {.kind = CONF_V_TEXT, .line = CONF_LINE_ENV, .text = a->host->key};

	if (!a->host->key || conf_obj_line(a->r.tunnels, "key"))
		return 0;
	return conf_obj_set(&a->r, a->r.tunnels, "key", &v);
}

static int take_json(struct conf_args *a)
{
	char *path = strdup(a->json);

	if (!path) {
		snprintf(a->r.why, a->r.why_n, "%s: %s", a->json, strerror(ENOMEM));
		return -ENOMEM;
	}
	free(a->r.c->path);
	a->r.c->path = path;
	a->r.path = a->json;
	return conf_json_read(a);
}

int conf_args(enum conf_role role, int argc, char **argv, const struct conf_host *host, struct conf **out, char *why,
	      size_t why_n)
{
	struct conf_args a = {
		.r = {.path = "command line", .why = why, .why_n = why_n},
		.role = role,
		.host = host,
	};
	int rc = conf_args_open(&a), end;

	*out = NULL;
	if (rc == 0)
		rc = take_argv(&a, argc, argv);
	if (rc == 0)
		rc = take_key(&a);
	if (rc == 0 && a.json)
		rc = take_json(&a);
	if (rc == 0)
		rc = conf_args_finish(&a);
	end = conf_reader_close(&a.r, rc > 0 ? -ECANCELED : rc, out);
	return rc > 0 ? rc : end;
}
