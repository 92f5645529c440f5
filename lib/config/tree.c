/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* libconfig's tree, walked into values and handed to the tables. */

static struct conf_value value_of(const config_setting_t *s)
{
	struct conf_value v = {.line = config_setting_source_line(s)};

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_BOOL:
		v.kind = CONF_V_BOOL;
		v.i = config_setting_get_bool(s);
		break;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		v.kind = CONF_V_INT;
		v.i = config_setting_get_int64(s);
		break;
	case CONFIG_TYPE_FLOAT:
		v.kind = CONF_V_REAL;
		v.real = config_setting_get_float(s);
		break;
	case CONFIG_TYPE_STRING:
		v.kind = CONF_V_TEXT;
		v.text = config_setting_get_string(s);
		break;
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		v.kind = CONF_V_LIST;
		v.n = (unsigned)config_setting_length(s);
		break;
	default:
		v.kind = CONF_V_GROUP;
	}
	return v;
}

static int set_one(struct conf_reader *r, struct conf_obj *o, const config_setting_t *s)
{
	struct conf_value v = value_of(s), *list;
	int rc;

	if (v.kind == CONF_V_TEXT && strcmp(config_setting_name(s), CONF_SECRET_NAME) == 0)
		v.text = conf_secret_get(r, v.text);
	if (v.kind != CONF_V_LIST || v.n == 0)
		return conf_obj_set(r, o, config_setting_name(s), &v);
	list = calloc(v.n, sizeof(*list));
	if (!list) {
		conf_fail(r, v.line, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < v.n; i++)
		list[i] = value_of(config_setting_get_elem(s, i));
	v.list = list;
	rc = conf_obj_set(r, o, config_setting_name(s), &v);
	free(list);
	return rc;
}

static int read_group(struct conf_reader *r, struct conf_obj *o, const config_setting_t *s)
{
	int rc = 0;

	o->line = config_setting_source_line(s);
	for (int i = 0; i < config_setting_length(s) && rc == 0; i++)
		rc = set_one(r, o, config_setting_get_elem(s, (unsigned)i));
	return rc;
}

/* ---- the sections ---- */

static int fail_section(struct conf_reader *r, const config_setting_t *s, const char *allowed)
{
	struct conf_value v = value_of(s);
	char found[CONF_FOUND_MAX];

	return conf_fail(r, v.line, "%s: found %s; allowed: %s", config_setting_name(s), conf_found(&v, false, found),
			 allowed);
}

static int read_single(struct conf_reader *r, struct conf_obj *o, const config_setting_t *s)
{
	return config_setting_is_group(s) ? read_group(r, o, s) : fail_section(r, s, "a group { ... }");
}

static void obj_path(struct conf_obj *o, const config_setting_t *list, const config_setting_t *s, unsigned index)
{
	const char *section = config_setting_name(list), *name;

	if (config_setting_lookup_string(s, "name", &name) && conf_name_ok(name))
		snprintf(o->path, sizeof(o->path), "%s.%s", section, name);
	else
		snprintf(o->path, sizeof(o->path), "%s[%u]", section, index);
}

static int fail_element(struct conf_reader *r, const config_setting_t *list, unsigned i)
{
	struct conf_value v = value_of(config_setting_get_elem(list, i));
	char found[CONF_FOUND_MAX];

	return conf_fail(r, v.line, "%s[%u]: found %s; allowed: a group { ... }", config_setting_name(list), i,
			 conf_found(&v, false, found));
}

static int read_many(struct conf_reader *r, struct conf_obj *objs, const config_setting_t *list)
{
	unsigned n = (unsigned)config_setting_length(list);
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++) {
		const config_setting_t *s = config_setting_get_elem(list, i);

		if (!config_setting_is_group(s))
			return fail_element(r, list, i);
		obj_path(&objs[i], list, s, i);
		rc = read_group(r, &objs[i], s);
	}
	return rc;
}

static int fail_count(struct conf_reader *r, const config_setting_t *s, unsigned n, unsigned max)
{
	return conf_fail(r, config_setting_source_line(s), "%s: found %u; allowed: 1 to %u", config_setting_name(s), n,
			 max);
}

static int fail_nomem(struct conf_reader *r)
{
	snprintf(r->why, r->why_n, "%s: %s", r->path, strerror(ENOMEM));
	return -ENOMEM;
}

