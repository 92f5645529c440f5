/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a machine has of what a gateway needs, as `kcpgate doctor` tells it: one line a finding, and where something is
 * missing, why it matters and the command that mends it.  It reads files below a root and nothing else, needs no EAL
 * and changes nothing, so that it is tested on machines made up in a folder.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "conf.h"

enum doctor_mark {
	DOCTOR_OK,
	DOCTOR_HINT,	/* it works, but not as well as it could; or it cannot be told from here */
	DOCTOR_MISSING, /* the file needs it: the gateway does not start, or carries nothing */
};

#define DOCTOR_TEXT 400

struct doctor_line {
	const char *part; /* "cpu", "memory", "ports", "limits" */
	enum doctor_mark mark;
	char found[DOCTOR_TEXT];
	char why[DOCTOR_TEXT];	/* empty: nothing to be said */
	char mend[DOCTOR_TEXT]; /* a command, or what to write where; empty: there is none */
};

/* What is asked of the program's other rooms. */
struct doctor_ask {
	const char *(*cipher)(const char *name); /* crypt_form */
	const char *(*fec)(void);		 /* fec_form */
	/* cap_of_device: ": CAP_X is missing, for Y", or "" */
	const char *(*caps)(const char *device, bool vdev, char *buf);
	/* Entries of an interface's RSS table; 0: it has none; negative: it cannot be told. */
	int (*rss)(const char *ifname);
	/* Rules of policy routing that are not followed, and the first one's text; negative: it cannot be told. */
	int (*rules)(char *first, size_t n);
};

struct doctor {
	char root[256], sys[280], proc[280], dev[280];
	const struct conf *conf; /* NULL: none, the machine alone is looked at */
	struct doctor_ask ask;
	const char *part;
	struct doctor_line *v;
	unsigned n, room;
	bool full;	    /* memory ran out: a line is missing */
	bool running;	    /* a process runs with the file's eal.file_prefix: what it holds is not missing */
	unsigned pages[32]; /* [node] hugepages of 2 MB that the file needs; where one node has memory, [0] */
};

/* root: "" for this machine.  Looks at everything; 0 or -ENOMEM.  Undone by doctor_end. */
int doctor_run(struct doctor *d, const char *root, const struct conf *conf, const struct doctor_ask *ask);
void doctor_end(struct doctor *d);

/* Lines of that mark. */
unsigned doctor_count(const struct doctor *d, enum doctor_mark mark);

/* 0, or -EIO: it could not be written. */
int doctor_print(const struct doctor *d, FILE *f);
/*
 * One object: "good", "lines" (an object each: part, mark "ok", "hint" or "missing", found, why, mend), and "needs":
 * "devices", the PCI addresses of the file, and "pages", those of 2 MB by node.
 */
int doctor_json(const struct doctor *d, FILE *f);
