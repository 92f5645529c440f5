/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_mempool.h>

#include "ctl_int.h"

#define HANDED 64 /* taken from the mailbox at a time */

static struct team_one *self(const struct ctl *c)
{
	return &c->team->one[c->conf.id];
}

static void strike(int bell)
{
	/* Fails only when the counter is at its end: then the bell rings already. */
	(void)!eventfd_write(bell, 1);
}

/* ---- from one instance to another ---- */

unsigned team_choose(const struct ctl *c)
{
	unsigned best = c->conf.id;
	uint32_t least = UINT32_MAX;

	for (unsigned k = 0; k < c->team->n; k++) {
		const struct team_one *o = &c->team->one[k];
		uint32_t streams = atomic_load_explicit(&o->streams, memory_order_relaxed);

		if (o->ctl && streams < least) {
			least = streams;
			best = k;
		}
	}
	return best;
}

void team_hand(struct ctl *c, unsigned to, struct chan *ch, int fd)
{
	struct team_one *o = &c->team->one[to];

	ch->fd = fd;
	atomic_fetch_add_explicit(&o->streams, 1, memory_order_relaxed);
	mbox_post(o->hand, &ch->to_ctl, CHAN_EV_HAND);
	c->team->ring |= 1u << to;
}

/* Nobody has it: the peer must not take this for a clean end. */
static void refuse(struct ctl *c, struct chan *ch, int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	fd_give(c, ch->tunnel);
	chan_free(c->conf.chans, ch);
}

static void adopt(struct ctl *c, struct chan *ch)
{
	int fd = ch->fd;

	ch->err = 0; /* in its place */
	if (c->draining || tcp_accepted(c, fd, ch))
		refuse(c, ch, fd);
	/* It was counted when it was handed over: there is no moment in which it is not. */
	atomic_fetch_sub_explicit(&self(c)->streams, 1, memory_order_relaxed);
}

static void take_handed(struct ctl *c)
{
	struct mbox_ent *ent[HANDED];
	uint32_t ev[HANDED];
	unsigned n;

	do {
		n = mbox_get(self(c)->hand, ent, ev, HANDED);
		for (unsigned i = 0; i < n; i++)
			adopt(c, container_of(ent[i], struct chan, to_ctl));
	} while (n == HANDED);
}

void team_turn(struct ctl *c)
{
	change_turn(c);
	if (c->team->n == 1)
		return;
	if (c->conf.id == 0) {
		for (uint32_t n = atomic_exchange(&c->team->want, 0); n > 0 && dial_give_up(c); n--)
			;
		atomic_store(&c->team->held, (uint32_t)c->stats.holds);
		return;
	}
	if (atomic_load(&self(c)->drain) && !c->draining) {
		c->draining = true;
		tcp_drain(c);
	}
	take_handed(c);
}

void team_end(struct ctl *c)
{
	for (; c->team->ring; c->team->ring &= c->team->ring - 1) {
		struct team_one *o = &c->team->one[__builtin_ctz(c->team->ring)];

		if (mbox_wanted(o->hand))
			strike(o->bell);
	}
	if (c->conf.id && c->draining) {
		unsigned conns;

		atomic_store(&self(c)->undelivered, tcp_undelivered(c, &conns));
		atomic_store(&self(c)->cut, conns);
	}
}

/* ---- what all take from ---- */

void team_given(struct ctl *c)
{
	uint32_t others;

	c->dial_wake = true;
	if (c->team->n == 1)
		return;
	/* Who waits says so and looks once more (team_wait); whoever gives has given, and looks who waits. */
	atomic_thread_fence(memory_order_seq_cst);
	others = atomic_load_explicit(&c->team->waits, memory_order_relaxed) & ~(1u << c->conf.id);
	if (!others)
		return;
	others &= atomic_fetch_and(&c->team->waits, ~others);
	for (; others; others &= others - 1)
		strike(c->team->one[__builtin_ctz(others)].bell);
}

bool team_wait(struct ctl *c)
{
	uint32_t own = 1u << c->conf.id;

	return c->team->n > 1 && !(atomic_fetch_or(&c->team->waits, own) & own);
}

bool team_want_fd(struct ctl *c)
{
	if (c->conf.id == 0 || atomic_load(&c->team->held) == 0)
		return false;
	atomic_fetch_add(&c->team->want, 1);
	strike(c->team->one[0].bell);
	return true;
}

bool team_sleep(struct ctl *c)
{
	if (c->conf.id == 0)
		return true;
	mbox_sleep(self(c)->hand);
	if (mbox_empty(self(c)->hand))
		return true;
	mbox_awake(self(c)->hand);
	return false;
}

void team_awake(struct ctl *c)
{
	if (c->conf.id)
		mbox_awake(self(c)->hand);
}

/* ---- who belongs to it ---- */

