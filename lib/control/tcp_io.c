/* SPDX-License-Identifier: MIT */

/* Bytes between a socket and its chan, both ways, a bounded number a turn. */

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proxy.h"
#include "tcp.h"

#define UP_MAX	      (256u << 10) /* in a stream's ring towards the worker: more would only wait there */
#define UP_ROOM	      (32u << 10)  /* reading goes on only when so much has been taken */
#define READ_MIN      16384u
#define READ_MAX      65536u
#define UP_ROOM_PART  8 /* and no more of a stream's than this part of what its tunnel has left */
#define DISCARD_TRIES 8
#define DISCARD_BUF   65536
#define TURN_BYTES    (128u << 10) /* each way, a connection and turn */

/* Posts and forgets what was gathered. */
static void post(struct ctl *c, struct tcp *t)
{
	if (t->post && t->ch)
		ctl_post(c, t->ch->worker_id, &t->ch->to_worker, t->post);
	t->post = 0;
}

/* Nothing is copied of TCP, so one call takes all that is there; Unix sockets only know how to copy. */
static ssize_t junk(const struct tcp *t)
{
	char buf[DISCARD_BUF];

	if (!(t->flags & TCP_F_UNIX))
		return recv(t->ev.fd, NULL, INT32_MAX, MSG_TRUNC | MSG_DONTWAIT);
	return recv(t->ev.fd, buf, sizeof(buf), MSG_DONTWAIT);
}

bool tcp_discard(struct tcp *t)
{
	ssize_t n;

	/* A peer that fills the socket again meanwhile does so a few times. */
	for (unsigned i = 0; i < DISCARD_TRIES; i++) {
		n = junk(t);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (n < 0 && errno == EAGAIN) {
			t->flags &= (uint16_t)~TCP_F_READABLE;
			return true;
		}
	}
	return true;
}

/*
 * What a stream may have in its ring: more would only wait there.  A stream whose peer takes nothing holds a part of
 * what its tunnel has left, so that all others always find something.
 */
static uint32_t up_most(const struct ctl *c, const struct tcp *t)
{
	uint64_t part = chan_room(c->conf.chans, t->tunnel) / UP_ROOM_PART;

	return part >= UP_MAX ? UP_MAX : part <= UP_ROOM ? UP_ROOM : (uint32_t)part;
}

static bool may_read(const struct ctl *c, const struct tcp *t)
{
	return (t->flags & TCP_F_READABLE) &&
	       !(t->flags & (TCP_F_EOF_IN | TCP_F_STARVED | TCP_F_CLOSING | TCP_F_DRAIN)) &&
	       chan_used(&t->ch->up) + UP_ROOM <= up_most(c, t);
}

static bool may_discard(const struct tcp *t)
{
	return (t->flags & (TCP_F_READABLE | TCP_F_CLOSING | TCP_F_EOF_IN)) == (TCP_F_READABLE | TCP_F_CLOSING);
}

static bool may_write(const struct tcp *t)
{
	return (t->flags & (TCP_F_WRITABLE | TCP_F_BROKEN)) == TCP_F_WRITABLE &&
	       (t->lead || chan_used(&t->ch->down) > 0);
}

/* The next read asks for more while reads come back full, and for less when they do not: chunks lent are not held. */
static void adapt(struct tcp *t, uint32_t asked, uint32_t got)
{
	if (got == asked && t->want < READ_MAX)
		t->want *= 2;
	else if (got * 2 < asked && t->want > READ_MIN)
		t->want /= 2;
}

/* The last chunks are for what comes from the peers: without them nobody would ever give any back. */
static bool up_chunks(const struct ctl *c, const struct tcp *t)
{
	const struct shares *s = &c->conf.chans->chunk_shares;

	return shares_room(s, t->tunnel) > s->of[t->tunnel].sure / 4;
}

/*
 * What a small request costs is the kernel's calls.  Those for one slice copy no list of them in, and by syscall(2) no
 * library call looks first whether this thread is being cancelled, as it does where there are several.
 */
static ssize_t receive(int fd, const struct iovec *v, unsigned n)
{
	if (n > 1)
		return readv(fd, v, (int)n);
	return syscall(SYS_recvfrom, fd, v->iov_base, v->iov_len, MSG_DONTWAIT, NULL, NULL);
}

