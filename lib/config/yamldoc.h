/* SPDX-License-Identifier: MIT */
#pragma once

/* Other programs' YAML, JSON among it, read by libyaml; what stands behind "<<" is in the map that says so. */

#include <yaml.h>

#include "parse.h"

/* The file r->path, one document.  0 (conf_yaml_close), or -errno and why. */
int conf_yaml_open(struct conf_reader *r, yaml_document_t *doc);
void conf_yaml_close(yaml_document_t *doc);

/* The value of a key; NULL where there is none, or map is no map. */
yaml_node_t *conf_yaml_get(yaml_document_t *doc, yaml_node_t *map, const char *key);
/* The i-th of a list; NULL behind the last, and where it is no list. */
yaml_node_t *conf_yaml_at(yaml_document_t *doc, yaml_node_t *list, unsigned i);
/* Calls fn with each key and its value, each key once.  0, or what fn returned instead. */
typedef int conf_yaml_fn(void *ctx, const char *key, yaml_node_t *value);
int conf_yaml_each(yaml_document_t *doc, yaml_node_t *map, conf_yaml_fn *fn, void *ctx);

/* A plain value's text, "" for null; NULL where it is a list, a map, or nothing. */
const char *conf_yaml_text(const yaml_node_t *node);
/* Where it stands, from 1 on. */
unsigned conf_yaml_line(const yaml_node_t *node);
