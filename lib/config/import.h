/* SPDX-License-Identifier: MIT */
#pragma once

/* The inside of `kcpgate import`: one tunnel that was put together from another program's file, as a file of ours. */

#include "flags.h"

/* The comment at the head, and the port, which is that of a's configuration. */
void conf_import_head(FILE *f, const struct conf_args *a);
/* The tunnel's group, with a comment for each warning about it; notes: comments before its settings, or NULL. */
void conf_import_tunnel(FILE *f, struct conf_args *a, const char *notes);

/* A line that begins with "#"; what is no letter of it is '?'. */
void conf_import_comment(FILE *f, const char *indent, const char *text);

/* import_peer.c: mihomo's and gost's, as conf_import. */
int conf_import_peer(FILE *f, const char *path, const enum conf_role *role, char *why, size_t why_n);
/* A key of a JSON file that is one of theirs. */
bool conf_import_is_peer(const char *key);