static ssize_t transmit(int fd, struct iovec *v, unsigned n)
{
	const struct msghdr m = {.msg_iov = v, .msg_iovlen = n};

	if (n > 1)
		return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	return syscall(SYS_sendto, fd, v->iov_base, v->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

/* One readv; its bytes, 0 when there is nothing to be had now, or -errno. */
static int read_some(struct ctl *c, struct tcp *t)
{
	uint32_t used = chan_used(&t->ch->up), most = up_most(c, t), want = t->want, room = 0;
	struct iovec v[CHAN_IOV];
	unsigned n = 0;
	ssize_t got;
	int err = 0;

	if (used + want > most)
		want = most > used ? most - used : READ_MIN;
	if (up_chunks(c, t))
		n = chan_space(c->conf.chans, &t->ch->up, want, v);
	if (n == 0) {
		tcp_starve(c, t);
		return 0;
	}
	for (unsigned i = 0; i < n; i++)
		room += (uint32_t)v[i].iov_len;
	got = receive(t->ev.fd, v, n);
	if (got < 0)
		err = errno;
	chan_commit(c->conf.chans, &t->ch->up, got > 0 ? (uint32_t)got : 0);
	if (got < 0 && err != EAGAIN && err != EINTR)
		return -err;
	if (got < 0) {
		t->flags &= err == EAGAIN ? (uint16_t)~TCP_F_READABLE : UINT16_MAX;
		return 0;
	}
	if (got == 0) {
		t->flags |= TCP_F_EOF_IN;
		/* Behind an error that writing has met it is no clean end, but where the reading ends. */
		if (!t->err)
			t->post |= CHAN_EV_EOF;
		return 0;
	}
	/* Short: the socket is empty, and epoll tells of more; but not of a FIN that it has told of already. */
	if ((uint32_t)got < room && !(t->flags & (TCP_F_RDHUP | TCP_F_UNIX)))
		t->flags &= (uint16_t)~TCP_F_READABLE;
	adapt(t, room, (uint32_t)got);
	c->stats.tcp_in_bytes += (uint64_t)got;
	if (list_empty(&t->waiting))
		tcp_share_taken(c, t);
	t->post |= CHAN_EV_DATA;
	return (int)got;
}

/* What is to go: in front the rest of the PROXY header, which lies in `head`. */
static unsigned to_write(const struct tcp *t, uint8_t head[PROXY_MAX], struct iovec v[1 + CHAN_IOV])
{
	if (!t->lead)
		return chan_peek(&t->ch->down, v, CHAN_IOV);
	v[0] = (struct iovec){head + proxy_head(t->ch, head) - t->lead, t->lead};
	return 1 + chan_peek(&t->ch->down, v + 1, CHAN_IOV);
}

/* Of what was written the stream's bytes: all that is no header. */
static uint32_t led(struct tcp *t, uint32_t put)
{
	uint32_t lead = put < t->lead ? put : t->lead;

	t->lead = (uint8_t)(t->lead - lead);
	return put - lead;
}

/* One sendmsg; the stream's bytes of it, 0 when the socket takes none now, or -errno. */
static int write_some(struct ctl *c, struct tcp *t)
{
	uint8_t head[PROXY_MAX];
	struct iovec v[1 + CHAN_IOV];
	unsigned n = to_write(t, head, v);
	size_t want = 0;
	ssize_t put;

	for (unsigned i = 0; i < n; i++)
		want += v[i].iov_len;
	put = transmit(t->ev.fd, v, n);
	if (put < 0 && errno == EINTR)
		return 0;
	if (put < 0 && errno != EAGAIN)
		return -errno;
	if (put < (ssize_t)want)
		t->flags &= (uint16_t)~TCP_F_WRITABLE;
	if (put <= 0)
		return 0;
	put = led(t, (uint32_t)put);
	if (put == 0)
		return 0;
	chan_done(c->conf.chans, &t->ch->down, (uint32_t)put);
	c->stats.tcp_out_bytes += (uint64_t)put;
	t->post |= CHAN_EV_ROOM;
	return (int)put;
}

/* The socket is broken.  The kernel keeps what arrived before: it is read to its end, and then the error is told. */
static void broken(struct tcp *t, int err)
{
	if (!t->err)
		t->err = err;
	t->flags |= TCP_F_BROKEN | TCP_F_READABLE | TCP_F_RDHUP;
	t->lead = 0;
}

static void move_in(struct ctl *c, struct tcp *t)
{
	for (uint32_t sum = 0; sum < TURN_BYTES && may_read(c, t);) {
		int n = read_some(c, t);

		if (n < 0) {
			broken(t, n);
			t->flags |= TCP_F_EOF_IN;
		}
		if (n <= 0)
			return;
		sum += (uint32_t)n;
	}
}

static void move_out(struct ctl *c, struct tcp *t)
{
	uint32_t sum = 0;

	while (sum < TURN_BYTES && may_write(t)) {
		int n = write_some(c, t);

		if (n < 0)
			broken(t, n);
		if (n <= 0)
			break;
		sum += (uint32_t)n;
	}
	if ((t->flags & TCP_F_BROKEN) && chan_junk(c->conf.chans, &t->ch->down))
		t->post |= CHAN_EV_ROOM;
	tcp_share_wrote(c, t, sum);
}

/* An error that neither reading nor writing would meet, since both have ended. */
static void late_error(struct tcp *t)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if ((t->flags & (TCP_F_ERROR | TCP_F_EOF_IN)) != (TCP_F_ERROR | TCP_F_EOF_IN))
		return;
	t->flags &= (uint16_t)~TCP_F_ERROR;
	getsockopt(t->ev.fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err)
		broken(t, -err);
}

/* Broken, and nothing more is read of it. */
static bool failed(const struct tcp *t)
{
	return t->err && (t->flags & (TCP_F_EOF_IN | TCP_F_CLOSING | TCP_F_DRAIN));
}

/* The ring is drained: EOF becomes FIN, CLOSE becomes the end. True when t has ended. */
static bool end_out(struct ctl *c, struct tcp *t)
{
	if (!(t->flags & (TCP_F_EOF_OUT | TCP_F_CLOSING)) || t->lead || chan_used(&t->ch->down) > 0)
		return false;
	if (t->flags & TCP_F_CLOSING) {
		tcp_finish(c, t);
		return true;
	}
	tcp_shut(t);
	return false;
}

bool tcp_move(struct ctl *c, struct tcp *t)
{
	if (t->state != TCP_OPEN)
		return false;
	move_out(c, t);
	move_in(c, t);
	/* A peer that only writes must not be stuck on us before it reads. */
	if (may_discard(t) && !tcp_discard(t))
		t->flags |= TCP_F_EOF_IN;
	late_error(t);
	if (failed(t)) {
		tcp_fail(c, t, t->err);
		return false;
	}
	post(c, t);
	if (end_out(c, t))
		return false;
	return may_read(c, t) || may_write(t) || may_discard(t);
}
