/* SPDX-License-Identifier: MIT */

/* kcptun's "stream opened" and "stream closed" lines (wire.md 9.5).  A flood of streams must not become one of lines.
 */

#include <stdio.h>

#include "tcp.h"

#define STREAM_LINES	 100 /* a second, of all instances */
#define STREAM_PERIOD_MS 1000

/* The period is over: what was left out in it is told, whether or not there are more lines. */
static void on_period(struct ctl *c, struct timer *timer)
{
	(void)timer;
	if (c->lines_left_out)
		log_info("%u lines about streams left out", c->lines_left_out);
	c->lines = 0;
	c->lines_left_out = 0;
}

void tcp_log_up(struct ctl *c)
{
	wheel_ent_init(&c->lines_timer.ent);
	c->lines_timer.fn = on_period;
}

static bool allow(struct ctl *c)
{
	if (c->conf.quiet || !log_on(LOG_INFO))
		return false;
	if (!wheel_armed(&c->lines_timer.ent))
		ctl_arm(c, &c->lines_timer, STREAM_PERIOD_MS);
	if (c->lines < STREAM_LINES / c->team->n) {
		c->lines++;
		return true;
	}
	c->lines_left_out++;
	return false;
}

static void line(struct ctl *c, const struct tcp *t, const char *what)
{
	const struct tunnel *tun = &c->tunnels[t->tunnel];
	char far[ADDR_STRLEN] = "-";

	if (!allow(c))
		return;
	if (tun->conf->client) {
		if (t->ch->far_port)
			addr_port_str(&t->ch->far, t->ch->far_port, far);
		log_info("stream %s in: %s out: %s(%u)", what, t->ch->peer, far, t->ch->sid);
	} else if (tun->conf->target_path) {
		log_info("stream %s in: %s(%u) out: %s", what, t->ch->peer, t->ch->sid, tun->conf->target_path);
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
