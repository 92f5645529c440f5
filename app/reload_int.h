/* SPDX-License-Identifier: MIT */
#pragma once

/* What the two files of a reload share: reload.c, and reload_tunnels.c. */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "app.h"
#include "reload.h"

#define RELOAD_GRACE_MS 10000 /* for workers to have begun another turn */

struct tunnel_change;

/* What is ready for control. */
struct change {
	int (*step)(struct app *a, void *ctx); /* or only that */
	void *ctx;
	int ret;
	const struct conf *want;
	struct tunnel_change *v;
	unsigned n;
};

struct reload {
	struct app *a;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t some, done;
	struct reload_job *job; /* asked for, or under way */
	bool again;
	atomic_bool end;
	_Atomic(struct change *) ready;
	sem_t taken;
};

/* Calls fn between two turns of control's; -ESHUTDOWN: not any more. */
int reload_on_control(struct reload *r, int (*fn)(struct app *a, void *ctx), void *ctx);

/* reload_tunnels.c: takes away those that the file has no more, and makes those that are new; where one cannot be, job
 * says why. */
void reload_remove(struct reload *r, struct reload_job *job);
void reload_add(struct reload *r, struct reload_job *job);
