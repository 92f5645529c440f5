/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "flags.h"

/*
 * kcptun's JSON file (wire.md 9.4): one object; keys in any case; of two the last wins; null is as good as nothing;
 * what stands behind the object is not read.  jansson judges the grammar, but keeps neither lines nor order: so the
 * members are found here in the text it has found good, and given to it one by one.
 */

/* ---- no passphrase stays behind in jansson's memory ---- */

static void free_wiped(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* ---- members in good text ---- */

struct cursor {
	const char *p;
	unsigned line;
};

static void step(struct cursor *c)
{
	c->line += *c->p == '\n';
	c->p++;
}

static void skip_blanks(struct cursor *c)
{
	while (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r')
		step(c);
}

static void skip_string(struct cursor *c)
{
	for (step(c); *c->p != '"'; step(c))
		if (*c->p == '\\')
			step(c);
	step(c);
}

/* A whole value, objects and arrays with all within. */
static void skip_value(struct cursor *c)
{
	unsigned depth = 0;

	do {
		if (*c->p == '"') {
			skip_string(c);
			continue;
		}
		if (depth == 0 && !strchr("{[", *c->p)) {
			while (!strchr(" \t\r\n,]}", *c->p))
				step(c);
			return;
		}
		depth += strchr("{[", *c->p) != NULL;
		depth -= strchr("}]", *c->p) != NULL;
		step(c);
	} while (depth > 0);
}

/* The value of a piece of the text.  It is good, so NULL means no memory. */
static json_t *decode(const char *from, const char *to)
{
	return json_loadb(from, (size_t)(to - from), JSON_DECODE_ANY, NULL);
}

static bool value_of(const json_t *j, struct conf_value *v)
{
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		v->kind = CONF_V_GROUP;
		break;
	case JSON_ARRAY:
		v->kind = CONF_V_LIST;
		break;
	case JSON_STRING:
		v->kind = CONF_V_TEXT;
		v->text = json_string_value(j);
		break;
	case JSON_INTEGER:
		v->kind = CONF_V_INT;
		v->i = json_integer_value(j);
		break;
	case JSON_REAL:
		v->kind = CONF_V_REAL;
		v->real = json_real_value(j);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		v->kind = CONF_V_BOOL;
		v->i = json_is_true(j);
		break;
	case JSON_NULL:
		return false;
	}
	return true;
}

typedef int member_fn(void *ctx, const char *key, struct conf_value *v);

static int member(struct conf_reader *r, struct cursor *c, member_fn *fn, void *ctx)
{
	const char *key_at = c->p, *at;
	struct conf_value v = {.line = c->line};
	json_t *key, *value = NULL;
	int rc = -ENOMEM;

	skip_string(c);
	key = decode(key_at, c->p);
	skip_blanks(c);
	step(c); /* the colon */
	skip_blanks(c);
	at = c->p;
	skip_value(c);
	value = decode(at, c->p);
	if (key && value)
		rc = value_of(value, &v) ? fn(ctx, json_string_value(key), &v) : 0;
	else
		conf_fail(r, v.line, "%s", strerror(ENOMEM));
	json_decref(key);
	json_decref(value);
	return rc;
}

static int members(struct conf_reader *r, const char *text, member_fn *fn, void *ctx)
{
	struct cursor c = {text, 1};
	int rc = 0;

	skip_blanks(&c);
	step(&c); /* the bracket */
	skip_blanks(&c);
	while (rc == 0 && *c.p != '}') {
		rc = member(r, &c, fn, ctx);
		skip_blanks(&c);
		if (*c.p == ',')
			step(&c);
		skip_blanks(&c);
	}
	return rc;
}

static void cut(char *text, const char *from)
{
	char *at = strstr(text, from);

	if (at)
		*at = '\0';
}

/* jansson passes over a NUL behind a number or a word: among the n bytes that it counts of the object is one then. */
static int check_nul(struct conf_reader *r, const char *text, size_t n)
{
	const char *nul = memchr(text, '\0', n);
	unsigned line = 1;

	if (!nul)
		return 0;
	for (const char *p = text; p < nul; p++)
		line += *p == '\n';
	return conf_fail(r, line, "syntax error: found a NUL byte");
}

static int check_grammar(struct conf_reader *r, const char *text, size_t n)
{
	json_error_t e;
	json_t *root = json_loadb(text, n, JSON_DISABLE_EOF_CHECK, &e);
	bool object = json_is_object(root);

	json_decref(root);
	if (object)
		return check_nul(r, text, (size_t)e.position);
	if (root)
		return conf_fail(r, 1, "syntax error: found an array; allowed: an object { ... }");
	/* "... near 'TOKEN'" could show a part of the passphrase, "... without FLAG" is for programmers. */
	cut(e.text, " near ");
	cut(e.text, " without ");
	return conf_fail(r, e.line > 0 ? (unsigned)e.line : 1, "syntax error: %s", e.text);
}

int conf_json_each(struct conf_reader *r, member_fn *fn, void *ctx)
{
	json_malloc_t old_malloc;
	json_free_t old_free;
	char *text;
	size_t n;
	int rc = 0;

	text = conf_file_read(r, &n, &rc);
	if (!text)
		return rc;
	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(malloc, free_wiped);
	rc = check_grammar(r, text, n);
	if (rc == 0)
		rc = members(r, text, fn, ctx);
	json_set_alloc_funcs(old_malloc, old_free);
	conf_text_free(text, n);
	return rc;
}

/* ---- members into settings ---- */

static int set_member(void *ctx, const char *key, struct conf_value *v)
{
	struct conf_args *a = ctx;
	const struct conf_flag *f = conf_flag_find(key, strlen(key), a->role, true);
	const char *near, *role = a->role == CONF_SERVER ? "server" : "client";
	char quoted[CONF_FOUND_MAX];

	if (f && (f->roles & 1u << a->role))
		return conf_flag_set(a, f, v);
	if (f) {
		conf_warn(&a->r, v->line, "%s: has no effect on a %s", f->name, role);
		return 0;
	}
	near = conf_flag_nearest(key, a->role, true);
	conf_quote(key, quoted);
	if (near)
		return conf_fail(&a->r, v->line, "%s: found an unknown key; did you mean \"%s\"?", quoted, near);
	return conf_fail(&a->r, v->line, "%s: found an unknown key; allowed: those of kcptun (kcpgate %s --help)",
			 quoted, role);
}

int conf_json_read(struct conf_args *a)
{
	return conf_json_each(&a->r, set_member, a);
}
