/* SPDX-License-Identifier: MIT */

/* A connection's life: from accept or OPEN, by what epoll and the worker say, to GONE and the last byte delivered. */

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tcp.h"

#define TCP_TURN       256 /* connections a turn */
#define TCP_STARVED_MS 5
#define RESET_LOOK_MS  8    /* the first look at what is still to be delivered before a reset, */
#define LINGER_LOOK_MS 2048 /* and behind a FIN: who has it may like to end first */
#define LINGER_MAX_MS  8192 /* each next one is twice as late, up to this */
#define LINGER_MAX     4096 /* connections, and a quarter of the descriptors: the oldest goes first */
#define TCP_FIRST_READ 16384

static void on_socket(struct ctl *c, struct ev *e, uint32_t events);
static void on_timer(struct ctl *c, struct timer *timer);

static void on_name(struct ctl *c, struct name_wait *w)
{
	tcp_dial_named(c, container_of(w, struct tcp, wait));
}

static struct tcp *tcp_new(struct ctl *c, struct chan *ch, int fd)
{
	struct tcp *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->ch = ch;
	t->tunnel = ch->tunnel;
	t->ev.fd = fd;
	t->ev.fn = on_socket;
	t->want = TCP_FIRST_READ;
	t->timer.fn = on_timer;
	wheel_ent_init(&t->timer.ent);
	list_init(&t->ready);
	list_init(&t->starved);
	list_init(&t->blocked);
	list_init(&t->waiting);
	name_wait_init(&t->wait, on_name);
	if (c->tunnels[t->tunnel].conf->client && c->tunnels[t->tunnel].conf->listen_path)
		t->flags |= TCP_F_UNIX;
	list_init(&t->dial);
	list_add_tail(&c->conns, &t->all);
	ch->ctl = t;
	c->stats.streams++;
	atomic_fetch_add_explicit(&c->team->one[c->conf.id].streams, 1, memory_order_relaxed);
	return t;
}

/* Its descriptor is closed, and another connection's to have. */
static void without_fd(struct ctl *c, struct tcp *t)
{
	if (t->has_fd)
		fd_give(c, t->tunnel);
	t->has_fd = false;
}

void tcp_free(struct ctl *c, struct tcp *t)
{
	ctl_ev_close(&t->ev);
	without_fd(c, t);
	tcp_dial_over(c, t);
	wheel_disarm(&c->wheel, &t->timer.ent);
	name_cancel(&t->wait);
	list_del(&t->all);
	list_del(&t->ready);
	list_del(&t->starved);
	list_del(&t->blocked);
	list_del(&t->waiting);
	c->stats.streams--;
	atomic_fetch_sub_explicit(&c->team->one[c->conf.id].streams, 1, memory_order_relaxed);
	c->stats.lingering -= t->state == TCP_LINGER;
	ctl_bury(c, &t->grave);
}

void tcp_ready(struct ctl *c, struct tcp *t)
{
	if (list_empty(&t->ready))
		list_add_tail(&c->ready, &t->ready);
}

/* Whether the kernel is to reset the connection when its descriptor is closed. */
static void close_resets(int fd, bool reset)
{
	struct linger now = {.l_onoff = reset, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/*
 * As Go does for both kinds of connections.  And until the end is known (tcp_shut), closing is no clean one: it is the
 * kernel that closes when we are killed, and the peer must not take what it has for all that there is.
 */
static void tcp_options(int fd)
{
	int on = 1, secs = 15;

	close_resets(fd, true);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &secs, sizeof(secs));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &secs, sizeof(secs));
}

