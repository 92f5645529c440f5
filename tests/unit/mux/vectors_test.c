/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "rig.h"
#include "vectors.h"

/* One frame of the file. */
struct seen {
	bool c2s;
	uint8_t head[8];
	const char *step;
	const json_t *v;
};

static struct mux client, server;
static struct mux_conf client_conf = {.client = true, .framesize = 8192, .smuxbuf = 4 << 20, .max_streams = 1024};
static struct mux_conf server_conf = {.framesize = 8192, .smuxbuf = 4 << 20, .max_streams = 1024};
static struct mem *mem;
static size_t idle;

static void up(uint8_t version, uint32_t streambuf)
{
	mem = rig_heap(1 << 20);
	idle = mem_used(mem);
	client_conf.version = server_conf.version = version;
	client_conf.streambuf = server_conf.streambuf = streambuf;
	mux_init(&client, &client_conf, mem);
	mux_init(&server, &server_conf, mem);
}

static void down(void)
{
	mux_fini(&client);
	mux_fini(&server);
	cr_assert_eq(mem_used(mem), idle);
}

/* The i-th frame of a list, notes left out; false beyond the last. */
static bool nth(const json_t *list, size_t *i, struct seen *f)
{
	for (; *i < json_array_size(list); ++*i) {
		const char *dir;
		uint8_t *head;
		size_t n;

		f->v = json_array_get(list, *i);
		dir = json_string_value(json_object_get(f->v, "dir"));
		if (dir[0] == 'n')
			continue;
		head = vectors_hex(f->v, "header", &n);
		cr_assert_eq(n, 8);
		memcpy(f->head, head, 8);
		free(head);
		f->c2s = dir[0] == 'c';
		f->step = json_string_value(json_object_get(f->v, "step"));
		++*i;
		return true;
	}
	return false;
}

/* consumed of a UPD entry: from the frame, or where only headers are kept, from the description. */
static uint32_t consumed_of(const json_t *v)
{
	const char *at = strstr(json_string_value(json_object_get(v, "desc")), "consumed=");

	cr_assert(at);
	return (uint32_t)strtoul(at + 9, NULL, 10);
}

static uint32_t window_of(const json_t *v)
{
	const char *at = strstr(json_string_value(json_object_get(v, "desc")), "window=");

	cr_assert(at);
	return (uint32_t)strtoul(at + 7, NULL, 10);
}

static struct mux_stream *find(struct mux *m, uint32_t id)
{
	uint32_t cursor = 0;
	struct mux_stream *s;

	while ((s = mux_each(m, &cursor))) {
		if (s->id == id)
			return s;
	}
	return NULL;
}

/* Payload of this and the following frames that one write made. */
static uint32_t write_len(const json_t *list, size_t next, const struct seen *f)
{
	uint32_t n = le16_get(f->head + 2);
	struct seen g;

	while (nth(list, &next, &g) && g.c2s == f->c2s && g.head[1] == PSH && !strcmp(g.step, f->step))
		n += le16_get(g.head + 2);
	return n;
}

/* Does on m what made stock send f.  False: nothing is to come of it. */
static bool act(struct mux *m, const json_t *list, size_t next, const struct seen *f)
{
	uint32_t sid = le32_get(f->head + 4);
	struct mux_stream *s = sid ? find(m, sid) : NULL;

	switch (f->head[1]) {
	case SYN:
		s = mux_open(m, NULL);
		cr_assert(s && s->id == sid);
		break;
	case PSH:
		cr_assert(s);
		if (!s->avail)
			mux_avail(m, s, write_len(list, next, f));
		break;
	case FIN:
		cr_assert(s);
		if (s->held)
			mux_taken(m, s, s->held);
		mux_close(m, s, f->c2s);
		break;
	case UPD:
		cr_assert(s);
		mux_taken(m, s, consumed_of(f->v) - s->taken);
		return !(s->flags & MUX_S_FIN_IN); /* its sender has forgotten the stream: ours saves the UPD */
	case NOP:
		mux_keepalive(m);
		break;
	}
	return true;
}

/* Gives the frame to m and checks what it makes of it. */
static void hear(struct mux *m, const struct seen *f, const uint8_t *frame, size_t n)
{
	static const enum mux_ev_type means[] = {MUX_EV_OPEN, MUX_EV_FIN, MUX_EV_DATA, MUX_EV_NONE, MUX_EV_NONE};
	bool known = find(m, le32_get(f->head + 4)) || f->head[1] == SYN;
	struct slice in = {frame, (uint32_t)n};
	struct mux_ev ev;

	cr_assert_eq(mux_next(m, &in, &ev), 0);
	cr_assert_eq(in.n, 0);
	cr_assert_eq(ev.type, known ? means[f->head[1]] : MUX_EV_NONE, "event %d on cmd %u", ev.type, f->head[1]);
	if (ev.type == MUX_EV_DATA)
		cr_assert(ev.data.p == frame + 8 && ev.data.n == n - 8);
	if (ev.stream)
		cr_assert_eq(ev.stream->id, le32_get(f->head + 4));
}

