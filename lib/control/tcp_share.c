/* SPDX-License-Identifier: MIT */

/*
 * Who pays when a tunnel's share of chunks runs short.  What a receiver takes slowly is held for as long as it likes;
 * but when others of its tunnel find nothing any more, those that have taken nothing for the longest are reset: first
 * connections whose stream has ended, then any; and of the other direction those whose peer has taken nothing for even
 * longer.  A tunnel's shortage never touches another's connections.
 */

#include "tcp.h"

#define SHARE_LOOK_MS  500
#define SHARE_DOWN_MS  5000  /* a socket that has taken something since then is not the one, */
#define SHARE_UP_MS    30000 /* nor a peer: people pause */
#define SHARE_A_LOOK   64    /* connections of a tunnel */
#define SHARE_LOW_PART 4     /* with less than this part of its most left, ended streams give back what they hold */
#define SHARE_LINES    1
#define SHARE_PERIOD   10

void tcp_share_wanted(struct ctl *c)
{
	if (!wheel_armed(&c->share_timer.ent))
		ctl_arm(c, &c->share_timer, SHARE_LOOK_MS);
}

void tcp_share_taken(struct ctl *c, struct tcp *t)
{
	list_del(&t->waiting);
	t->waiting_at = c->now;
	if (chan_used(&t->ch->up))
		list_add_tail(&c->tunnels[t->tunnel].waiting, &t->waiting);
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
	tcp_share_wanted(c);
}

void tcp_share_closing(struct ctl *c, struct tcp *t)
{
	list_del(&t->waiting);
	if (list_empty(&t->blocked))
		return;
	/* At the end of the other list, as if it had blocked now: an ended stream has its grace, too. */
	list_del(&t->blocked);
	t->blocked_at = c->now;
	list_add_tail(&c->tunnels[t->tunnel].blocked[1], &t->blocked);
}

static void reset_one(struct ctl *c, struct tcp *t, uint64_t ms, int why)
{
	struct tunnel *tun = &c->tunnels[t->tunnel];
	uint32_t left_out = 0;

	c->stats.evicted++;
	if (log_allow(&tun->share_limit, c->now / 1000, SHARE_LINES, SHARE_PERIOD, &left_out))
		log_warn("tunnel %s: its share of memory for bytes under way is used up: reset a connection whose %s "
			 "took nothing for %u s (%u more since the last such line)",
			 tun->conf->name, why == CHAN_ERR_UP ? "peer" : "socket", (unsigned)(ms / 1000), left_out);
	tcp_fail(c, t, -why);
}

static void reset_blocked(struct ctl *c, struct list *of)
{
	for (unsigned i = 0; i < SHARE_A_LOOK && !list_empty(of); i++) {
		struct tcp *t = container_of(of->next, struct tcp, blocked);

		if (c->now - t->blocked_at < SHARE_DOWN_MS)
			return;
		reset_one(c, t, c->now - t->blocked_at, CHAN_ERR_DOWN);
	}
}

static void reset_waiting(struct ctl *c, struct list *of)
{
	for (unsigned i = 0; i < SHARE_A_LOOK && !list_empty(of); i++) {
		struct tcp *t = container_of(of->next, struct tcp, waiting);

		if (c->now - t->waiting_at < SHARE_UP_MS)
			return;
		reset_one(c, t, c->now - t->waiting_at, CHAN_ERR_UP);
	}
}

/* Ended streams go first, other instances', too: each says at its look whether it has some left. */
static bool any_ended(struct ctl *c, unsigned i)
{
	uint32_t own = 1u << c->conf.id;

	if (list_empty(&c->tunnels[i].blocked[1]))
		return atomic_fetch_and(&c->team->tunnel[i].ended, ~own) & ~own;
	atomic_fetch_or(&c->team->tunnel[i].ended, own);
	return true;
}

/* True when there may be more to do later. */
static bool look(struct ctl *c, unsigned i)
{
	struct shares *s = &c->conf.chans->chunk_shares;
	struct tunnel *tun = &c->tunnels[i];
	uint64_t refused = atomic_load_explicit(&s->of[i].refused, memory_order_relaxed);
	bool wanted = refused != tun->refused, starved = tun->starved != tun->starved_seen, ended;

	tun->refused = refused;
	tun->starved_seen = tun->starved;
	if (wanted || starved || shares_room(s, i) < s->of[i].most / SHARE_LOW_PART)
		reset_blocked(c, &tun->blocked[1]);
	ended = any_ended(c, i);
	if (wanted && !ended)
		reset_blocked(c, &tun->blocked[0]);
	if (starved)
		reset_waiting(c, &tun->waiting);
	return starved || !list_empty(&tun->blocked[0]) || !list_empty(&tun->blocked[1]);
}

static void on_look(struct ctl *c, struct timer *timer)
{
	bool more = false;

	(void)timer;
	for (unsigned i = 0; i < c->conf.n_tunnels; i++)
		more |= look(c, i);
	if (more)
		tcp_share_wanted(c);
}

void tcp_share_up(struct ctl *c)
{
	wheel_ent_init(&c->share_timer.ent);
	c->share_timer.fn = on_look;
}
