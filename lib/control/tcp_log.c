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

/* in and out: kcptun's words for the two ends, the stream's id behind the one that is KCP's. */
static void say(const struct tunnel *tun, const struct tcp *t, bool open, const char *out)
{
	char in[ADDR_STRLEN];
	const struct log_field v[] = {
		{.name = "tunnel", .text = tun->conf->name},
		{.name = "in", .text = chan_peer_str(t->ch, in)},
		{.name = "out", .text = out},
		{.name = "stream", .number = t->ch->sid},
	};
	const char *event = open ? "stream_opened" : "stream_closed", *what = open ? "opened" : "closed";

	if (tun->conf->client)
		log_event(LOG_INFO, event, v, 4, "stream %s in: %s out: %s(%u)", what, in, out, t->ch->sid);
	else
		log_event(LOG_INFO, event, v, 4, "stream %s in: %s(%u) out: %s", what, in, t->ch->sid, out);
}

static void line(struct ctl *c, const struct tcp *t, bool open)
{
	const struct tunnel *tun = &c->tunnels[t->tunnel];
	char far[ADDR_STRLEN] = "-";

	if (!allow(c))
		return;
	if (tun->conf->client && t->ch->far_port)
		addr_port_str(&t->ch->far, t->ch->far_port, far);
	else if (!tun->conf->client && !tun->conf->target_path)
		addr_port_str(&t->target, tun->conf->target.port_min, far);
	say(tun, t, open, !tun->conf->client && tun->conf->target_path ? tun->conf->target_path : far);
}

void tcp_log_opened(struct ctl *c, struct tcp *t)
{
	if (t->flags & TCP_F_LOGGED)
		return;
	t->flags |= TCP_F_LOGGED;
	line(c, t, true);
}

void tcp_log_closed(struct ctl *c, struct tcp *t)
{
	if (t->flags & TCP_F_LOGGED)
		line(c, t, false);
}
