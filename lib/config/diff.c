/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "parse.h"

/* ---- verdicts ---- */

struct verdict {
	const char *group, *name; /* name NULL: all of the group that are not named before */
	enum conf_how how;
	const char *note;
};

#define SIZES	 "sizes tables"
#define OUTSIDE	 "is fixed before the first port"
#define SESSIONS "new sessions"
#define SHAPE	 "is both sides' of every session"

static const struct verdict verdicts[] = {
	{"log", "level", CONF_HOW_LIVE, NULL},
	{"log", "file", CONF_HOW_LIVE, NULL},
	{"log", "quiet", CONF_HOW_LIVE, NULL},
	{"log", "format", CONF_HOW_LIVE, NULL},
	{"log", "rate", CONF_HOW_LIVE, NULL},
	{"telemetry", "enable", CONF_HOW_RESTART, "its commands are registered at the start"},
	{"telemetry", "allow_plaintext", CONF_HOW_LIVE, NULL},
	{"telemetry", "snmplog", CONF_HOW_LIVE, NULL},
	{"telemetry", "snmpperiod", CONF_HOW_LIVE, NULL},
	{"telemetry", "metrics", CONF_HOW_RESTART, "its socket is opened at the start"},
	{"telemetry", "allow_remote_metrics", CONF_HOW_RESTART, "its socket is opened at the start"},
	{"limits", "sessions", CONF_HOW_RESTART, SIZES},
	{"limits", "address_sessions", CONF_HOW_NEW, SESSIONS},
	{"limits", "prefix_sessions", CONF_HOW_NEW, SESSIONS},
	{"limits", "address_rate", CONF_HOW_NEW, SESSIONS},
	{"limits", "spare_tunnels", CONF_HOW_RESTART, SIZES},
	{"limits", "session_bytes", CONF_HOW_RESTART, SIZES},
	{"limits", "streams", CONF_HOW_RESTART, SIZES},
	{"limits", "dials", CONF_HOW_RESTART, "is shared out at the start"},
	{"limits", "dialtimeout", CONF_HOW_NEW, "new connections"},
	{"eal", "lcores", CONF_HOW_RESTART, OUTSIDE},
	{"eal", "control", CONF_HOW_RESTART, OUTSIDE},
	{"eal", "hugepages", CONF_HOW_RESTART, OUTSIDE},
	{"eal", "memory", CONF_HOW_RESTART, OUTSIDE},
	{"eal", "file_prefix", CONF_HOW_RESTART, OUTSIDE},
	{"eal", "args", CONF_HOW_RESTART, OUTSIDE},
	{"eal", "idle", CONF_HOW_RESTART, OUTSIDE},
	{"eal", "dumpcap", CONF_HOW_RESTART, OUTSIDE},
	{"security", "user", CONF_HOW_RESTART, "rights only go"},
	{"security", "sandbox", CONF_HOW_RESTART, "rights only go"},
	{"security", "state", CONF_HOW_RESTART, "files that are mapped"},
	{"security", "core_dumps", CONF_HOW_RESTART, "rights only go"},
	{"ports", "name", CONF_HOW_RESTART, NULL},
	{"ports", "device", CONF_HOW_RESTART, NULL},
	{"ports", "exception", CONF_HOW_RESTART, NULL},
	{"ports", "ifname", CONF_HOW_RESTART, NULL},
	{"ports", "addresses", CONF_HOW_RESTART, "until then: ip address add"},
	{"ports", "gateway", CONF_HOW_RESTART, "until then: ip route replace"},
	{"ports", "mtu", CONF_HOW_RESTART, NULL},
	{"ports", "vlan", CONF_HOW_RESTART, NULL},
	{"ports", "punt_rate", CONF_HOW_RESTART, NULL},
	{"ports", "local_peers", CONF_HOW_RESTART, NULL},
	{"tunnels", "name", CONF_HOW_RESTART, NULL},
	{"tunnels", "compat", CONF_HOW_NONE, "other settings' defaults"},
	{"tunnels", "role", CONF_HOW_RESTART, NULL},
	{"tunnels", "port", CONF_HOW_RESTART, NULL},
	{"tunnels", "listen", CONF_HOW_RESTART, NULL},
	{"tunnels", "target", CONF_HOW_NEW, "new connections"},
	{"tunnels", "proxy_protocol", CONF_HOW_NEW, "new connections"},
	{"tunnels", "remote", CONF_HOW_RESTART, NULL},
	{"tunnels", "key", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "key_file", CONF_HOW_NONE, "what is in it counts"},
	{"tunnels", "crypt", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "mode", CONF_HOW_RESTART, NULL},
	{"tunnels", "nodelay", CONF_HOW_RESTART, NULL},
	{"tunnels", "interval", CONF_HOW_RESTART, NULL},
	{"tunnels", "resend", CONF_HOW_RESTART, NULL},
	{"tunnels", "nc", CONF_HOW_RESTART, NULL},
	{"tunnels", "conn", CONF_HOW_RESTART, NULL},
	{"tunnels", "allow", CONF_HOW_NEW, SESSIONS},
	{"tunnels", "deny", CONF_HOW_NEW, SESSIONS},
	{"tunnels", "sessions", CONF_HOW_NEW, SESSIONS},
	{"tunnels", "memory", CONF_HOW_RESTART, SIZES},
	{"tunnels", "mtu", CONF_HOW_RESTART, NULL},
	{"tunnels", "congestion", CONF_HOW_RESTART, NULL},
	{"tunnels", "bandwidth", CONF_HOW_RESTART, NULL},
	{"tunnels", "sndwnd", CONF_HOW_RESTART, NULL},
	{"tunnels", "rcvwnd", CONF_HOW_RESTART, NULL},
	{"tunnels", "datashard", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "parityshard", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "nocomp", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "acknodelay", CONF_HOW_RESTART, NULL},
	{"tunnels", "smuxver", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "smuxbuf", CONF_HOW_RESTART, NULL},
	{"tunnels", "streambuf", CONF_HOW_RESTART, NULL},
	{"tunnels", "framesize", CONF_HOW_RESTART, NULL},
	{"tunnels", "autoexpire", CONF_HOW_NEW, SESSIONS},
	{"tunnels", "scavengettl", CONF_HOW_NEW, SESSIONS},
	{"tunnels", "ratelimit", CONF_HOW_LIVE, NULL},
	{"tunnels", "dscp", CONF_HOW_LIVE, NULL},
	{"tunnels", "sockbuf", CONF_HOW_RESTART, NULL},
	{"tunnels", "qpp", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "qpp-count", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "tcp", CONF_HOW_RESTART, SHAPE},
	{"tunnels", "replaycheck", CONF_HOW_RESTART, NULL},
	{"tunnels", "until", CONF_HOW_LIVE, NULL},
	{"tunnels", "keepalive", CONF_HOW_LIVE, NULL},
	{"tunnels", "closewait", CONF_HOW_LIVE, NULL},
};

