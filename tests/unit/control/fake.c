/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"

struct lab lab;
struct stream streams[STREAMS];
unsigned n_streams;
bool echo, hold, eof_after, close_on_eof;

void begin(unsigned workers, unsigned chunks)
{
	struct rlimit files = {4096, 20000};

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	lab_init(&lab, workers, chunks, STREAMS + 64);
	memset(streams, 0, sizeof(streams));
	n_streams = 0;
	echo = hold = eof_after = close_on_eof = false;
}

void setup(void)
{
	lab_enter();
}

void post(struct stream *s, uint32_t ev)
{
	mbox_post(border_of(lab.borders[s->worker], s->c->ctl_id)->to_ctl, &s->c->to_ctl, ev);
}

static struct stream *add(struct chan *c, unsigned worker)
{
	struct stream *s = &streams[n_streams++];

	cr_assert_leq(n_streams, STREAMS);
	*s = (struct stream){.c = c, .worker = worker, .echo = echo, .hold = hold, .eof_after = eof_after};
	c->worker = s;
	return s;
}

struct stream *opens(unsigned tunnel)
{
	return opens_at(tunnel, 0);
}

struct stream *opens_with(struct chan *c)
{
	struct stream *s;

	c->worker_id = 0;
	s = add(c, 0);
	post(s, CHAN_EV_OPEN);
	return s;
}

struct stream *opens_at(unsigned tunnel, unsigned ctl)
{
	struct chan *c = chan_alloc(&lab.chans, tunnel);

	cr_assert_not_null(c);
	c->ctl_id = (uint16_t)ctl;
	c->sid = 3;
	c->peer = addr_v4(203u << 24 | 113 << 8 | 7);
	c->peer_port = 40000;
	return opens_with(c);
}

uint32_t says(struct stream *s, const void *p, uint32_t n)
{
	struct slice v = {p, n};
	uint32_t put = chan_write(&lab.chans, &s->c->down, &v, 1);

	s->out += put;
	post(s, CHAN_EV_DATA);
	return put;
}

void drain(struct stream *s)
{
	struct iovec v[CHAN_IOV];
	unsigned n;

	while (!s->hold && !s->closed && (n = chan_peek(&s->c->up, v, CHAN_IOV))) {
		uint32_t sum = 0;

		for (unsigned i = 0; i < n; i++) {
			uint32_t len = (uint32_t)v[i].iov_len;

			if (s->echo && chan_used(&s->c->down) > 1 << 20)
				break;
			if (s->echo)
				len = says(s, v[i].iov_base, len);
			sum += len;
			if (len < v[i].iov_len)
				break;
		}
		if (sum == 0)
			return;
		s->in += sum;
		chan_done(&lab.chans, &s->c->up, sum);
		post(s, CHAN_EV_ROOM);
	}
}

void closes(struct stream *s, bool abort)
{
	if (s->closed)
		return;
	s->closed = true;
	s->c->abort = abort;
	post(s, CHAN_EV_CLOSE);
}

static void event(struct chan *c, uint32_t ev, unsigned worker)
{
	struct stream *s = c->worker;

	if (ev & CHAN_EV_OPEN) {
		s = add(c, worker);
		c->sid = 2 * n_streams + 1;
		post(s, CHAN_EV_UP);
	}
	cr_assert_not(s->gone, "GONE was the last event");
	s->seen |= ev;
	if (ev & CHAN_EV_GONE) {
		cr_assert(s->closed);
		s->gone = true;
		chan_free(&lab.chans, c);
		s->c = NULL;
		return;
	}
	if (s->closed)
		return;
	if (ev & CHAN_EV_ROOM)
		chan_trim(&lab.chans, &c->down);
	drain(s);
	if (ev & CHAN_EV_RESET) {
		if (!s->hold)
			closes(s, true);
		return;
	}
	if ((s->seen & CHAN_EV_EOF) && s->eof_after && chan_used(&c->up) == 0) {
		s->eof_after = false;
		post(s, CHAN_EV_EOF);
	}
	if ((s->seen & CHAN_EV_EOF) && close_on_eof && chan_used(&c->up) == 0)
		closes(s, false);
}

static void work_for(unsigned w, unsigned ctl)
{
	struct mbox_ent *e[64];
	uint32_t ev[64];
	unsigned n = mbox_get(border_of(lab.borders[w], ctl)->to_worker, e, ev, 64);

	for (unsigned i = 0; i < n; i++) {
		struct chan *c = (struct chan *)((char *)e[i] - offsetof(struct chan, to_worker));

		cr_assert_eq(c->ctl_id, ctl);
		event(c, ev[i], w);
	}
}

void work(void)
{
	for (unsigned w = 0; w < lab.conf.n_workers; w++)
		for (unsigned k = 0; k <= lab.borders[w]->n_more; k++)
			work_for(w, k);
}

void finish(void)
{
	for (unsigned i = 0; i < n_streams; i++)
		if (streams[i].c)
			closes(&streams[i], false);
	for (unsigned i = 0; i < n_streams; i++)
		until(streams[i].gone);
	until(ctl_idle(lab.ctl));
	lab_stop(&lab);
}

bool sleeps(void)
{
	for (unsigned i = 0; i < 20; i++) {
		uint64_t from;

		usleep(1000); /* beyond the polling that follows work */
		from = lab_ms();

		lab_turn(&lab, 50);
		work();
		if (lab_ms() - from >= 45)
			return true;
	}
	return false;
}

ssize_t now(int fd, void *buf, size_t n)
{
	return recv(fd, buf, n, MSG_DONTWAIT);
}

void exchange(int fd, size_t n)
{
	uint8_t *out = malloc(n), *in = malloc(n);
	size_t sent = 0, got = 0;

	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	for (uint64_t end = lab_ms() + SOON; got < n && lab_ms() < end;) {
		ssize_t r = sent < n ? send(fd, out + sent, n - sent, MSG_DONTWAIT) : 0;

		sent += r > 0 ? (size_t)r : 0;
		lab_turn(&lab, 1);
		work();
		r = now(fd, in + got, n - got);
		got += r > 0 ? (size_t)r : 0;
	}
	cr_assert_eq(got, n);
	cr_assert_eq(memcmp(in, out, n), 0);
	free(in);
	free(out);
}
