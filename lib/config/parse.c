/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

#define WHY_MAX 512

/* ---- messages ---- */

static bool in_file(unsigned line)
{
	return line < CONF_LINE_ENV;
}

int conf_fail(struct conf_reader *r, unsigned line, const char *fmt, ...)
{
	char text[WHY_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (in_file(line))
		snprintf(r->why, r->why_n, "%s:%u: %s", r->path, line, text);
	else
		snprintf(r->why, r->why_n, "%s", text);
	return -EINVAL;
}

void conf_warn(struct conf_reader *r, unsigned line, const char *fmt, ...)
{
	char **more = realloc(r->c->warnings, (r->c->n_warnings + 1) * sizeof(*more)), text[WHY_MAX];
	va_list ap;
	int n;

	r->nomem |= !more;
	if (!more)
		return;
	r->c->warnings = more;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (in_file(line))
		n = asprintf(&more[r->c->n_warnings], "%s:%u: %s", r->path, line, text);
	else
		n = asprintf(&more[r->c->n_warnings], "%s", text);
	if (n < 0)
		r->nomem = true;
	else
		r->c->n_warnings++;
}

const struct conf_item *conf_item_find(const struct conf_table *table, const char *name)
{
	for (const struct conf_item *it = table->items; it->name; it++)
		if (strcmp(it->name, name) == 0 || (it->alias && strcmp(it->alias, name) == 0))
			return it;
	return NULL;
}

static int find(const struct conf_obj *o, const char *name)
{
	const struct conf_item *it = conf_item_find(o->table, name);

	return it ? (int)(it - o->table->items) : -1;
}

unsigned conf_obj_line(const struct conf_obj *o, const char *name)
{
	return o->given[find(o, name)].line;
}

void conf_obj_forget(struct conf_obj *o, const char *name)
{
	o->given[find(o, name)].line = 0;
}

const char *conf_obj_where(const struct conf_obj *o, const char *spelled, unsigned line, char buf[CONF_WHERE_MAX])
{
	if (line == CONF_LINE_ENV)
		snprintf(buf, CONF_WHERE_MAX, "KCPTUN_KEY");
	else if (line == CONF_LINE_ARGV)
		snprintf(buf, CONF_WHERE_MAX, "--%.40s", spelled);
	else
		snprintf(buf, CONF_WHERE_MAX, "%s%s%.40s", o->path, o->path[0] != '\0' ? "." : "", spelled);
	return buf;
}

/* Where a message about a setting points, and the name under which the file knows it. */
static unsigned point_at(const struct conf_obj *o, const char **name)
{
	int i = find(o, *name);

	if (i < 0 || o->given[i].line == 0)
		return o->line;
	*name = o->given[i].spelled;
	return o->given[i].line;
}

int conf_obj_fail(struct conf_reader *r, const struct conf_obj *o, const char *name, const char *fmt, ...)
{
	unsigned line = point_at(o, &name);
	char text[WHY_MAX], where[CONF_WHERE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return conf_fail(r, line, "%s: %s", conf_obj_where(o, name, line, where), text);
}

void conf_obj_warn(struct conf_reader *r, const struct conf_obj *o, const char *name, const char *fmt, ...)
{
	unsigned line = point_at(o, &name);
	char text[WHY_MAX], where[CONF_WHERE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	conf_warn(r, line, "%s: %s", conf_obj_where(o, name, line, where), text);
}

const char *conf_quote(const char *text, char buf[CONF_FOUND_MAX])
{
	size_t n = 0;

	buf[n++] = '"';
	for (; *text != '\0' && n < CONF_FOUND_MAX - 5; text++)
		buf[n++] = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
	memcpy(buf + n, *text == '\0' ? "\"" : "\"...", *text == '\0' ? 2 : 5);
	return buf;
}

const char *conf_found(const struct conf_value *v, bool secret, char buf[CONF_FOUND_MAX])
{
	switch (v->kind) {
	case CONF_V_LIST:
		return "a list";
	case CONF_V_GROUP:
		return "a group";
	case CONF_V_TEXT:
		return secret ? "a string (not shown)" : conf_quote(v->text, buf);
	case CONF_V_BOOL:
		return v->i ? "true" : "false";
	case CONF_V_INT:
		snprintf(buf, CONF_FOUND_MAX, "%lld", (long long)v->i);
		break;
	case CONF_V_REAL:
		snprintf(buf, CONF_FOUND_MAX, "%g", v->real);
		break;
	}
	return secret ? "a number (not shown)" : buf;
}

const char *conf_item_allowed(const struct conf_item *it, char buf[CONF_ALLOWED_MAX])
{
	size_t n = 0;

	switch (it->kind) {
	case CONF_BOOL:
	case CONF_AUTO:
		n = (size_t)snprintf(buf, CONF_ALLOWED_MAX, "true%s false", it->word ? "," : " or");
		break;
	case CONF_UINT:
	case CONF_INT:
		n = (size_t)snprintf(buf, CONF_ALLOWED_MAX, "an integer from %lld to %lld", (long long)it->min,
				     (long long)it->max);
		break;
	case CONF_RATE:
		snprintf(buf, CONF_ALLOWED_MAX, "an integer up to %lld", (long long)it->max);
		break;
	case CONF_ENUM:
	case CONF_WORD:
		for (unsigned i = 0; it->words[i] && n < CONF_ALLOWED_MAX; i++)
			n += (size_t)snprintf(buf + n, CONF_ALLOWED_MAX - n, "%s\"%s\"", i ? ", " : "", it->words[i]);
		break;
	case CONF_TEXT:
		snprintf(buf, CONF_ALLOWED_MAX, "%s%s", it->flags & CONF_F_MANY ? "a list of strings, each " : "",
			 it->allowed);
		break;
	}
	if (it->word)
		snprintf(buf + n, CONF_ALLOWED_MAX - n, " or \"%s\"", it->word);
	return buf;
}

/* ---- one value ---- */

static int word_index(const char *const *words, const char *text)
{
	for (int i = 0; words && words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return -1;
}

/* The word of a row that has one: false when that is not what v is. */
static bool store_word(const struct conf_item *it, void *field, const struct conf_value *v)
{
	if (!it->word || v->kind != CONF_V_TEXT || strcmp(it->word, v->text) != 0)
		return false;
	if (it->kind == CONF_BOOL)
		*(uint8_t *)field = it->word_value;
	else
		*(unsigned *)field = it->word_value;
	return true;
}

/* The field of each kind.  -EINVAL: not of the kind, or out of range; *allowed may say more. */
static int store(const struct conf_item *it, void *field, const struct conf_value *v, const char **allowed)
{
	int i;

	if (store_word(it, field, v))
		return 0;
	switch (it->kind) {
	case CONF_BOOL:
	case CONF_AUTO:
		if (v->kind != CONF_V_BOOL)
			return -EINVAL;
		if (it->kind == CONF_BOOL)
			*(uint8_t *)field = v->i != 0;
		else
			*(enum conf_hugepages *)field = v->i ? CONF_HUGE_YES : CONF_HUGE_NO;
		return 0;
	case CONF_UINT:
	case CONF_INT:
		if (v->kind != CONF_V_INT || v->i < it->min || v->i > it->max)
			return -EINVAL;
		if (it->kind == CONF_UINT)
			*(unsigned *)field = (unsigned)v->i;
		else
			*(int *)field = (int)v->i;
		return 0;
	case CONF_RATE:
		if (v->kind != CONF_V_INT || v->i > it->max)
			return -EINVAL;
		*(uint64_t *)field = v->i < 0 ? 0 : (uint64_t)v->i;
		return 0;
	case CONF_ENUM:
	case CONF_WORD:
		i = v->kind == CONF_V_TEXT ? word_index(it->words, v->text) : -1;
		if (i < 0)
			return -EINVAL;
		if (it->kind == CONF_ENUM)
			*(int *)field = i;
		else
			snprintf(field, it->size, "%s", it->words[i]);
		return 0;
	case CONF_TEXT:
		return v->kind == CONF_V_TEXT ? it->put(field, v->text, allowed) : -EINVAL;
	}
	return -EINVAL;
}

/* index: of a list's element, or -1.  allowed: NULL for what the row says. */
static int fail_value(struct conf_reader *r, const struct conf_obj *o, const struct conf_item *it, const char *spelled,
		      int index, const struct conf_value *v, const char *allowed)
{
	bool later = v->kind == CONF_V_TEXT && word_index(it->later, v->text) >= 0;
	char found[CONF_FOUND_MAX], buf[CONF_ALLOWED_MAX], where[CONF_WHERE_MAX], element[24] = "";

	if (index >= 0)
		snprintf(element, sizeof(element), "[%d]", index);
	if (!allowed)
		allowed = index < 0 ? conf_item_allowed(it, buf) : it->allowed;
	return conf_fail(r, v->line, "%s%s: found %s%s; allowed: %s", conf_obj_where(o, spelled, v->line, where),
			 element, conf_found(v, it->flags & CONF_F_SECRET, found),
			 later ? ", which is not supported by this version" : "", allowed);
}

static int set_one(struct conf_reader *r, struct conf_obj *o, const struct conf_item *it, const char *spelled,
		   int index, const struct conf_value *v)
{
	const char *allowed = NULL;
	char where[CONF_WHERE_MAX];
	int rc = store(it, (char *)o->base + it->offset, v, &allowed);

	if (rc == -ENOMEM)
		conf_fail(r, v->line, "%s: %s", conf_obj_where(o, spelled, v->line, where), strerror(ENOMEM));
	else if (rc < 0)
		rc = fail_value(r, o, it, spelled, index, v, allowed);
	return rc;
}

static int set_list(struct conf_reader *r, struct conf_obj *o, const struct conf_item *it, const char *spelled,
		    const struct conf_value *v)
{
	int rc = 0;

	for (unsigned i = 0; i < v->n && rc == 0; i++)
		rc = set_one(r, o, it, spelled, (int)i, &v->list[i]);
	return rc;
}

/* ---- names ---- */

static int fail_unknown(struct conf_reader *r, const struct conf_obj *o, const char *name, unsigned line)
{
	const struct conf_item *items = o->table->items;
	const struct conf_later *later = o->table->later;
	struct conf_nearest near;
	char all[2 * CONF_ALLOWED_MAX];
	size_t n = 0;

	for (; later && later->name; later++)
		if (strcasecmp(later->name, name) == 0)
			return conf_fail(r, line, "%s.%.40s: found %s", o->path, name, later->advice);
	conf_nearest_start(&near, name);
	for (unsigned i = 0; items[i].name; i++) {
		conf_nearest_try(&near, items[i].name);
		if (items[i].alias)
			conf_nearest_try(&near, items[i].alias);
		if (n < sizeof(all))
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", i ? ", " : "", items[i].name);
	}
	if (near.best)
		return conf_fail(r, line, "%s.%.40s: found an unknown name; did you mean `%s'?", o->path, name,
				 near.best);
	return conf_fail(r, line, "%s.%.40s: found an unknown name; allowed: %s", o->path, name, all);
}

int conf_obj_set(struct conf_reader *r, struct conf_obj *o, const char *name, const struct conf_value *v)
{
	int i = find(o, name), rc;
	const struct conf_item *it;
	const char *spelled;

	if (i < 0)
		return fail_unknown(r, o, name, v->line);
	it = &o->table->items[i];
	spelled = strcmp(it->name, name) == 0 ? it->name : it->alias;
	if (v->name)
		spelled = v->name;
	if (o->given[i].line)
		return conf_fail(r, v->line, "%s.%s: found %s and %s; allowed: one of the two names", o->path, spelled,
				 o->given[i].spelled, spelled);
	if ((it->flags & CONF_F_MANY) && v->kind == CONF_V_LIST)
		rc = set_list(r, o, it, spelled, v);
	else if (it->flags & CONF_F_MANY)
		rc = fail_value(r, o, it, spelled, -1, v, NULL);
	else
		rc = set_one(r, o, it, spelled, -1, v);
	if (rc < 0)
		return rc;
	o->given[i].line = v->line;
	o->given[i].spelled = spelled;
	return 0;
}

static const char *role_str(unsigned roles)
{
	return roles == CONF_R_SERVER ? "server" : "client";
}

int conf_obj_roles(struct conf_reader *r, const struct conf_obj *o, unsigned role)
{
	const struct conf_item *it = o->table->items;
	char buf[CONF_ALLOWED_MAX];

	for (unsigned i = 0; it->name; i++, it++) {
		bool alias = o->given[i].line && o->given[i].spelled == it->alias;
		unsigned roles = alias && it->alias_roles ? it->alias_roles : it->roles;

		if (o->given[i].line && roles && !(roles & role))
			return conf_obj_fail(r, o, o->given[i].spelled, "found in a %s; allowed: only in a %s",
					     role_str(role), role_str(roles));
		if (!o->given[i].line && (it->flags & CONF_F_NEEDED) && (roles == 0 || (roles & role)))
			return conf_obj_fail(r, o, it->name, "found nothing; allowed: %s (%s)",
					     conf_item_allowed(it, buf), it->help);
	}
	return 0;
}

/* ---- texts ---- */

int conf_put_text(void *field, const char *text, const char **allowed)
{
	char *copy = strdup(text), **at = field;

	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

bool conf_name_ok(const char *name)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
	size_t n = strlen(name);

	return n > 0 && n < CONF_NAME_MAX && strspn(name, chars) == n && name[0] != '-' && name[0] != '.';
}

char *conf_get_name(const void *field)
{
	return strdup(field);
}

int conf_put_name(void *field, const char *text, const char **allowed)
{
	if (!conf_name_ok(text))
		return -EINVAL;
	snprintf(field, CONF_NAME_MAX, "%s", text);
	return 0;
}
