/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "yamldoc.h"

#define NEST_MAX 1000 /* brackets within each other: libyaml looks at all of them at each */

static int fail(struct conf_reader *r, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR)
		return conf_fail(r, 1, "%s", strerror(ENOMEM));
	/* Without what it found, which may be a passphrase. */
	return conf_fail(r, (unsigned)p->problem_mark.line + 1, "syntax error: %s",
			 p->problem ? p->problem : "this is no YAML");
}

static int check_nesting(struct conf_reader *r, const char *text, size_t n)
{
	unsigned depth = 0, line = 1;

	for (size_t i = 0; i < n; i++) {
		line += text[i] == '\n';
		if (text[i] == '[' || text[i] == '{')
			depth++;
		else if (depth && (text[i] == ']' || text[i] == '}'))
			depth--;
		if (depth > NEST_MAX)
			return conf_fail(r, line, "syntax error: more than %d brackets within each other", NEST_MAX);
	}
	return 0;
}

int conf_yaml_open(struct conf_reader *r, yaml_document_t *doc)
{
	yaml_parser_t p;
	size_t n;
	int rc = 0;
	char *text = conf_file_read(r, &n, &rc);

	if (!text)
		return rc;
	rc = check_nesting(r, text, n);
	if (rc == 0 && !yaml_parser_initialize(&p))
		rc = conf_fail(r, 1, "%s", strerror(ENOMEM));
	if (rc < 0) {
		conf_text_free(text, n);
		return rc;
	}
	yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
	if (!yaml_parser_load(&p, doc))
		rc = fail(r, &p);
	yaml_parser_delete(&p);
	conf_text_free(text, n);
	return rc;
}

/* libyaml frees what it has read as it is. */
void conf_yaml_close(yaml_document_t *doc)
{
	for (yaml_node_t *node = doc->nodes.start; node < doc->nodes.top; node++)
		if (node->type == YAML_SCALAR_NODE)
			explicit_bzero(node->data.scalar.value, node->data.scalar.length);
	yaml_document_delete(doc);
}

const char *conf_yaml_text(const yaml_node_t *node)
{
	const char *text;

	if (!node || node->type != YAML_SCALAR_NODE)
		return NULL;
	text = (const char *)node->data.scalar.value;
	if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	    (strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0))
		return "";
	return text;
}

unsigned conf_yaml_line(const yaml_node_t *node)
{
	return node ? (unsigned)node->start_mark.line + 1 : 1;
}

/* ---- maps ---- */

/* An alias may name what it stands in, and lists of merges of lists grow without end: so both have one. */
#define DEPTH  8
#define MERGES 256
#define KEYS   512

struct visit {
	yaml_document_t *doc;
	conf_yaml_fn *fn;
	void *ctx;
	unsigned merges, n;
	const char *keys[KEYS]; /* that were visited: what a map says itself comes before what is merged into it */
};

static bool is_new(struct visit *v, const char *key)
{
	for (unsigned i = 0; i < v->n; i++)
		if (strcmp(v->keys[i], key) == 0)
			return false;
	if (v->n == KEYS)
		return false;
	v->keys[v->n++] = key;
	return true;
}

static int each(struct visit *v, yaml_node_t *map, unsigned depth);

static int each_merged(struct visit *v, yaml_node_t *node, unsigned depth)
{
	yaml_node_t *one;
	int rc = 0;

	if (!node || depth == DEPTH || v->merges == MERGES)
		return 0;
	v->merges++;
	if (node->type == YAML_MAPPING_NODE)
		return each(v, node, depth + 1);
	for (unsigned i = 0; rc == 0 && (one = conf_yaml_at(v->doc, node, i)); i++)
		if (one->type == YAML_MAPPING_NODE)
			rc = each_merged(v, one, depth);
	return rc;
}

static int each(struct visit *v, yaml_node_t *map, unsigned depth)
{
	yaml_node_pair_t *p = map->data.mapping.pairs.start, *top = map->data.mapping.pairs.top;
	yaml_node_t *behind = NULL;
	int rc = 0;

	for (; p < top && rc == 0; p++) {
		const char *key = conf_yaml_text(yaml_document_get_node(v->doc, p->key));
		yaml_node_t *value = yaml_document_get_node(v->doc, p->value);

		if (key && strcmp(key, "<<") == 0)
			behind = value;
		else if (key && is_new(v, key))
			rc = v->fn(v->ctx, key, value);
	}
	return rc ? rc : each_merged(v, behind, depth);
}

int conf_yaml_each(yaml_document_t *doc, yaml_node_t *map, conf_yaml_fn *fn, void *ctx)
{
	struct visit v = {.doc = doc, .fn = fn, .ctx = ctx};

	return map && map->type == YAML_MAPPING_NODE ? each(&v, map, 0) : 0;
}

struct sought {
	const char *key;
	yaml_node_t *value;
};

static int seek(void *ctx, const char *key, yaml_node_t *value)
{
	struct sought *s = ctx;

	if (strcmp(key, s->key) != 0)
		return 0;
	s->value = value;
	return 1;
}

yaml_node_t *conf_yaml_get(yaml_document_t *doc, yaml_node_t *map, const char *key)
{
	struct sought s = {key, NULL};

	conf_yaml_each(doc, map, seek, &s);
	return s.value;
}

yaml_node_t *conf_yaml_at(yaml_document_t *doc, yaml_node_t *list, unsigned i)
{
	if (!list || list->type != YAML_SEQUENCE_NODE ||
	    i >= (size_t)(list->data.sequence.items.top - list->data.sequence.items.start))
		return NULL;
	return yaml_document_get_node(doc, list->data.sequence.items.start[i]);
}