/* A whole session, both ends of it ours: each sends stock's frames, in stock's order, and understands them. */
static void session(const char *name, uint8_t version)
{
	json_t *all = vectors_load("smux"), *list = json_object_get(all, name);
	struct mux_out o;
	struct seen f;
	size_t i = 0, frames = 0;

	up(version, 16384);
	while (nth(list, &i, &f)) {
		struct mux *from = f.c2s ? &client : &server;
		size_t n;
		uint8_t *frame = vectors_hex(f.v, "frame", &n);

		if (act(from, list, i, &f)) {
			cr_assert(out(from, &o), "%zu: %s", i, f.step);
			cr_assert(memcmp(o.head, frame, o.head_n) == 0, "%zu: %s", i, f.step);
			cr_assert_eq(o.head_n + o.n, n);
		}
		if (!from->run.next || !find(from, le32_get(f.head + 4)) || !find(from, le32_get(f.head + 4))->avail)
			expect_nothing(from);
		hear(f.c2s ? &server : &client, &f, frame, n);
		free(frame);
		frames++;
	}
	cr_assert(frames > 10);
	cr_assert(client.frames_in + server.frames_in == frames);
	down();
	json_decref(all);
}

Test(mux_vectors, v1_session)
{
	session("v1_session", 1);
}

Test(mux_vectors, v2_session)
{
	session("v2_session", 2);
}

/*
 * 327680 bytes written in pieces of 32768 as the file tells; the next UPD comes whenever the window is used up.  Our
 * PSH frames are stock's.
 */
static void blind(const char *name, uint32_t streambuf, uint32_t written)
{
	json_t *all = vectors_load("smux"), *list = json_object_get(all, name);
	size_t i = 0, u = 0;
	struct mux_stream *s;
	struct mux_out o;
	struct seen f, upd;

	up(2, streambuf);
	s = mux_open(&client, NULL);
	while (nth(list, &i, &f)) {
		if (!f.c2s)
			continue;
		if (f.head[1] == PSH && !s->avail) {
			mux_avail(&client, s, 32768);
			written -= 32768;
		}
		while (!mux_pending(&client)) {
			cr_assert(s->avail);
			do
				cr_assert(nth(list, &u, &upd), "blocked, and no UPD left");
			while (upd.c2s || upd.head[1] != UPD);
			feed_upd(&client, s->id, consumed_of(upd.v), window_of(upd.v));
		}
		cr_assert(out(&client, &o));
		cr_assert(memcmp(o.head, f.head, 8) == 0, "frame %zu: %u bytes, stock %u", i, o.n,
			  le16_get(f.head + 2));
	}
	cr_assert_eq(written, 0);
	cr_assert_eq(s->avail, 0);
	down();
	json_decref(all);
}

Test(mux_vectors, v2_initial_window)
{
	blind("v2_initial_window", 2097152, 327680);
}

Test(mux_vectors, v2_update_cadence_sender)
{
	blind("v2_update_cadence", 100000, 327680);
}

/* A reader that takes frame by frame sends stock's UPDs. */
Test(mux_vectors, v2_update_cadence_reader)
{
	json_t *all = vectors_load("smux"), *list = json_object_get(all, "v2_update_cadence");
	size_t i = 0, u = 0, upds = 0;
	struct mux_stream *s = NULL;
	struct mux_out o;
	struct seen f, upd;

	up(2, 100000);
	while (nth(list, &i, &f)) {
		struct mux_ev ev;

		if (!f.c2s)
			continue;
		ev = feed(&server, f.head[1], le32_get(f.head + 4), le16_get(f.head + 2), 0);
		if (ev.type == MUX_EV_OPEN)
			s = ev.stream;
		cr_assert(s);
		if (ev.type != MUX_EV_DATA)
			continue;
		mux_taken(&server, s, ev.data.n);
		if (!out(&server, &o))
			continue;
		while (nth(list, &u, &upd) && upd.c2s)
			;
		if (upd.c2s)
			break; /* the capture ended before stock's next */
		upds++;
		cr_assert_eq(o.head[1], UPD);
		cr_assert_eq(le32_get(o.head + 8), consumed_of(upd.v), "UPD at %u", le32_get(o.head + 8));
		cr_assert_eq(le32_get(o.head + 12), 100000);
	}
	cr_assert(upds >= 6, "%zu", upds);
	cr_assert_eq(server.bucket, 4 << 20);
	down();
	json_decref(all);
}
