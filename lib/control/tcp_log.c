/* SPDX-License-Identifier: MIT */

/* kcptun's "stream opened" and "stream closed" lines (wire.md 9.5). */

#include <stdio.h>

#include "tcp.h"

static void line(struct ctl *c, const struct tcp *t, const char *what)
{
	const struct tunnel *tun = &c->tunnels[t->tunnel];
	char far[ADDR_STRLEN] = "-";

	if (c->conf.quiet || !log_on(LOG_INFO))
		return;
	if (tun->conf->client) {
		const struct flow_key *k = &tun->slot[t->ch->slot % tun->conf->conn];

		if (k->peer_port)
			addr_port_str(&k->peer, k->peer_port, far);
		log_info("stream %s in: %s out: %s(%u)", what, t->ch->peer, far, t->ch->sid);
	} else {
		addr_port_str(&t->target, tun->conf->target.port_min, far);
		log_info("stream %s in: %s(%u) out: %s", what, t->ch->peer, t->ch->sid, far);
	}
}

void tcp_log_opened(struct ctl *c, struct tcp *t)
{
	if (t->flags & TCP_F_LOGGED)
		return;
	t->flags |= TCP_F_LOGGED;
	line(c, t, "opened");
}

void tcp_log_closed(struct ctl *c, struct tcp *t)
{
	if (t->flags & TCP_F_LOGGED)
		line(c, t, "closed");
}