int conf_verdict(const char *group, const char *name, const char **note)
{
	for (unsigned i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		const struct verdict *v = &verdicts[i];

		if (strcmp(v->group, group) != 0 || strcmp(v->name, name) != 0)
			continue;
		*note = v->note;
		return (int)v->how;
	}
	*note = NULL;
	return -1;
}

/* ---- a setting as text ---- */

static void print_rules(FILE *f, const struct conf_tunnel *t, bool allow)
{
	char text[ADDR_STRLEN];
	const char *comma = "";

	for (unsigned i = 0; i < t->n_rules; i++) {
		if (t->rules[i].allow != allow)
			continue;
		fprintf(f, "%s%s/%u", comma, addr_str(&t->rules[i].prefix, text), t->rules[i].plen);
		comma = ", ";
	}
}

static void print_args(FILE *f, const struct conf_eal *e)
{
	for (unsigned i = 0; e->args && e->args[i]; i++)
		fprintf(f, "%s%s", i ? ", " : "", e->args[i]);
}

static void print_addresses(FILE *f, const struct conf_port *p)
{
	char text[ADDR_STRLEN];

	for (unsigned i = 0; i < p->n_addresses; i++)
		fprintf(f, "%s%s/%u", i ? ", " : "", addr_str(&p->addresses[i].addr, text), p->addresses[i].plen);
}

static void print_gateway(FILE *f, const struct conf_port *p)
{
	char text[ADDR_STRLEN];

	for (unsigned i = 0; i < p->n_gateway; i++)
		fprintf(f, "%s%s", i ? ", " : "", addr_str(&p->gateway[i], text));
}

/* Lists, whose rows know how to append only. */
static void print_list(FILE *f, const struct conf_item *it, const void *base)
{
	fputc('[', f);
	if (!strcmp(it->name, "allow") || !strcmp(it->name, "deny"))
		print_rules(f, base, it->name[0] == 'a');
	else if (!strcmp(it->name, "args"))
		print_args(f, base);
	else if (!strcmp(it->name, "addresses"))
		print_addresses(f, base);
	else if (!strcmp(it->name, "gateway"))
		print_gateway(f, base);
	fputc(']', f);
}

/* Allocated; NULL without memory. */
static char *text_of(const struct conf_item *it, const void *base)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	if (it->flags & CONF_F_MANY)
		print_list(f, it, base);
	else
		conf_item_print(f, it, base);
	return fclose(f) ? NULL : text;
}