int tcp_watch(struct ctl *c, struct tcp *t)
{
	if (!(t->flags & TCP_F_UNIX))
		tcp_options(t->ev.fd);
	return ctl_ev_add(c, &t->ev, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

int tcp_accepted(struct ctl *c, int fd, struct chan *ch)
{
	struct tcp *t = tcp_new(c, ch, fd);
	int err;

	if (!t)
		return -ENOMEM;
	t->state = TCP_OPEN;
	err = tcp_watch(c, t);
	if (err) {
		t->ev.fd = -1;
		tcp_free(c, t);
		return err;
	}
	t->has_fd = true;
	ctl_post(c, ch->worker_id, &ch->to_worker, CHAN_EV_OPEN);
	return 0;
}

/* ---- the end ---- */

static void reset_socket(struct tcp *t)
{
	if (t->ev.fd >= 0)
		close_resets(t->ev.fd, true);
	ctl_ev_close(&t->ev);
}

static void gone(struct ctl *c, struct tcp *t)
{
	struct chan *ch = t->ch;

	if (!ch)
		return;
	tcp_log_closed(c, t);
	t->ch = NULL;
	t->post = 0;
	ctl_post(c, ch->worker_id, &ch->to_worker, CHAN_EV_GONE);
}

static void abort_now(struct ctl *c, struct tcp *t)
{
	reset_socket(t);
	gone(c, t);
	tcp_free(c, t);
}

/* Nobody takes what comes from the worker any more: it gets the room back. */
static void throw_away(struct ctl *c, struct tcp *t)
{
	if (chan_junk(c->conf.chans, &t->ch->down))
		ctl_post(c, t->ch->worker_id, &t->ch->to_worker, CHAN_EV_ROOM);
}

void tcp_fail(struct ctl *c, struct tcp *t, int err)
{
	if (!t->ch || (t->flags & TCP_F_CLOSING)) {
		abort_now(c, t);
		return;
	}
	name_cancel(&t->wait);
	tcp_dial_over(c, t);
	wheel_disarm(&c->wheel, &t->timer.ent);
	reset_socket(t);
	without_fd(c, t);
	list_del(&t->ready);
	list_del(&t->starved);
	list_del(&t->blocked);
	list_del(&t->waiting);
	t->state = TCP_FAILED;
	throw_away(c, t);
	if (t->flags & TCP_F_DRAIN)
		return;
	t->ch->err = -err;
	ctl_post(c, t->ch->worker_id, &t->ch->to_worker, t->post | CHAN_EV_RESET);
	t->post = 0;
}

/* What the kernel has not delivered; 0 when nobody can tell. */
static int unsent(const struct tcp *t)
{
	int n = 0;

	return ioctl(t->ev.fd, SIOCOUTQ, &n) ? 0 : n;
}

static uint64_t linger_ms(const struct tcp *t)
{
	uint64_t ms = t->flags & TCP_F_ABORT ? RESET_LOOK_MS : LINGER_LOOK_MS;

	ms <<= t->looks < 16 ? t->looks : 16;
	return ms < LINGER_MAX_MS ? ms : LINGER_MAX_MS;
}

static void linger(struct ctl *c, struct tcp *t)
{
	t->state = TCP_LINGER;
	t->looks = 0;
	list_del(&t->ready);
	list_del(&t->starved);
	list_add_tail(&c->lingering, &t->starved);
	ctl_arm(c, &t->timer, linger_ms(t));
	if (++c->stats.lingering <= c->linger_max)
		return;
	c->stats.linger_cut++;
	abort_now(c, container_of(c->lingering.next, struct tcp, starved));
}

/*
 * The peer has everything that there was, or will have it from the kernel without us.  A reset waits until it has been
 * delivered: it would destroy what is still under way.
 */
static bool lingers(struct tcp *t)
{
	if (t->flags & TCP_F_ABORT)
		return !(t->flags & TCP_F_ERROR) && unsent(t) != 0;
	return !(t->flags & TCP_F_EOF_IN) && tcp_discard(t) && (t->state != TCP_LINGER || unsent(t) != 0);
}

static void linger_over(struct ctl *c, struct tcp *t)
{
	if (t->flags & TCP_F_ABORT)
		reset_socket(t);
	tcp_free(c, t);
}

void tcp_shut(struct tcp *t)
{
	if (t->flags & TCP_F_SHUT)
		return;
	close_resets(t->ev.fd, false); /* which would destroy what the kernel still has to deliver */
	shutdown(t->ev.fd, SHUT_WR);
	t->flags |= TCP_F_SHUT;
}

/* Closing a socket with unread input would reset the connection and destroy what the peer has not read yet. */
void tcp_finish(struct ctl *c, struct tcp *t)
{
	if (!(t->flags & TCP_F_ABORT))
		tcp_shut(t);
	list_del(&t->blocked);
	list_del(&t->waiting);
	gone(c, t);
	if (lingers(t))
		linger(c, t);
	else
		linger_over(c, t);
}

/* As long as the kernel still delivers, it may, however slowly: it knows when a peer is dead.  A peer that has
 * everything gets no more time. */
static void linger_more(struct ctl *c, struct tcp *t)
{
	t->looks++;
	if (lingers(t))
		ctl_arm(c, &t->timer, linger_ms(t));
	else
		linger_over(c, t);
}

static void on_timer(struct ctl *c, struct timer *timer)
{
	struct tcp *t = container_of(timer, struct tcp, timer);

	if (t->state == TCP_LINGER)
		linger_more(c, t);
	else if (tcp_dialling(t))
		tcp_dial_timer(c, t);
	else
		abort_now(c, t);
}

/* ---- events ---- */

static void on_socket(struct ctl *c, struct ev *e, uint32_t events)
{
	struct tcp *t = container_of(e, struct tcp, ev);

	if (events & EPOLLRDHUP)
		t->flags |= TCP_F_RDHUP;
	if (t->state == TCP_CONNECT) {
		if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			tcp_dialled(c, t);
		return;
	}
	if (t->state == TCP_LINGER) {
		bool over = (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) && !tcp_discard(t);

		if (t->flags & TCP_F_ABORT ? events & (EPOLLERR | EPOLLHUP) : over)
			tcp_free(c, t);
		return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		t->flags |= TCP_F_READABLE;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		t->flags |= TCP_F_WRITABLE;
	if (events & EPOLLERR)
		t->flags |= TCP_F_ERROR;
	tcp_ready(c, t);
}

static void close_asked(struct ctl *c, struct tcp *t)
{
	t->flags |= (uint16_t)(TCP_F_CLOSING | (t->ch->abort ? TCP_F_ABORT : 0));
	/* A target that is not there yet is dialled on for what came before the end, but for that alone. */
	if (t->state == TCP_FAILED || (tcp_dialling(t) && chan_used(&t->ch->down) == 0)) {
		abort_now(c, t);
		return;
	}
	tcp_share_closing(c, t);
	if (t->state == TCP_OPEN)
		tcp_ready(c, t);
}

static struct tcp *open_asked(struct ctl *c, struct chan *ch)
{
	struct tcp *t = NULL;

	ch->ctl = NULL;
	if (!c->draining)
		t = tcp_new(c, ch, -1);
	if (!t) {
		ch->err = c->draining ? CHAN_ERR_STOPS : ENOMEM;
		ctl_post(c, ch->worker_id, &ch->to_worker, CHAN_EV_RESET);
		return NULL;
	}
	tcp_dial(c, t);
	return t;
}

void tcp_mail(struct ctl *c, struct chan *ch, uint32_t events)
{
	struct tcp *t = events & CHAN_EV_OPEN ? open_asked(c, ch) : ch->ctl;

	if (!t) {
		if (events & CHAN_EV_CLOSE)
			ctl_post(c, ch->worker_id, &ch->to_worker, CHAN_EV_GONE);
		return;
	}
	if (events & CHAN_EV_UP)
		tcp_log_opened(c, t);
	if ((events & CHAN_EV_ROOM) && !(t->flags & (TCP_F_CLOSING | TCP_F_DRAIN))) {
		chan_trim(c->conf.chans, &ch->up);
		tcp_share_taken(c, t);
	}
	if (events & CHAN_EV_EOF)
		t->flags |= TCP_F_EOF_OUT;
	if (events & CHAN_EV_CLOSE)
		close_asked(c, t);
	else if (t->state == TCP_FAILED && (events & CHAN_EV_DATA))
		throw_away(c, t);
	else if (t->state == TCP_OPEN && (events & (CHAN_EV_DATA | CHAN_EV_ROOM | CHAN_EV_EOF)))
		tcp_ready(c, t);
}

/* ---- a turn ---- */

void tcp_turn(struct ctl *c)
{
	struct list todo;

	list_init(&todo);
	list_splice_tail(&todo, &c->ready);
	for (unsigned i = 0; i < TCP_TURN; i++) {
		struct list *l = list_pop(&todo);

		if (!l)
			break;
		struct tcp *t = container_of(l, struct tcp, ready);

		if (tcp_move(c, t))
			tcp_ready(c, t);
	}
	/* Those that had no turn now come before those that had one. */
	list_splice_tail(&todo, &c->ready);
	list_splice_tail(&c->ready, &todo);
}

static void on_starved(struct ctl *c, struct timer *timer)
{
	struct list *l;

	(void)timer;
	for (unsigned i = 0; i < TCP_TURN && (l = list_pop(&c->starved)); i++) {
		struct tcp *t = container_of(l, struct tcp, starved);

		t->flags &= (uint16_t)~TCP_F_STARVED;
		tcp_ready(c, t);
	}
	if (!list_empty(&c->starved))
		ctl_arm(c, &c->starved_timer, TCP_STARVED_MS);
}

void tcp_starve(struct ctl *c, struct tcp *t)
{
	t->flags |= TCP_F_STARVED;
	list_add_tail(&c->starved, &t->starved);
	c->stats.no_chunk++;
	c->tunnels[t->tunnel].starved++;
	tcp_share_wanted(c);
	if (!wheel_armed(&c->starved_timer.ent))
		ctl_arm(c, &c->starved_timer, TCP_STARVED_MS);
}

/* Of all instances, an even part of it. */
static unsigned linger_max(const struct ctl *c)
{
	const struct ctl *first = c->conf.id ? c->conf.first : c;
	unsigned n = first->conf.n_controls ? first->conf.n_controls : 1;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur / 4 < LINGER_MAX)
		return (unsigned)r.rlim_cur / 4 / n;
	return LINGER_MAX / n;
}

void tcp_up(struct ctl *c)
{
	wheel_ent_init(&c->starved_timer.ent);
	c->starved_timer.fn = on_starved;
	c->linger_max = linger_max(c);
	tcp_share_up(c);
	tcp_log_up(c);
}

void tcp_drain(struct ctl *c)
{
	list_for_each_safe (l, next, &c->conns) {
		struct tcp *t = container_of(l, struct tcp, all);

		if (!t->ch || t->state == TCP_FAILED || (t->flags & TCP_F_CLOSING))
			continue;
		if (t->state != TCP_OPEN) {
			tcp_fail(c, t, -CHAN_ERR_STOPS);
			continue;
		}
		t->flags |= TCP_F_DRAIN;
		t->ch->err = CHAN_ERR_STOPS;
		ctl_post(c, t->ch->worker_id, &t->ch->to_worker, CHAN_EV_RESET);
	}
}

/* Everything that there was for the peer is in the kernel's hands. */
static bool whole(const struct tcp *t)
{
	return t->state == TCP_LINGER || (t->ch && (t->flags & TCP_F_CLOSING) && chan_used(&t->ch->down) == 0);
}

uint64_t tcp_undelivered(const struct ctl *c, unsigned *conns)
{
	uint64_t bytes = 0;

	*conns = 0;
	list_for_each_safe (l, next, &c->conns) {
		struct tcp *t = container_of(l, struct tcp, all);
		uint64_t n = t->ch && t->state != TCP_FAILED ? chan_used(&t->ch->down) : 0;

		if (t->state == TCP_LINGER && (t->flags & TCP_F_ABORT))
			n += (uint64_t)unsent(t);
		*conns += n != 0;
		bytes += n;
	}
	return bytes;
}

void tcp_down(struct ctl *c)
{
	list_for_each_safe (l, next, &c->conns) {
		struct tcp *t = container_of(l, struct tcp, all);

		/* A clean end would tell the peer that it has everything. */
		if (t->ev.fd >= 0 && (!whole(t) || (t->flags & TCP_F_ABORT)))
			reset_socket(t);
		else if (t->ev.fd >= 0)
			close_resets(t->ev.fd, false);
		tcp_free(c, t);
	}
}
