/* SPDX-License-Identifier: MIT */
#pragma once

/* The HTTP server: libmicrohttpd, in a thread of its own. */

#include <microhttpd.h>

#include "list.h"
#include "glance.h"
#include "metrics.h"

struct server_conn {
	struct list in;
	int fd;
	bool gone; /* it was told to go, and is on no list */
};

struct server {
	const struct tlm_src *src;
	struct glance *look;
	double started; /* of the process, seconds since the epoch */
	bool local;	/* asked by an address, or "localhost", only */
	struct MHD_Daemon *daemon;
	/* of the server's thread */
	struct list
		busy; /* connections with a request under way, or before their first, in the order of their beginning */
	struct list idle; /* those whose last answer has come to its end, in that order */
	unsigned n;	  /* of both */
};

/* listen: a socket that listens; the server closes it.  The rest of s is filled in.  0 or -errno. */
int server_start(struct server *s, int listen);
void server_stop(struct server *s);
