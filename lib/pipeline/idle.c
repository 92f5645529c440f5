/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <rte_pause.h>
#include <rte_ring.h>

#include "worker_int.h"

/* A worker that finds nothing spins, then pauses, then sleeps in steps: short ones while traffic was seen lately. */
#define SPIN_US	      10
#define STEP_US	      50 /* while something happened in the last BUSY_US */
#define BUSY_US	      20000
#define QUIET_US      500000
#define QUIET_STEP_US 500
#define LONG_STEP_US  2500 /* and for good: what the first packet after two quiet seconds may have to wait */

/* Nothing came from the siblings between the last look and now: with `asleep` up they will ring. */
static bool siblings_quiet(const struct worker *w)
{
	const struct worker_mesh *mesh = w->conf.mesh;

	for (unsigned i = 0; i < mesh->n; i++)
		if (i != w->conf.id && (!rte_ring_empty(mesh->steer[i * mesh->n + w->conf.id]) ||
					!rte_ring_empty(mesh->tx[i * mesh->n + w->conf.id])))
			return false;
	return true;
}

static uint64_t idle_step_us(const struct worker *w, uint64_t idle_us, uint64_t now)
{
	uint64_t step = idle_us < BUSY_US ? STEP_US : idle_us < QUIET_US ? QUIET_STEP_US : LONG_STEP_US;
	uint64_t next = shard_next(w->conf.shard);

	if (next <= now)
		return 0;
	return next - now > step / 1000 ? step : (next - now) * 1000; /* next may be the end of time */
}

static void idle_sleep(struct worker *w, uint64_t us)
{
	struct pollfd fd = {.fd = w->conf.border->worker_bell, .events = POLLIN};
	struct timespec ts = {.tv_nsec = (long)us * 1000};

	atomic_store(&w->asleep, 1);
	if (siblings_quiet(w) && border_sleep_worker(w->conf.border, w->tbl)) {
		ppoll(&fd, 1, &ts, NULL);
		border_awake_worker(w->conf.border); /* silences the bell, whoever rang it */
	}
	atomic_store(&w->asleep, 0);
	w->stats.sleeps++;
}

/* Between turns: `since` is the TSC time of the last turn that did something. */
void worker_idle(struct worker *w, uint64_t since, uint64_t tsc)
{
	uint64_t us = (tsc - since) / (w->clock->hz / 1000000);
	uint64_t step;

	if (w->conf.poll || us < SPIN_US) {
		rte_pause();
		return;
	}
	step = idle_step_us(w, us, worker_clock_ms(w->clock, tsc));
	if (step)
		idle_sleep(w, step);
}

/* Rings those who sleep and for whom this turn left something. */
void worker_bells(struct worker *w)
{
	border_ring_ctl(w->conf.border);
	for (; w->poked; w->poked &= w->poked - 1) {
		struct worker *to = w->conf.mesh->worker[__builtin_ctzll(w->poked)];

		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_exchange_explicit(&to->asleep, 0, memory_order_acq_rel))
			eventfd_write(to->conf.border->worker_bell, 1);
	}
}
