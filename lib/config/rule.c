/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* Prefixes of a tunnel's allow and deny. */

#define RULES_MAX 4096 /* of a tunnel */

static bool has_host_bits(const struct conf_rule *r)
{
	for (unsigned bit = r->plen + (addr_is_v4(&r->prefix) ? 96 : 0); bit < 128; bit++)
		if (r->prefix.b[bit / 8] & 0x80 >> bit % 8)
			return true;
	return false;
}

static bool is_known(const struct conf_tunnel *t, const struct conf_rule *r)
{
	for (unsigned i = 0; i < t->n_rules; i++)
		if (t->rules[i].plen == r->plen && addr_eq(&t->rules[i].prefix, &r->prefix))
			return true;
	return false;
}

/* In its own family's form: "::ffff:192.0.2.0" would have two lengths of prefix.  No zone: a prefix is of all links. */
static int parse(const char *text, struct conf_rule *r, const char **allowed)
{
	const char *slash = strchr(text, '/');
	char literal[ADDR_STRLEN], *end;
	unsigned long plen;

	if (!slash || slash - text >= (ptrdiff_t)sizeof(literal))
		return -EINVAL;
	snprintf(literal, sizeof(literal), "%.*s", (int)(slash - text), text);
	if (addr_parse(literal, &r->prefix) < 0 || (addr_is_v4(&r->prefix) && strchr(literal, ':')))
		return -EINVAL;
	*allowed = addr_is_v4(&r->prefix) ? "a prefix length from 0 to 32" : "a prefix length from 0 to 128";
	if (slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	plen = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || plen > (addr_is_v4(&r->prefix) ? 32 : 128))
		return -EINVAL;
	r->plen = (uint8_t)plen;
	*allowed = "a prefix without host bits: the bits behind its length are 0";
	return has_host_bits(r) ? -EINVAL : 0;
}

static int put(struct conf_tunnel *t, const char *text, bool allow, const char **allowed)
{
	struct conf_rule r = {.allow = allow}, *v;

	if (parse(text, &r, allowed) < 0)
		return -EINVAL;
	*allowed = "each prefix once, in allow or in deny";
	if (is_known(t, &r))
		return -EINVAL;
	*allowed = "at most " LIMIT_TEXT(RULES_MAX) " prefixes a tunnel";
	if (t->n_rules == RULES_MAX)
		return -EINVAL;
	v = realloc(t->rules, (t->n_rules + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	t->rules = v;
	v[t->n_rules++] = r;
	t->n_allow += allow;
	return 0;
}

int conf_put_allow(void *field, const char *text, const char **allowed)
{
	return put(field, text, true, allowed);
}

int conf_put_deny(void *field, const char *text, const char **allowed)
{
	return put(field, text, false, allowed);
}
