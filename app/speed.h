/* SPDX-License-Identifier: MIT */
#pragma once

/* Bandwidths that nobody's port carries. */

#include "conf.h"

/*
 * What tunnel t is said to send, in bits/s, cut to what the fastest port that it may take carries.  mbps: of each port
 * of c, in Mb/s; 0: not known, and a tunnel that may take such a port is not cut.  0: t's bandwidth was not given.
 */
uint64_t speed_cut(const struct conf *c, const struct conf_tunnel *t, const unsigned mbps[CONF_PORTS_MAX]);

/* "tunnel hk: bandwidth: found 20G to send, and its port carries 10G: counted as that"; false, and "": not cut. */
bool speed_cut_text(const struct conf *c, const struct conf_tunnel *t, const unsigned mbps[CONF_PORTS_MAX], char *text,
		    size_t n);
