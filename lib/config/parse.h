/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The inside of config.  What a group of the file may say is a table, one row a setting; the reader below checks values
 * against the rows and words every message the same way.  A value does not know where it was written, so that the same
 * tables can serve kcptun's command line and JSON, and print their own manual.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf.h"

#define CONF_ITEMS_MAX 64
#define CONF_FOUND_MAX 80 /* text of a found value, cut to fit */

/* In place of a line: where a value comes from that no file has. */
#define CONF_LINE_ARGV UINT32_MAX	/* the command line, or a default of its */
#define CONF_LINE_ENV  (UINT32_MAX - 1) /* KCPTUN_KEY */

/* ---- values ---- */

enum conf_value_kind { CONF_V_BOOL, CONF_V_INT, CONF_V_REAL, CONF_V_TEXT, CONF_V_LIST, CONF_V_GROUP };

struct conf_value {
	enum conf_value_kind kind;
	unsigned line;
	int64_t i;		       /* BOOL, INT */
	double real;		       /* REAL */
	const char *text;	       /* TEXT */
	const struct conf_value *list; /* LIST */
	unsigned n;		       /* LIST */
	const char *name;	       /* what messages call the setting; NULL: as the table does */
};

/* ---- tables ---- */

enum conf_kind {
	CONF_BOOL, /* bool; with `word`, uint8_t */
	CONF_AUTO, /* enum conf_hugepages: absent, true, false */
	CONF_UINT, /* unsigned, min..max */
	CONF_INT,  /* int, min..max */
	CONF_RATE, /* uint64_t, up to max; a negative value counts as 0 */
	CONF_ENUM, /* int or enum: index in words */
	CONF_WORD, /* char[size]: one of words */
	CONF_TEXT, /* whatever put makes of it */
};

#define CONF_F_SECRET 1 /* never shown in a message */
#define CONF_F_MANY   2 /* a list of texts; put appends */
#define CONF_F_NEEDED 4 /* by the roles that may have it */

#define CONF_R_SERVER (1u << CONF_SERVER)
#define CONF_R_CLIENT (1u << CONF_CLIENT)

struct conf_item {
	const char *name;
	const char *alias; /* another spelling, or NULL */
	enum conf_kind kind;
	unsigned flags;	      /* CONF_F_* */
	unsigned roles;	      /* CONF_R_* of the tunnels that may have it; 0: all */
	unsigned alias_roles; /* the same for the alias */
	size_t offset, size;  /* of the field in the group's struct; offset 0 with a put that wants the struct itself */
	int64_t min, max;
	const char *word; /* UINT, BOOL: the text that stands for word_value, which no number does */
	uint8_t word_value;
	const char *const *words; /* NULL-terminated */
	const char *const *later; /* words of kcptun or of a later version, known and refused; may be NULL */
	/* Stores text.  0, -ENOMEM or -EINVAL; may set *allowed to say better than the row what would have been right.
	 */
	int (*put)(void *field, const char *text, const char **allowed);
	/* Text that put would take for the field's value, allocated; NULL without memory.  NULL: the field is a char *.
	 */
	char *(*get)(const void *field);
	const char *allowed; /* CONF_TEXT: what put takes */
	const char *unset;   /* what help says of a default that is no value; NULL: the value */
	const char *help;
};

struct conf_later { /* a name that is known and not a setting here, and what to say after "found" */
	const char *name, *advice;
};

struct conf_table {
	const struct conf_item *items;	/* at most CONF_ITEMS_MAX, ended by a row without name */
	const struct conf_later *later; /* likewise; may be NULL */
};

#define CONF_NO_PPROF "an option that has no effect here; allowed: telemetry, whose /kcpgate/workers shows the cycles"

extern const struct conf_table conf_eal_table, conf_limits_table, conf_telemetry_table, conf_log_table;
extern const struct conf_table conf_security_table;
extern const struct conf_table conf_port_table, conf_tunnel_table;

/* ---- reading ---- */

/* One group while it is read and checked: which settings were given, and where. */
struct conf_obj {
	const struct conf_table *table;
	void *base;
	char path[64]; /* "tunnels.hk" */
	unsigned line;
	struct {
		unsigned line;	     /* 0: not given */
		const char *spelled; /* name or alias */
	} given[CONF_ITEMS_MAX];
};

