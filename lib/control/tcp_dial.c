/* SPDX-License-Identifier: MIT */

/* Server tunnels: from a stream that the peer opened to a connection with the target. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy.h"
#include "sock.h"
#include "tcp.h"

#define DIAL_LINES  10
#define DIAL_PERIOD 10
#define UNIX_MS	    10	 /* a Unix target whose backlog is full is tried again */
#define FD_MS	    10	 /* so long another instance has to give up a port that it holds */
#define ADDR_MS	    2000 /* each of several addresses has at least so long, as Go has it */

static void dial_failed(struct ctl *c, struct tcp *t, int err, const char *text)
{
	struct tunnel *tun = &c->tunnels[t->tunnel];
	const struct log_field about[] = {{.name = "tunnel", .text = tun->conf->name}};
	uint32_t left_out = 0;

	c->stats.dial_failed++;
	c->stats.dial_timeouts += err == -ETIMEDOUT;
	if (log_allow(&tun->dial_limit, c->now / 1000, DIAL_LINES, DIAL_PERIOD, &left_out)) {
		if (left_out)
			log_info("tunnel %s: %u lines like the next one left out", tun->conf->name, left_out);
		if (tun->conf->target_path)
			log_event(LOG_INFO, "dial_failed", about, 1, "tunnel %s: dial %s: %s", tun->conf->name,
				  tun->conf->target_path, text);
		else
			log_event(LOG_INFO, "dial_failed", about, 1, "tunnel %s: dial %s:%u: %s", tun->conf->name,
				  tun->host.host, tun->conf->target.port_min, text);
	}
	tcp_fail(c, t, err);
}

/* The timer of a dial: at a time, but never later than it may take. */
static void arm_at(struct ctl *c, struct tcp *t, uint64_t at)
{
	if (at > t->dial_until)
		at = t->dial_until;
	ctl_arm(c, &t->timer, at > c->now ? at - c->now : 1);
}

/* A new socket.  Where there are no descriptors, a port that is held gives way. */
static int new_socket(struct ctl *c, struct tcp *t, int family)
{
	do {
		t->ev.fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	} while (t->ev.fd < 0 && errno == EMFILE && dial_give_up(c));
	return t->ev.fd < 0 ? -errno : 0;
}

/* What the target is told before all else: as the tunnel is now, whose target is being dialled. */
static uint8_t lead(const struct ctl *c, const struct tcp *t)
{
	uint8_t head[PROXY_MAX];

	return c->tunnels[t->tunnel].conf->proxy ? (uint8_t)proxy_head(t->ch, head) : 0;
}

/* Begins to connect a new socket.  0, or -errno. */
static int connect_new(struct ctl *c, struct tcp *t, const struct sockaddr *to, socklen_t len)
{
	int err;

	t->flags &= (uint16_t) ~(TCP_F_RDHUP | TCP_F_UNIX); /* of the address tried before */
	t->flags |= to->sa_family == AF_UNIX ? TCP_F_UNIX : 0;
	t->lead = lead(c, t);
	err = new_socket(c, t, to->sa_family);
	if (err)
		return err;
	if (connect(t->ev.fd, to, len) && errno != EINPROGRESS)
		err = -errno;
	else
		err = tcp_watch(c, t);
	if (err)
		ctl_ev_close(&t->ev);
	return err;
}

/* A Unix socket connects at once, or not; one whose backlog is full only does not wait, as TCP's would. */
static void dial_unix(struct ctl *c, struct tcp *t)
{
	const char *path = c->tunnels[t->tunnel].conf->target_path;
	struct sockaddr_un un;
	socklen_t len;
	int err = sock_unix(path, &un, &len);

	t->state = TCP_RESOLVE;
	if (!err)
		err = connect_new(c, t, (struct sockaddr *)&un, len);
	if (!err)
		t->state = TCP_CONNECT;
	else if (err == -EAGAIN || (err == -EMFILE && team_want_fd(c)))
		arm_at(c, t, c->now + UNIX_MS);
	else
		dial_failed(c, t, err, strerror(-err));
}