/* To have woken is all that it is for; edge-triggered, as the workers' bells. */
static void on_bell(struct ctl *c, struct ev *e, uint32_t events)
{
	(void)c;
	(void)e;
	(void)events;
}

static int found(struct ctl *c)
{
	c->team = calloc(1, sizeof(*c->team));
	if (!c->team)
		return -ENOMEM;
	c->team->n = c->conf.n_controls ? c->conf.n_controls : 1;
	for (unsigned k = 0; k < LIMIT_CONTROLS; k++)
		c->team->one[k].bell = -1;
	c->team->tunnel = calloc(c->conf.n_tunnels + 1, sizeof(*c->team->tunnel));
	return c->team->tunnel ? 0 : -ENOMEM;
}

static int join(struct ctl *c)
{
	struct team_one *o = self(c);
	int err = 0;

	if (c->team->n == 1)
		return 0;
	c->team_ev.fn = on_bell;
	c->team_ev.fd = o->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (o->bell < 0)
		return -errno;
	err = ctl_ev_add(c, &c->team_ev, EPOLLIN | EPOLLET);
	if (!err && c->conf.id)
		err = mbox_create(&o->hand, "hand", c->conf.chans->chans->size, SOCKET_ID_ANY);
	return err;
}

int team_up(struct ctl *c, char *why, size_t why_n)
{
	int err = 0;

	if (c->conf.id == 0)
		err = found(c);
	else
		c->team = c->conf.first->team;
	if (!err)
		err = join(c);
	if (err)
		return ctl_fail(why, why_n, err, "control: %s", strerror(-err));
	self(c)->ctl = c;
	return 0;
}

static void leave(struct ctl *c)
{
	struct team_one *o = self(c);

	o->ctl = NULL;
	if (o->hand) {
		c->draining = true; /* what is still on its way is refused */
		take_handed(c);
		mbox_destroy(o->hand);
	}
	o->hand = NULL;
	if (o->bell >= 0)
		close(o->bell);
	o->bell = -1;
}

void team_down(struct ctl *c)
{
	if (!c->team)
		return;
	leave(c);
	if (c->conf.id == 0) {
		change_down(c);
		free(c->team->tunnel);
		free(c->team);
	}
	c->team = NULL;
}

/* ---- the whole, as others see it ---- */

void ctl_stop(struct ctl *c)
{
	atomic_store(&self(c)->stop, true);
	strike(self(c)->bell);
}

bool ctl_stopped(const struct ctl *c)
{
	return atomic_load(&self(c)->stop);
}

void ctl_drain(struct ctl *c)
{
	if (c->draining)
		return;
	c->draining = true;
	listen_down(c);
	tcp_drain(c);
	ctl_ring(c);
	team_end(c); /* what was accepted last is on its way before they are asked */
	for (unsigned k = 1; k < c->team->n; k++) {
		atomic_store(&c->team->one[k].drain, true);
		strike(c->team->one[k].bell);
	}
}

bool ctl_idle(const struct ctl *c)
{
	for (unsigned k = 1; k < c->team->n; k++)
		if (atomic_load(&c->team->one[k].streams))
			return false;
	return list_empty(&c->conns);
}

uint64_t ctl_undelivered(const struct ctl *c, unsigned *conns)
{
	uint64_t bytes = tcp_undelivered(c, conns);

	for (unsigned k = 1; k < c->team->n; k++) {
		bytes += atomic_load(&c->team->one[k].undelivered);
		*conns += atomic_load(&c->team->one[k].cut);
	}
	return bytes;
}

const struct ctl *ctl_instance(const struct ctl *c, unsigned k)
{
	return k < c->team->n ? c->team->one[k].ctl : NULL;
}

void ctl_stats_all(const struct ctl *c, struct ctl_stats *sum)
{
	*sum = *ctl_stats(c);
	for (unsigned k = 1; k < c->team->n; k++) {
		const struct ctl *o = c->team->one[k].ctl;

		for (unsigned i = 0; o && i < sizeof(*sum) / sizeof(uint64_t); i++)
			((uint64_t *)sum)[i] += __atomic_load_n(&((const uint64_t *)ctl_stats(o))[i], __ATOMIC_RELAXED);
	}
	sum->dials_limit = ctl_stats(c)->dials_limit;
	sum->descriptors_limit = ctl_stats(c)->descriptors_limit;
}

struct ctl_parts ctl_parts(const struct ctl *c, unsigned tunnel)
{
	const struct team_tunnel *t = &c->team->tunnel[tunnel];
	struct ctl_parts p = {.dials = atomic_load_explicit(&t->dials.used, memory_order_relaxed),
			      .descriptors = atomic_load_explicit(&t->fds.used, memory_order_relaxed)};

	for (unsigned k = 0; k < c->team->n; k++)
		if (c->team->one[k].ctl)
			p.dials_waiting +=
				__atomic_load_n(&c->team->one[k].ctl->tunnels[tunnel].n_dial_wait, __ATOMIC_RELAXED);
	return p;
}
