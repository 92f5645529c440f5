/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* A configuration that is in force, setting by setting, for who looks at a running gateway. */

#define PLAIN 5 /* groups that there are one of; ports and tunnels follow */

struct place {
	struct conf_object is;
	const struct conf_table *table;
	const void *base;
	unsigned role; /* CONF_R_* of a tunnel, else 0 */
};

unsigned conf_objects(const struct conf *c)
{
	return PLAIN + c->n_ports + c->n_tunnels;
}

static struct place place(const struct conf *c, unsigned i)
{
	const struct place plain[PLAIN] = {
		{{"eal", NULL}, &conf_eal_table, &c->eal, 0},
		{{"limits", NULL}, &conf_limits_table, c, 0},
		{{"telemetry", NULL}, &conf_telemetry_table, &c->telemetry, 0},
		{{"log", NULL}, &conf_log_table, &c->log, 0},
		{{"security", NULL}, &conf_security_table, &c->security, 0},
	};
	const struct conf_tunnel *t;

	if (i < PLAIN)
		return plain[i];
	i -= PLAIN;
	if (i < c->n_ports)
		return (struct place){{"ports", c->ports[i].name}, &conf_port_table, &c->ports[i], 0};
	t = &c->tunnels[i - c->n_ports];
	return (struct place){{"tunnels", t->name}, &conf_tunnel_table, t, 1u << t->role};
}

struct conf_object conf_object(const struct conf *c, unsigned i)
{
	return place(c, i).is;
}

/* ---- values that are no single field ---- */

static void comma(FILE *f, unsigned i)
{
	if (i)
		fputs(", ", f);
}

static void put_args(FILE *f, const void *base)
{
	char *const *args = ((const struct conf_eal *)base)->args;

	for (unsigned i = 0; args && args[i]; i++) {
		comma(f, i);
		fputs(args[i], f);
	}
}

static void put_device(FILE *f, const void *base)
{
	fputs(((const struct conf_port *)base)->device, f);
}

static void put_port_name(FILE *f, const void *base)
{
	fputs(((const struct conf_port *)base)->name, f);
}

static void put_ifname(FILE *f, const void *base)
{
	fputs(((const struct conf_port *)base)->ifname, f);
}

static void put_addresses(FILE *f, const void *base)
{
	const struct conf_port *p = base;
	char text[ADDR_STRLEN];

	for (unsigned i = 0; i < p->n_addresses; i++) {
		comma(f, i);
		fprintf(f, "%s/%u", addr_str(&p->addresses[i].addr, text), p->addresses[i].plen);
	}
}

static void put_gateway(FILE *f, const void *base)
{
	const struct conf_port *p = base;
	char text[ADDR_STRLEN];

	for (unsigned i = 0; i < p->n_gateway; i++) {
		comma(f, i);
		fputs(addr_str(&p->gateway[i], text), f);
	}
}

static void put_rules(FILE *f, const struct conf_tunnel *t, bool allow)
{
	char text[ADDR_STRLEN];
	unsigned n = 0;

	for (unsigned i = 0; i < t->n_rules; i++) {
		if (t->rules[i].allow != allow)
			continue;
		comma(f, n++);
		fprintf(f, "%s/%u", addr_str(&t->rules[i].prefix, text), t->rules[i].plen);
	}
}

static void put_allow(FILE *f, const void *base)
{
	put_rules(f, base, true);
}

static void put_deny(FILE *f, const void *base)
{
	put_rules(f, base, false);
}

static void put_bandwidth(FILE *f, const void *base)
{
	const struct conf_tunnel *t = base;
	char text[CONF_BANDWIDTH_MAX];

	if (t->bandwidth.up)
		fputs(conf_bandwidth_text(&t->bandwidth, text), f);
}

static const struct special {
	const struct conf_table *table;
	const char *name;
	void (*put)(FILE *f, const void *base);
} specials[] = {
	{&conf_eal_table, "args", put_args},
	{&conf_port_table, "name", put_port_name},
	{&conf_port_table, "device", put_device},
	{&conf_port_table, "ifname", put_ifname},
	{&conf_port_table, "addresses", put_addresses},
	{&conf_port_table, "gateway", put_gateway},
	{&conf_tunnel_table, "allow", put_allow},
	{&conf_tunnel_table, "deny", put_deny},
	{&conf_tunnel_table, "bandwidth", put_bandwidth},
};

static const struct special *special(const struct conf_table *table, const char *name)
{
	for (unsigned i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
		if (specials[i].table == table && !strcmp(specials[i].name, name))
			return &specials[i];
	return NULL;
}

/* ---- all of them ---- */

static bool number(const struct conf_item *it, const void *field, int64_t *n)
{
	switch (it->kind) {
	case CONF_UINT:
		*n = *(const unsigned *)field;
		return true;
	case CONF_INT:
		*n = *(const int *)field;
		return true;
	case CONF_RATE:
		*n = (int64_t) * (const uint64_t *)field;
		return true;
	default:
		return false;
	}
}

/* Its text as one would type it, without quotes; allocated. */
static char *text_of(const struct place *p, const struct conf_item *it)
{
	const struct special *sp = special(p->table, it->name);
	const void *field = (const char *)p->base + it->offset;
	char *text = NULL;
	size_t n;
	FILE *f;

	if (!sp && it->kind == CONF_TEXT) {
		const char *plain = it->get ? NULL : *(char *const *)field;

		return it->get ? it->get(field) : strdup(plain ? plain : "");
	}
	f = open_memstream(&text, &n);
	if (!f)
		return NULL;
	if (sp)
		sp->put(f, p->base);
	else if (it->kind == CONF_ENUM)
		fputs(it->words[*(const int *)field], f);
	else if (it->kind == CONF_WORD)
		fputs(field, f);
	else
		conf_item_print(f, it, p->base);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/* A passphrase is none's to see; a list that nobody has written a text for is left out. */
static bool is_shown(const struct place *p, const struct conf_item *it)
{
	if (it->flags & CONF_F_SECRET || (p->role && it->roles && !(it->roles & p->role)))
		return false;
	return !(it->flags & CONF_F_MANY) || special(p->table, it->name);
}

int conf_object_each(const struct conf *c, unsigned i, int (*fn)(void *ctx, const struct conf_setting *s), void *ctx)
{
	const struct place p = place(c, i);
	int ret = 0;

	for (const struct conf_item *it = p.table->items; it->name && !ret; it++) {
		struct conf_setting s = {.name = it->name};
		char *text = NULL;

		if (!is_shown(&p, it))
			continue;
		s.is_number = number(it, (const char *)p.base + it->offset, &s.number);
		if (!s.is_number) {
			text = text_of(&p, it);
			if (!text)
				return -ENOMEM;
		}
		s.text = text;
		ret = fn(ctx, &s);
		free(text);
	}
	return ret;
}
