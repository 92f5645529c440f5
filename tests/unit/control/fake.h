/* SPDX-License-Identifier: MIT */
#pragma once

/* A worker that the test plays: it echoes, half-closes, resets, stops reading, and counts. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <criterion/criterion.h>

#include "lab.h"

#define SOON	60000 /* ms: a guard against hanging */
#define STREAMS 1200
#define PORT	8388

/* A stream as the test's worker sees it. */
struct stream {
	struct chan *c;
	unsigned worker;
	uint32_t seen;	  /* events so far */
	uint64_t in, out; /* bytes from and to TCP */
	bool echo, hold;  /* echo what comes; hold: read nothing */
	bool eof_after;	  /* answer EOF by EOF when everything was echoed */
	bool closed, gone;
};

extern struct lab lab;
extern struct stream streams[STREAMS];
extern unsigned n_streams;
extern bool echo, hold, eof_after, close_on_eof; /* of streams to come */

/* For .init; then a laboratory with as many workers and chunks. */
void setup(void);
void begin(unsigned workers, unsigned chunks);

void post(struct stream *s, uint32_t ev);
/* Server: the peer opens a stream. */
struct stream *opens(unsigned tunnel);
/* The same with a chan of the test's own, filled in but for whose it is. */
struct stream *opens_with(struct chan *c);
/* The same, its connection being a further control instance's. */
struct stream *opens_at(unsigned tunnel, unsigned ctl);
/* Bytes from the peer; returns how many were taken. */
uint32_t says(struct stream *s, const void *p, uint32_t n);
void closes(struct stream *s, bool abort);
/* Takes what is in the ring, echoing it when the stream does. */
void drain(struct stream *s);
/* Takes what control has posted. */
void work(void);

#define until(cond) cr_assert(lab_until(&lab, SOON, (work(), (cond))), "%s", #cond)

/* Every stream is closed by the worker, and control gives them all back. */
void finish(void);
/* With nothing to do a turn sleeps as long as it may: of several, one does so undisturbed.  A busy loop never would. */
bool sleeps(void);
ssize_t now(int fd, void *buf, size_t n);
/* Sends and expects n bytes of a pattern through an echoing stream. */
void exchange(int fd, size_t n);