/* Begins to connect to one address.  0, or -errno. */
static int connect_to(struct ctl *c, struct tcp *t, const struct addr *a)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_addr(a, c->tunnels[t->tunnel].conf->target.port_min, &ss);
	int err = sock_zone(&ss, c->tunnels[t->tunnel].host.zone);

	t->target = *a;
	return err ? err : connect_new(c, t, (struct sockaddr *)&ss, len);
}

/* How long one of several addresses may take: an even part of what is left. */
static uint64_t addr_ms(const struct ctl *c, const struct tcp *t)
{
	uint64_t left = t->dial_until - c->now, part;

	part = left / (c->tunnels[t->tunnel].host.n - t->tries + 1u);
	return part < ADDR_MS ? ADDR_MS : part;
}

/* The next address of the target that can be tried at all; err: why the last one failed. */
static void dial_next(struct ctl *c, struct tcp *t, int err)
{
	struct name *host = &c->tunnels[t->tunnel].host;

	t->state = TCP_CONNECT;
	while (t->tries < host->n && c->now < t->dial_until) {
		err = connect_to(c, t, &host->addrs[t->tries++]);
		if (!err) {
			arm_at(c, t, c->now + addr_ms(c, t));
			return;
		}
		if (err == -EMFILE && team_want_fd(c)) {
			t->tries--;
			t->state = TCP_RESOLVE;
			arm_at(c, t, c->now + FD_MS);
			return;
		}
	}
	dial_failed(c, t, err, strerror(-err));
}

void tcp_dial_named(struct ctl *c, struct tcp *t)
{
	struct name *host = &c->tunnels[t->tunnel].host;

	if (c->tunnels[t->tunnel].conf->target_path) { /* which it has become meanwhile */
		dial_unix(c, t);
		return;
	}
	t->state = TCP_RESOLVE;
	if (!name_ask(&c->names, host, &t->wait, c->now))
		return;
	if (host->n == 0)
		dial_failed(c, t, -EHOSTUNREACH, name_error(host));
	else
		dial_next(c, t, -EHOSTUNREACH);
}

/* ---- whose turn it is ---- */

static bool may_dial(const struct ctl *c, unsigned tunnel)
{
	return quota_may(&c->team->dials, &c->team->tunnel[tunnel].dials) && fd_may(c, tunnel);
}

static void dial_now(struct ctl *c, struct tcp *t)
{
	struct tunnel *tun = &c->tunnels[t->tunnel];

	quota_add(&c->team->dials, &c->team->tunnel[t->tunnel].dials);
	fd_add(c, t->tunnel);
	t->dialling = t->has_fd = true;
	c->stats.dials++;
	if (tun->conf->target_path)
		dial_unix(c, t);
	else
		tcp_dial_named(c, t);
}

/*
 * Those that wait stand in classes by how many of their session come before them, in powers of two: who has few has his
 * turn before who has many, and where there is no room for more the last of who has most gives way.
 */
static unsigned dial_class(const struct tcp *t)
{
	unsigned c = t->ch && t->ch->place ? 32 - (unsigned)__builtin_clz(t->ch->place) : 0;

	return c < DIAL_CLASSES ? c : DIAL_CLASSES - 1;
}

static struct tcp *dial_first(const struct tunnel *tun)
{
	for (unsigned i = 0; i < DIAL_CLASSES; i++)
		if (!list_empty(&tun->dial_wait[i]))
			return container_of(tun->dial_wait[i].next, struct tcp, dial);
	return NULL;
}

static struct tcp *dial_last(const struct tunnel *tun)
{
	for (unsigned i = DIAL_CLASSES; i-- > 0;)
		if (!list_empty(&tun->dial_wait[i]))
			return container_of(tun->dial_wait[i].prev, struct tcp, dial);
	return NULL;
}

static void wait_in(struct ctl *c, struct tcp *t)
{
	struct tunnel *tun = &c->tunnels[t->tunnel];

	list_add_tail(&tun->dial_wait[dial_class(t)], &t->dial);
	tun->n_dial_wait++;
	c->stats.dials_waiting++;
	if (list_empty(&tun->turn))
		list_add_tail(&c->dial_turn, &tun->turn);
}

