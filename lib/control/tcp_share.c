/* SPDX-License-Identifier: MIT */

/*
 * Who pays when a tunnel's share of chunks runs short.  What a receiver takes slowly is held for as long as it likes;
 * but when others of its tunnel find nothing any more, those that have taken nothing for the longest are reset: first
 * connections whose stream has ended, then any.  A tunnel's shortage never touches another's connections.
 */

#include <errno.h>

#include "tcp.h"

#define SHARE_LOOK_MS  500
#define SHARE_GRACE_MS 5000 /* who has taken something since then is not the one */
#define SHARE_A_LOOK   64   /* connections of a tunnel */
#define SHARE_LOW_PART 4    /* with less than this part of its most left, ended streams give back what they hold */
#define SHARE_LINES    1
#define SHARE_PERIOD   10

static void arm(struct ctl *c)
{
	if (!wheel_armed(&c->share_timer.ent))
		ctl_arm(c, &c->share_timer, SHARE_LOOK_MS);
}

void tcp_share_wrote(struct ctl *c, struct tcp *t, uint32_t moved)
{
	bool blocked = chan_used(&t->ch->down) && !(t->flags & (TCP_F_WRITABLE | TCP_F_BROKEN));

	if (!blocked || moved)
		list_del(&t->blocked);
	if (!blocked || !list_empty(&t->blocked))
		return;
	t->blocked_at = c->now;
	list_add_tail(&c->tunnels[t->tunnel].blocked[(t->flags & TCP_F_CLOSING) != 0], &t->blocked);
	arm(c);
}

/* Goes over to the other list at its end, as if it had blocked now: an ended stream has its grace, too. */
void tcp_share_closing(struct ctl *c, struct tcp *t)
{
	if (list_empty(&t->blocked))
		return;
	list_del(&t->blocked);
	t->blocked_at = c->now;
	list_add_tail(&c->tunnels[t->tunnel].blocked[1], &t->blocked);
}

static void reset_longest(struct ctl *c, struct list *of)
{
	for (unsigned i = 0; i < SHARE_A_LOOK && !list_empty(of); i++) {
		struct tcp *t = container_of(of->next, struct tcp, blocked);
		struct tunnel *tun = &c->tunnels[t->tunnel];
		uint32_t left_out;

		if (c->now - t->blocked_at < SHARE_GRACE_MS)
			return;
		c->stats.evicted++;
		if (log_allow(&tun->share_limit, c->now / 1000, SHARE_LINES, SHARE_PERIOD, &left_out))
			log_warn("tunnel %s: no memory left for bytes towards TCP: reset a connection that has taken "
				 "nothing for %u s (and %u more since the last such line)",
				 tun->conf->name, (unsigned)((c->now - t->blocked_at) / 1000), left_out);
		tcp_fail(c, t, -ENOBUFS);
	}
}

static void look(struct ctl *c, unsigned i)
{
	struct shares *s = &c->conf.chans->chunk_shares;
	struct tunnel *tun = &c->tunnels[i];
	uint64_t refused = atomic_load_explicit(&s->of[i].refused, memory_order_relaxed);
	bool wanted = refused != tun->refused;

	tun->refused = refused;
	if (wanted || shares_room(s, i) < s->of[i].most / SHARE_LOW_PART)
		reset_longest(c, &tun->blocked[1]);
	if (wanted && list_empty(&tun->blocked[1]))
		reset_longest(c, &tun->blocked[0]);
}

static void on_look(struct ctl *c, struct timer *timer)
{
	(void)timer;
	for (unsigned i = 0; i < c->conf.n_tunnels; i++) {
		if (list_empty(&c->tunnels[i].blocked[0]) && list_empty(&c->tunnels[i].blocked[1]))
			continue;
		look(c, i);
		arm(c);
	}
}

void tcp_share_up(struct ctl *c)
{
	wheel_ent_init(&c->share_timer.ent);
	c->share_timer.fn = on_look;
}
