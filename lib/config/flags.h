/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * kcptun's command line and JSON file, both roles, as a table over the settings: a flag is a name for one row of a
 * group's table, which knows its kind, its limits and its field.
 */

#include <stdbool.h>
#include <stddef.h>

#include "parse.h"

enum conf_part { CONF_P_TUNNEL, CONF_P_TELEMETRY, CONF_P_LOG, CONF_P_SECURITY, CONF_P_PORT, CONF_P_NONE };

struct conf_flag {
	const char *name;    /* long, and JSON's, whose case does not matter */
	const char *also[2]; /* other spellings on the command line: "l", "ds" */
	const char *json;    /* JSON's name where it is another one */
	unsigned roles;	     /* CONF_R_* */
	bool ours;	     /* kcptun has no such flag */
	enum conf_part part;
	const char *setting; /* of the part's table */
	const char *unset;   /* value when it is not given and the setting itself has none */
	const char *help;    /* NULL: the setting's */
};

extern const struct conf_flag conf_flags[]; /* ended by one without name */

#define CONF_R_BOTH (CONF_R_SERVER | CONF_R_CLIENT)

/* One tunnel that is put together from flags and JSON. */
struct conf_args {
	struct conf_reader r;
	enum conf_role role;
	const struct conf_host *host;
	const char *json; /* -c, or NULL */
};

/* The row of a flag of either role, the role's own first; json: by JSON's names.  NULL: unknown. */
const struct conf_flag *conf_flag_find(const char *name, size_t n, enum conf_role role, bool json);
/* Setting and object of a flag; both NULL for those that have none. */
const struct conf_item *conf_flag_item(const struct conf_flag *f);
struct conf_obj *conf_flag_obj(struct conf_args *a, const struct conf_flag *f);
/* The name nearest to a wrong one, or NULL. */
const char *conf_flag_nearest(const char *name, enum conf_role role, bool json);

/* Puts v where the flag says, in place of what was there.  0, or -errno and why. */
int conf_flag_set(struct conf_args *a, const struct conf_flag *f, struct conf_value *v);

/* Empty configuration with one tunnel and one port; a's role and host, and r's path, why and why_n are set. */
int conf_args_open(struct conf_args *a);
/* Defaults, the port, the machine's part, and all checks. */
int conf_args_finish(struct conf_args *a);

/* ---- json.c ---- */

/* Calls fn with each member of the file's object, in order.  0, fn's error, or -errno and why. */
int conf_json_each(struct conf_reader *r, int (*fn)(void *ctx, const char *key, struct conf_value *v), void *ctx);
/* All members of the file r.path into a. */
int conf_json_read(struct conf_args *a);