/* ---- the differences ---- */

struct differ {
	struct conf_diff *out;
	struct conf *now;
	const struct conf *want;
	bool (*same_key)(void *ctx, unsigned i, unsigned k);
	void *ctx;
	bool nomem;
};

static struct conf_change *add(struct differ *d, enum conf_what what, enum conf_how how, const char *note)
{
	struct conf_change *v = realloc(d->out->v, (d->out->n + 1) * sizeof(*v));

	d->nomem |= !v;
	if (!v)
		return NULL;
	d->out->v = v;
	v += d->out->n++;
	*v = (struct conf_change){.what = what, .how = how, .note = note, .tunnel = -1, .added = -1};
	d->out->n_restart += how == CONF_HOW_RESTART;
	return v;
}

/* One group of the file, now and as it is wanted. */
struct group {
	const struct conf_table *table;
	const char *name, *of; /* of: a tunnel's or a port's name; NULL: the group has one of its kind */
	void *now;
	const void *want;
	int tunnel, added;
};

static void changed(struct differ *d, const struct group *g, const struct conf_item *it, char *from, char *to)
{
	const char *note;
	int how = conf_verdict(g->name, it->name, &note);
	struct conf_change *c = add(d, CONF_CHANGED, how < 0 ? CONF_HOW_RESTART : (enum conf_how)how, note);

	if (!c) {
		free(from);
		free(to);
		return;
	}
	snprintf(c->name, sizeof(c->name), "%s%s%s.%s", g->name, g->of ? "." : "", g->of ? g->of : "", it->name);
	c->from = from;
	c->to = to;
	c->item = it;
	c->now = g->now;
	c->want = g->want;
	c->tunnel = g->tunnel;
	c->added = g->added;
}

static void look_at(struct differ *d, const struct group *g, const struct conf_item *it)
{
	char *from, *to;

	if (it->flags & CONF_F_SECRET) {
		if (!d->same_key(d->ctx, (unsigned)g->tunnel, (unsigned)g->added))
			changed(d, g, it, NULL, NULL);
		return;
	}
	from = text_of(it, g->now);
	to = text_of(it, g->want);
	d->nomem |= !from || !to;
	if (from && to && strcmp(from, to) != 0) {
		changed(d, g, it, from, to);
		return;
	}
	free(from);
	free(to);
}

static void look_through(struct differ *d, const struct group *g)
{
	for (const struct conf_item *it = g->table->items; it->name; it++)
		look_at(d, g, it);
}

static void singles(struct differ *d)
{
	struct conf *now = d->now;
	const struct conf *want = d->want;
	const struct group g[] = {
		{&conf_eal_table, "eal", NULL, &now->eal, &want->eal, -1, -1},
		{&conf_limits_table, "limits", NULL, now, want, -1, -1},
		{&conf_telemetry_table, "telemetry", NULL, &now->telemetry, &want->telemetry, -1, -1},
		{&conf_log_table, "log", NULL, &now->log, &want->log, -1, -1},
		{&conf_security_table, "security", NULL, &now->security, &want->security, -1, -1},
	};

	for (unsigned i = 0; i < sizeof(g) / sizeof(g[0]); i++)
		look_through(d, &g[i]);
}

/* What there is on one side only. */
static void lone(struct differ *d, enum conf_what what, const char *group, const char *name, int tunnel, int added)
{
	bool is_tunnel = group[0] == 't';
	const char *note = what == CONF_REMOVED ? "takes nothing new, and ends" : "listens at once";
	struct conf_change *c = is_tunnel ? add(d, what, CONF_HOW_LIVE, note) : add(d, what, CONF_HOW_RESTART, NULL);

	if (!c)
		return;
	snprintf(c->name, sizeof(c->name), "%s.%s", group, name);
	c->tunnel = tunnel;
	c->added = added;
}

static int index_of_port(const struct conf *c, const char *name)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (!strcmp(c->ports[i].name, name))
			return (int)i;
	return -1;
}

static int index_of_tunnel(const struct conf *c, const char *name)
{
	for (unsigned i = 0; i < c->n_tunnels; i++)
		if (!strcmp(c->tunnels[i].name, name))
			return (int)i;
	return -1;
}

static void ports(struct differ *d)
{
	for (unsigned i = 0; i < d->now->n_ports; i++) {
		struct conf_port *p = &d->now->ports[i];
		int k = index_of_port(d->want, p->name);
		struct group g = {&conf_port_table, "ports", p->name, p, k < 0 ? NULL : &d->want->ports[k], -1, -1};

		if (k < 0)
			lone(d, CONF_REMOVED, "ports", p->name, -1, -1);
		else
			look_through(d, &g);
	}
	for (unsigned k = 0; k < d->want->n_ports; k++)
		if (index_of_port(d->now, d->want->ports[k].name) < 0)
			lone(d, CONF_ADDED, "ports", d->want->ports[k].name, -1, -1);
}

