/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The file read again while the gateway runs.  Files are read, keys derived and lists built by a thread of its own;
 * control takes over what is ready between two of its turns; workers look at single values, or at a pointer, and what
 * was there before goes when they have begun another turn (ctl_epoch).  A file that is wrong changes nothing.
 */

#include <stdbool.h>

#include "diff.h"

struct app;
struct reload;

enum reload_what {
	RELOAD_APPLY,
	RELOAD_COMPARE, /* only tell what would be done with `path` */
	RELOAD_DRAIN,
};

/* What was asked, and what became of it. */
struct reload_job {
	enum reload_what what;
	int tunnel;	       /* RELOAD_DRAIN: index, -1: all of them */
	unsigned deadline_s;   /* and after so long, 0: no time is set */
	bool hup;	       /* nobody waits for an answer: the log has it */
	char *path;	       /* NULL: the running configuration's */
	struct conf *want;     /* what diff points into */
	struct conf_diff diff; /* valid where err is 0 */
	int err;	       /* -errno, and why */
	char why[640];
};

/* Control's, on SIGHUP: the log's file is opened anew, and the configuration's read. */
void reload_hup(struct app *a);
/* Control's, at every turn: takes over what is ready. */
void reload_turn(struct app *a);

/*
 * From another thread: does the job and waits for it.  0, and the job's err says how it went; -EBUSY: another one is
 * under way; -ETIMEDOUT: its file cannot be read in a minute, and the job is the thread's now.
 */
int reload_do(struct app *a, struct reload_job *job);
struct reload_job *reload_job_new(enum reload_what what, const char *path);
void reload_job_free(struct reload_job *job);