void tcp_dial(struct ctl *c, struct tcp *t)
{
	struct tunnel *tun = &c->tunnels[t->tunnel];

	t->state = TCP_WAIT;
	t->dial_until = c->now + c->dial_ms;
	ctl_arm(c, &t->timer, c->dial_ms);
	if (!tun->n_dial_wait && may_dial(c, t->tunnel)) {
		dial_now(c, t);
		return;
	}
	if (tun->n_dial_wait >= c->dial_queue) {
		struct tcp *out = dial_last(tun);

		if (!out || dial_class(out) <= dial_class(t))
			out = t;
		c->stats.dial_refused++;
		dial_failed(c, out, -CHAN_ERR_DIALS, "too many wait for their turn");
		if (out == t)
			return;
	}
	wait_in(c, t);
}

static void wait_over(struct ctl *c, struct tcp *t)
{
	struct tunnel *tun = &c->tunnels[t->tunnel];

	if (list_empty(&t->dial))
		return;
	list_del(&t->dial);
	c->stats.dials_waiting--;
	if (--tun->n_dial_wait == 0)
		list_del(&tun->turn);
}

void tcp_dial_over(struct ctl *c, struct tcp *t)
{
	wait_over(c, t);
	if (!t->dialling)
		return;
	t->dialling = false;
	quota_give(&c->team->dials, &c->team->tunnel[t->tunnel].dials);
	c->stats.dials--;
	team_given(c);
}

/* Each tunnel whose dials wait begins one, where it may.  False: none did. */
static bool dial_round(struct ctl *c)
{
	struct list todo, *l;
	bool any = false;

	list_init(&todo);
	list_splice_tail(&todo, &c->dial_turn);
	while ((l = list_pop(&todo))) {
		struct tunnel *tun = container_of(l, struct tunnel, turn);
		struct tcp *t = dial_first(tun);

		list_add_tail(&c->dial_turn, &tun->turn);
		if (!t || !may_dial(c, (unsigned)(tun - c->tunnels)))
			continue;
		wait_over(c, t);
		dial_now(c, t);
		any = true;
	}
	return any;
}

void tcp_dial_turn(struct ctl *c)
{
	if (!list_empty(&c->dial_turn) && team_wait(c))
		c->dial_wake = true;
	while (c->dial_wake) {
		c->dial_wake = false;
		while (dial_round(c))
			;
	}
}

/* ---- what happens to one ---- */

void tcp_dial_timer(struct ctl *c, struct tcp *t)
{
	if (c->now >= t->dial_until) {
		dial_failed(c, t, -ETIMEDOUT,
			    t->state == TCP_WAIT ? "no turn in time, for too many are under way" : strerror(ETIMEDOUT));
	} else if (t->state == TCP_CONNECT) { /* this address has had its time */
		ctl_ev_close(&t->ev);
		dial_next(c, t, -ETIMEDOUT);
	} else if (t->state == TCP_RESOLVE && t->tries) { /* there was no descriptor */
		dial_next(c, t, -EMFILE);
	} else if (t->state == TCP_RESOLVE) { /* likewise, or the backlog of a Unix socket is full */
		tcp_dial_named(c, t);
	}
}

void tcp_dialled(struct ctl *c, struct tcp *t)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(t->ev.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		ctl_ev_close(&t->ev);
		dial_next(c, t, -err);
		return;
	}
	t->state = TCP_OPEN;
	wheel_disarm(&c->wheel, &t->timer.ent);
	tcp_dial_over(c, t);
	/* The edge that told of the connection may have told of its first bytes, or of its end, too. */
	t->flags |= TCP_F_READABLE | TCP_F_WRITABLE;
	c->stats.dialled++;
	tcp_log_opened(c, t);
	if (!(t->flags & TCP_F_CLOSING))
		t->post |= CHAN_EV_UP;
	tcp_ready(c, t);
}