static int read_ports(struct conf_reader *r, const config_setting_t *s)
{
	unsigned n = (unsigned)config_setting_length(s);
	struct conf *c = r->c;

	if (!config_setting_is_list(s) && n > 0)
		return fail_section(r, s, "a list of groups ( { ... }, { ... } )");
	if (n < 1 || n > CONF_PORTS_MAX)
		return fail_count(r, s, n, CONF_PORTS_MAX);
	c->ports = calloc(n, sizeof(*c->ports));
	r->ports = calloc(n, sizeof(*r->ports));
	if (!c->ports || !r->ports)
		return fail_nomem(r);
	c->n_ports = n;
	for (unsigned i = 0; i < n; i++) {
		conf_port_defaults(&c->ports[i]);
		r->ports[i] = (struct conf_obj){.table = &conf_port_table, .base = &c->ports[i]};
	}
	return read_many(r, r->ports, s);
}

static int read_tunnels(struct conf_reader *r, const config_setting_t *s)
{
	unsigned n = (unsigned)config_setting_length(s);
	struct conf *c = r->c;

	if (!config_setting_is_list(s) && n > 0)
		return fail_section(r, s, "a list of groups ( { ... }, { ... } )");
	if (n < 1 || n > CONF_TUNNELS_MAX)
		return fail_count(r, s, n, CONF_TUNNELS_MAX);
	c->tunnels = calloc(n, sizeof(*c->tunnels));
	r->tunnels = calloc(n, sizeof(*r->tunnels));
	if (!c->tunnels || !r->tunnels)
		return fail_nomem(r);
	c->n_tunnels = n;
	for (unsigned i = 0; i < n; i++) {
		conf_tunnel_defaults(&c->tunnels[i]);
		r->tunnels[i] = (struct conf_obj){.table = &conf_tunnel_table, .base = &c->tunnels[i]};
	}
	return read_many(r, r->tunnels, s);
}

static int read_section(struct conf_reader *r, const config_setting_t *s)
{
	static const char *const sections[] = {"eal",	    "ports", "tunnels",	 "limits",
					       "telemetry", "log",   "security", NULL};
	const char *name = config_setting_name(s);
	struct conf_obj *singles[] = {&r->eal, &r->limits, &r->telemetry, &r->log, &r->security};
	struct conf_nearest near;

	for (unsigned i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
		if (strcmp(singles[i]->path, name) == 0)
			return read_single(r, singles[i], s);
	if (strcmp(name, "ports") == 0)
		return read_ports(r, s);
	if (strcmp(name, "tunnels") == 0)
		return read_tunnels(r, s);
	conf_nearest_start(&near, name);
	for (unsigned i = 0; sections[i]; i++)
		conf_nearest_try(&near, sections[i]);
	if (near.best)
		return conf_fail(r, config_setting_source_line(s), "%.40s: found an unknown name; did you mean `%s'?",
				 name, near.best);
	return conf_fail(r, config_setting_source_line(s),
			 "%.40s: found an unknown name; allowed: eal, ports, tunnels, limits, telemetry, log, security",
			 name);
}

/* libconfig would free the passphrases as they are.  Its strings are its own, but nobody else's: they may be written.
 */
static void wipe_texts(const config_setting_t *s)
{
	if (config_setting_type(s) == CONFIG_TYPE_STRING && s->value.sval)
		explicit_bzero(s->value.sval, strlen(s->value.sval));
	if (!config_setting_is_aggregate(s))
		return;
	for (int i = 0; i < config_setting_length(s); i++)
		wipe_texts(config_setting_get_elem(s, (unsigned)i));
}

static int fail_syntax(struct conf_reader *r, const config_t *tree)
{
	const char *text = config_error_text(tree);

	if (strcmp(text, "syntax error") == 0)
		text = "this is not libconfig's grammar";
	return conf_fail(r, (unsigned)config_error_line(tree), "syntax error: %s", text);
}

int conf_tree_read(struct conf_reader *r, const char *text)
{
	config_setting_t *root;
	config_t tree;
	int rc = 0;

	config_init(&tree);
	if (!config_read_string(&tree, text))
		rc = fail_syntax(r, &tree);
	root = config_root_setting(&tree);
	for (int i = 0; rc == 0 && i < config_setting_length(root); i++)
		rc = read_section(r, config_setting_get_elem(root, (unsigned)i));
	wipe_texts(root);
	config_destroy(&tree);
	return rc;
}
