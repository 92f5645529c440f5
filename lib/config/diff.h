/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What differs between the configuration that runs and another one, and what becomes of each difference when the other
 * one is read while the gateway runs.  Tunnels and ports are told apart by their names.  Every setting has a verdict in
 * diff.c; a test goes through the tables, so that a new one without fails it.
 */

#include <stdbool.h>

#include "conf.h"

enum conf_how {
	CONF_HOW_NONE,	  /* has no effect by itself */
	CONF_HOW_LIVE,	  /* applied at once */
	CONF_HOW_NEW,	  /* applied to what begins from then on: connections, sessions */
	CONF_HOW_RESTART, /* not applied before the gateway is started again */
};

/* First in the name of a running tunnel that was removed, which no file's can have. */
#define CONF_REMOVED_MARK '.'

enum conf_what { CONF_CHANGED, CONF_ADDED, CONF_REMOVED };

struct conf_item;

struct conf_change {
	enum conf_what what;
	enum conf_how how;
	char name[160];		      /* "tunnels.hk.target"; of what was added or removed "tunnels.hk" */
	char *from, *to;	      /* of CONF_CHANGED, as text; NULL: a secret, which is not shown */
	const char *note;	      /* whom it reaches, or why not before a restart; may be NULL */
	const struct conf_item *item; /* of CONF_CHANGED, and the groups it is of: */
	void *now;
	const void *want;
	int tunnel; /* index of the running tunnel, -1: it is no tunnel's, or a new one's */
	int added;  /* index of the other configuration's, of a tunnel; or -1 */
};

struct conf_diff {
	struct conf_change *v;
	unsigned n, n_restart; /* of those with CONF_HOW_RESTART */
};

/*
 * Differences from `now` to `want`.  A running tunnel's passphrase is wiped: same_key says whether tunnel `i` of now
 * has that of tunnel `k` of want.  Neither may be freed before *out.  0 or -ENOMEM, and *out is for conf_diff_free in
 * any case.
 */
int conf_diff(struct conf *now, const struct conf *want, bool (*same_key)(void *ctx, unsigned i, unsigned k), void *ctx,
	      struct conf_diff *out);
/* What was added is not, before a restart. */
void conf_diff_bar(struct conf_diff *d, struct conf_change *c, const char *why);
void conf_diff_free(struct conf_diff *d);

/*
 * The running configuration says from now on what the other one did, and the other way round: for a change whose how is
 * not CONF_HOW_RESTART.  What the former value was made of goes with the other one.
 */
void conf_adopt(const struct conf_change *c);

/* "tunnels.hk.target: "127.0.0.1:1" -> "127.0.0.1:2" (new connections)"; returns buf. */
#define CONF_CHANGE_TEXT 512
const char *conf_change_text(const struct conf_change *c, char buf[CONF_CHANGE_TEXT]);

/* The verdict on a setting of a group ("tunnels", "log" ...) and *note; -1: it has none. */
int conf_verdict(const char *group, const char *name, const char **note);