struct conf_reader {
	const char *path;
	struct conf *c;
	char *why;
	size_t why_n;
	bool world_readable; /* the file itself, until a warning has said so */
	bool nomem;	     /* a warning was lost */
	bool lenient;	     /* what stock would do and we refuse is only warned about, for import */
	char *secrets;	     /* passphrases of a file, while it is read */
	size_t secrets_size, secrets_n;
	struct conf_obj eal, limits, telemetry, log, security;
	struct conf_obj *ports, *tunnels; /* parallel to c->ports and c->tunnels */
};

/* Writes "FILE:LINE: ..." to why; returns -EINVAL.  Warnings are added to the configuration. */
int conf_fail(struct conf_reader *r, unsigned line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void conf_warn(struct conf_reader *r, unsigned line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts `v` into setting `name` of o.  0, or -errno and why. */
int conf_obj_set(struct conf_reader *r, struct conf_obj *o, const char *name, const struct conf_value *v);

/* The setting may be given again, and the last one wins, as on kcptun's command line. */
void conf_obj_forget(struct conf_obj *o, const char *name);

/* The row of a setting, by name or alias; NULL when there is none. */
const struct conf_item *conf_item_find(const struct conf_table *table, const char *name);

/* What a row takes, for messages; may be other than buf. */
#define CONF_ALLOWED_MAX 256
const char *conf_item_allowed(const struct conf_item *it, char buf[CONF_ALLOWED_MAX]);

/* The value of a row in the struct at base, as libconfig writes it. */
void conf_item_print(FILE *f, const struct conf_item *it, const void *base);

/* "tunnels.hk.mtu" or, where it was given, "mtu" of a JSON file, "--mtu", "KCPTUN_KEY"; returns buf. */
#define CONF_WHERE_MAX 160
const char *conf_obj_where(const struct conf_obj *o, const char *spelled, unsigned line, char buf[CONF_WHERE_MAX]);

/* Line of a setting; 0 when it was not given.  `name` must be in the table. */
unsigned conf_obj_line(const struct conf_obj *o, const char *name);

/* "FILE:LINE: PATH.NAME: ..." at the setting's line, or the group's when it was not given. */
int conf_obj_fail(struct conf_reader *r, const struct conf_obj *o, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void conf_obj_warn(struct conf_reader *r, const struct conf_obj *o, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Every given setting fits the roles, and every needed one is there.  role: CONF_R_*, or 0 for groups without roles. */
int conf_obj_roles(struct conf_reader *r, const struct conf_obj *o, unsigned role);

/* What a message says was found; may be other than buf. */
const char *conf_found(const struct conf_value *v, bool secret, char buf[CONF_FOUND_MAX]);

/* Text on one line, in quotes, for a message; returns buf. */
const char *conf_quote(const char *text, char buf[CONF_FOUND_MAX]);

/* ---- the steps of conf_load ---- */

/* An empty configuration with its defaults, for r->path; r's own fields path, why and why_n are set.  0 or -ENOMEM. */
int conf_reader_open(struct conf_reader *r);
/* Frees all but the configuration, which goes to *out if rc is 0.  rc, or -ENOMEM if a warning was lost. */
int conf_reader_close(struct conf_reader *r, int rc, struct conf **out);

/* The whole file, made safe for libconfig; *text is wiped and freed by conf_text_free. */
int conf_text_load(struct conf_reader *r, char **text, size_t *n);
void conf_text_free(char *text, size_t n);

/* ---- secret.c: between conf_text_load, which puts passphrases away, and the tree, which gets them back ---- */

#define CONF_SECRET_NAME "key"

/* Room for the strings of a file of so many bytes.  0, or -1 without memory. */
int conf_secret_open(struct conf_reader *r, size_t bytes);
/* Wipes and frees. */
void conf_secret_close(struct conf_reader *r);
/* Keeps a string, n bytes between its quotes; more: it goes on with the one before.  Returns its place. */
size_t conf_secret_put(struct conf_reader *r, const char *p, size_t n, bool more);
/* What stands in the tree as "#PLACE". */
const char *conf_secret_get(const struct conf_reader *r, const char *text);

/* The file's bytes and a 0, for conf_text_free with the same n; says whether everybody may read it.  NULL: *rc and why.
 */
char *conf_file_read(struct conf_reader *r, size_t *n, int *rc);

/* libconfig's tree into c and the objects. */
int conf_tree_read(struct conf_reader *r, const char *text);

/* What one object says as a whole: defaults that depend on other settings, rules inside the object. */
int conf_port_finish(struct conf_reader *r, const struct conf_obj *o);

/* iface= of a vdev; empty when there is none. */
void conf_port_iface(const struct conf_port *p, char *out, size_t out_n);
int conf_tunnel_finish(struct conf_reader *r, const struct conf_obj *o);

/* Bytes of IP and UDP before a tunnel's payload: what its UDP address says, 0 when it may be either family. */
unsigned conf_ip_head(const struct conf_tunnel *t);

/* Rules between objects. */
int conf_check(struct conf_reader *r);

/* What no setting and no generation says. */
void conf_tunnel_defaults(struct conf_tunnel *t);
/* The generation's defaults for what o does not have, and `mode`'s numbers (wire.md 4.2, 9.4).  o NULL: for
 * all, windows as stock has them. */
void conf_tunnel_generation(const struct conf_obj *o, struct conf_tunnel *t);
void conf_port_defaults(struct conf_port *p);

/* ---- texts ---- */

/* For rows: the field is a char *, whose old value is freed. */
int conf_put_text(void *field, const char *text, const char **allowed);
/* For rows: the field is a char[CONF_NAME_MAX]. */
int conf_put_name(void *field, const char *text, const char **allowed);
char *conf_get_name(const void *field);
bool conf_name_ok(const char *name);

/*
 * "HOST:PORT", "HOST:MIN-MAX", "[IPv6]:PORT", ":PORT" (kcptun's pattern, wire.md 9.1, but anchored).  The host is
 * allocated.  0, -ENOMEM, or -EINVAL and *allowed where it can be said better than "HOST:PORT".
 */
int conf_hostport_parse(const char *text, struct conf_hostport *out, const char **allowed);

/*
 * The same, or a Unix socket: what begins with "/", "./", "../" or "@" (abstract), or has a "/" and no colon.  Stock
 * takes every text without a colon for a path; here one without "/" is taken for a slip.
 */
int conf_hostport_or_path(const char *text, struct conf_hostport *out, const char **allowed);

/* endpoint.c: for rows whose field is a struct conf_hostport, all zero where there is none; and what the file as a
 * whole makes of it. */
int conf_endpoint_put(void *field, const char *text, const char **allowed);
char *conf_endpoint_get(const void *field);
int conf_endpoint_check(struct conf_reader *r);

/* rule.c: for rows of a tunnel, whose field is the tunnel itself. */
int conf_put_allow(void *field, const char *text, const char **allowed);
int conf_put_deny(void *field, const char *text, const char **allowed);

/* Allocated text of what was parsed; NULL without memory. */
char *conf_hostport_text(const struct conf_hostport *hp);

/* For rows: the field is an int64_t, seconds since 1970. */
int conf_until_put(void *field, const char *text, const char **allowed);
char *conf_until_get(const void *field);

/* For rows: the field is a struct conf_bandwidth, untouched by what is no rate. */
int conf_bandwidth_put(void *field, const char *text, const char **allowed);
char *conf_bandwidth_get(const void *field);

/* Lcores named by an EAL --lcores text.  0 and *n, or -EINVAL. */
int conf_lcores_count(const char *text, unsigned *n);

/* Fills key from key_file, or with kcptun's default, and warns about weak ones. */
int conf_key_finish(struct conf_reader *r, const struct conf_obj *o);

/* The name of the list nearest to `name` (edit distance, case ignored), or NULL when none is near. */
struct conf_nearest {
	const char *name, *best;
	unsigned distance;
};
void conf_nearest_start(struct conf_nearest *n, const char *name);
void conf_nearest_try(struct conf_nearest *n, const char *candidate);
