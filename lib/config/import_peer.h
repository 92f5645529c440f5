/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Tunnels from files that describe more than one, and are no kcptun's: mihomo's and gost's (wire.md 11.1).  Each is put
 * together from kcptun's flags, with notes about what its own program has to be told.
 */

#include "import.h"
#include "yamldoc.h"

struct peers {
	struct conf_reader r; /* of the file: path, and what is wrong */
	yaml_document_t doc;
	const enum conf_role *role; /* only these; NULL: both */
	FILE *head, *tunnels;	    /* what is printed when all of them are good */
	unsigned n;
	bool frames; /* one of them fakes TCP, which sockets cannot */
	char names[CONF_TUNNELS_MAX][CONF_NAME_MAX];
};

struct peer {
	struct peers *all;
	struct conf_args a;
	FILE *notes;
	char *notes_text;
	size_t notes_n;
	unsigned port; /* a TCP port of this machine's, between kcpgate and the program it goes beside */
};

/* Whether tunnels of a role are wanted. */
bool conf_peer_wanted(const struct peers *all, enum conf_role role);

/* 0, and then conf_peer_end whatever comes; or -errno and why. */
int conf_peer_begin(struct peer *p, struct peers *all, enum conf_role role);
/* Finishes and prints it under a name like that one, if rc is 0.  rc, or -errno and why. */
int conf_peer_end(struct peer *p, const char *name, int rc);

/* A comment in the tunnel's group. */
void conf_peer_note(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Setting a flag of kcptun's, in place of what it was.  0, or -errno and why. */
int conf_peer_text(struct peer *p, const char *flag, const char *text, unsigned line);
int conf_peer_number(struct peer *p, const char *flag, int64_t value, unsigned line);
int conf_peer_bool(struct peer *p, const char *flag, bool value, unsigned line);
/* By a value of YAML, as loosely as Go's decoders take it: "1" for 1, 1 for true. */
int conf_peer_node(struct peer *p, const char *flag, const yaml_node_t *node);

/* What a plain value says, with the same looseness; false: neither number nor truth. */
bool conf_peer_reads_number(const yaml_node_t *node, int64_t *v);
bool conf_peer_reads_bool(const yaml_node_t *node, bool *v);

/* A cipher as the program takes it: what it does not know is aes, which is noted.  lacks: those of ours that it has
 * not. */
int conf_peer_crypt(struct peer *p, const char *program, const yaml_node_t *node, const char *const *lacks);
/* A profile: what is none of kcptun's five is none, and the four numbers are what is said of them. */
int conf_peer_mode(struct peer *p, const yaml_node_t *node);

/* The tunnels of a whole document: 0, or -errno and why. */
int conf_peer_mihomo(struct peers *all);
int conf_peer_gost(struct peers *all);