static void tunnels(struct differ *d)
{
	for (unsigned i = 0; i < d->now->n_tunnels; i++) {
		struct conf_tunnel *t = &d->now->tunnels[i];
		int k = index_of_tunnel(d->want, t->name);
		struct group g = {
			&conf_tunnel_table, "tunnels", t->name, t, k < 0 ? NULL : &d->want->tunnels[k], (int)i, k};

		if (t->name[0] == CONF_REMOVED_MARK)
			continue;
		if (k < 0)
			lone(d, CONF_REMOVED, "tunnels", t->name, (int)i, -1);
		else
			look_through(d, &g);
	}
	for (unsigned k = 0; k < d->want->n_tunnels; k++)
		if (index_of_tunnel(d->now, d->want->tunnels[k].name) < 0)
			lone(d, CONF_ADDED, "tunnels", d->want->tunnels[k].name, -1, (int)k);
}

int conf_diff(struct conf *now, const struct conf *want, bool (*same_key)(void *ctx, unsigned i, unsigned k), void *ctx,
	      struct conf_diff *out)
{
	struct differ d = {out, now, want, same_key, ctx, false};

	*out = (struct conf_diff){0};
	singles(&d);
	ports(&d);
	tunnels(&d);
	return d.nomem ? -ENOMEM : 0;
}

void conf_diff_bar(struct conf_diff *d, struct conf_change *c, const char *why)
{
	free(c->from);
	c->from = strdup(why);
	c->note = c->from;
	d->n_restart += c->how != CONF_HOW_RESTART;
	c->how = CONF_HOW_RESTART;
}

void conf_diff_free(struct conf_diff *d)
{
	for (unsigned i = 0; i < d->n; i++) {
		free(d->v[i].from);
		free(d->v[i].to);
	}
	free(d->v);
	*d = (struct conf_diff){0};
}

/* ---- taking over ---- */

static void swap(void *a, void *b, size_t n)
{
	char *x = a, *y = b, t;

	for (size_t i = 0; i < n; i++) {
		t = x[i];
		x[i] = y[i];
		y[i] = t;
	}
}

static void swap_rules(struct conf_tunnel *a, struct conf_tunnel *b)
{
	swap(&a->rules, &b->rules, sizeof(a->rules));
	swap(&a->n_rules, &b->n_rules, sizeof(a->n_rules));
	swap(&a->n_allow, &b->n_allow, sizeof(a->n_allow));
}

static size_t size_of(const struct conf_item *it)
{
	switch (it->kind) {
	case CONF_BOOL:
		return sizeof(bool);
	case CONF_RATE:
		return sizeof(uint64_t);
	case CONF_UINT:
	case CONF_INT:
	case CONF_ENUM:
	case CONF_AUTO:
		return sizeof(int);
	case CONF_WORD:
		return it->size;
	case CONF_TEXT:
		break;
	}
	return it->size ? it->size : sizeof(char *);
}

/* Of a list's two parts, and of what two rows have in common, only the first that comes changes anything. */
void conf_adopt(const struct conf_change *c)
{
	const struct conf_item *it = c->item;
	void *want = (void *)c->want;

	if (c->what != CONF_CHANGED || c->how == CONF_HOW_RESTART)
		return;
	if (!(it->flags & CONF_F_MANY)) {
		swap((char *)c->now + it->offset, (char *)want + it->offset, size_of(it));
	} else if (!strcmp(it->name, "allow") || !strcmp(it->name, "deny")) {
		char *have = text_of(it, c->now);

		if (have && c->from && !strcmp(have, c->from))
			swap_rules(c->now, want);
		free(have);
	}
}

const char *conf_change_text(const struct conf_change *c, char buf[CONF_CHANGE_TEXT])
{
	static const char *const how[] = {"no effect by itself", "applied", "applied", "needs a restart"};
	const char *note = c->note ? c->note : "", *colon = c->note ? ": " : "";

	if (c->what != CONF_CHANGED)
		snprintf(buf, CONF_CHANGE_TEXT, "%s: %s (%s%s%s)", c->name, c->what == CONF_ADDED ? "added" : "removed",
			 how[c->how], colon, note);
	else if (!c->from || !c->to)
		snprintf(buf, CONF_CHANGE_TEXT, "%s: changed (%s%s%s)", c->name, how[c->how], colon, note);
	else
		snprintf(buf, CONF_CHANGE_TEXT, "%s: %.120s -> %.120s (%s%s%s)", c->name, c->from, c->to, how[c->how],
			 colon, note);
	return buf;
}
