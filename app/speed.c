/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "speed.h"

static uint64_t said(const struct conf_tunnel *t)
{
	return t->role == CONF_SERVER ? t->bandwidth.down : t->bandwidth.up;
}

uint64_t speed_cut(const struct conf *c, const struct conf_tunnel *t, const unsigned mbps[CONF_PORTS_MAX])
{
	uint64_t most = 0;

	for (unsigned i = 0; i < c->n_ports; i++) {
		uint64_t bits = mbps[i] * UINT64_C(1000000);

		if (t->port[0] != '\0' && strcmp(t->port, c->ports[i].name) != 0)
			continue;
		if (bits == 0)
			return said(t);
		most = bits > most ? bits : most;
	}
	return said(t) < most ? said(t) : most;
}

bool speed_cut_text(const struct conf *c, const struct conf_tunnel *t, const unsigned mbps[CONF_PORTS_MAX], char *text,
		    size_t n)
{
	uint64_t bits = speed_cut(c, t, mbps);
	struct conf_bandwidth from = {said(t), said(t)}, to = {bits, bits};
	char a[CONF_BANDWIDTH_MAX], b[CONF_BANDWIDTH_MAX];

	text[0] = '\0';
	if (bits == said(t))
		return false;
	snprintf(text, n, "tunnel %s: bandwidth: found %s to send, and its port carries %s: counted as that", t->name,
		 conf_bandwidth_text(&from, a), conf_bandwidth_text(&to, b));
	return true;
}
