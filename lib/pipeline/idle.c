/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include <rte_ethdev.h>
#include <rte_pause.h>
#include <rte_ring.h>

#include "worker_int.h"

/*
 * A worker that has caught up rests in one of three ways.
 *
 * Nap: packets keep coming, and the last turn found few.  Then it sleeps for as long as it takes NAP_PACKETS to gather,
 * so that turns are worth what they cost whatever the rate.  Nobody needs to ring in so short a time.
 *
 * Wait: every receive queue, those of kernel interfaces that are devices too, can wake it (AF_PACKET's sockets;
 * devices' interrupts, which are told to strike first). Then it sleeps at once, until a frame, a bell, or the next
 * deadline.
 *
 * Else it spins, and then looks again in steps, short ones while traffic was seen lately.
 */
#define NAP_RATE      20 /* packets a ms: with fewer, each may wake us */
#define NAP_PACKETS   64
#define NAP_MIN_US    20  /* a shorter one costs more than it saves */
#define NAP_MAX_US    200 /* where the kernel queues for us */
#define NAP_STEP_US   50  /* and where it does not */
#define SPIN_US	      10
#define STEP_US	      50 /* while something happened in the last BUSY_US */
#define BUSY_US	      20000
#define QUIET_US      500000
#define QUIET_STEP_US 500
#define MISSED_MAX    16   /* receive interrupts that failed to come, one after the other, and we trust them no more */
#define LONG_STEP_US  2500 /* and for good: what telemetry, or else the first packet after quiet, may wait */

_Static_assert(2 * NET_DEV_MAX <= 32, "a bit for each queue that can strike");

/* A queue that is received from: it wakes us by fd, after it was told to (strikes) or by itself; 0: it does not. */
static void wake_by(struct worker *w, unsigned bit, int fd, bool strikes)
{
	if (fd <= 0) {
		w->all_wake = false;
		return;
	}
	w->wake_bit[w->n_wake] = (uint8_t)bit;
	w->wake[w->n_wake++] = (struct pollfd){.fd = fd, .events = POLLIN};
	w->intr |= (uint32_t)strikes << bit;
}

void worker_idle_init(struct worker *w)
{
	w->wake[0] = (struct pollfd){.fd = w->conf.border->worker_bell, .events = POLLIN};
	w->n_wake = 1;
	w->all_wake = true;
	w->intr = 0;
	w->missed = 0;
	w->timed_out = UINT64_MAX;
	for (unsigned i = 0; i < w->conf.n_ports; i++) {
		const struct worker_port *p = &w->conf.ports[i];

		if (pl_shut(w, i))
			continue;
		if (p->rxq >= 0)
			wake_by(w, i, p->rx_fd, p->rx_intr);
		if (p->has_exc)
			wake_by(w, NET_DEV_MAX + i, p->exc_fd, true);
	}
	w->armed &= w->intr;
	if (!w->all_wake)
		w->n_wake = 1;
}

/* ---- receive interrupts ---- */

static int tell(const struct worker *w, unsigned bit, bool strike)
{
	const struct worker_port *p = &w->conf.ports[bit % NET_DEV_MAX];
	bool exc = bit >= NET_DEV_MAX;
	uint16_t id = exc ? p->exc : p->id, q = (uint16_t)(exc ? w->conf.id : (unsigned)p->rxq);

	return strike ? rte_eth_dev_rx_intr_enable(id, q) : rte_eth_dev_rx_intr_disable(id, q);
}

static void disarm(struct worker *w)
{
	for (; w->armed; w->armed &= w->armed - 1)
		tell(w, (unsigned)__builtin_ctz(w->armed), false);
}

/* For good, until a port is opened or closed: we look by time, as where there are none. */
static void distrust(struct worker *w)
{
	w->all_wake = false;
	w->n_wake = 1;
	disarm(w);
}

/*
 * The next frame of each queue is to wake us.  What came before this was said wakes nobody: there must be a turn
 * between this and the sleep.
 */
static void arm(struct worker *w)
{
	for (uint32_t left = w->intr & ~w->armed; left; left &= left - 1) {
		if (tell(w, (unsigned)__builtin_ctz(left), true)) {
			distrust(w);
			return;
		}
		w->armed |= left & -left;
	}
}

/* Frames taken of all queues that could have struck. */
static uint64_t taken(const struct worker *w)
{
	return w->stats.rx_packets + w->stats.injected;
}

/*
 * Which of them have struck: they do so once.  With all silent to the end of the sleep, what the next turn finds was
 * missed; what it finds after a bell, or another descriptor, may have come with that.
 */
static void see_struck(struct worker *w, bool ended)
{
	bool struck = false;
	eventfd_t n;

	for (unsigned i = 1; i < w->n_wake; i++) {
		unsigned bit = w->wake_bit[i];

		if (!(w->armed >> bit & 1) || !(w->wake[i].revents & POLLIN))
			continue;
		(void)!eventfd_read(w->wake[i].fd, &n);
		tell(w, bit, false);
		w->armed &= ~(1u << bit);
		struck = true;
	}
	w->stats.interrupts += struck;
	if (struck)
		w->missed = 0;
	else if (ended)
		w->timed_out = taken(w);
}

/*
 * Frames that lie there although nothing has struck: one may have come just as the sleep ended, but not time and again.
 * An interrupt that never comes, as of a driver that does not route it, would cost the longest step each time.
 */
static void see_missed(struct worker *w)
{
	if (w->timed_out == UINT64_MAX)
		return;
	if (taken(w) != w->timed_out) {
		w->stats.interrupts_missed++;
		if (++w->missed == MISSED_MAX)
			distrust(w);
	}
	w->timed_out = UINT64_MAX;
}

/* Nothing came from the siblings between the last look and now: with `asleep` up they will ring. */
static bool siblings_quiet(const struct worker *w)
{
	const struct worker_mesh *mesh = w->conf.mesh;

	for (unsigned i = 0; i < mesh->n; i++)
		if (i != w->conf.id &&
		    (!rte_ring_empty(mesh->steer[i * mesh->n + w->conf.id]) || pl_sibling_sends(w, i)))
			return false;
	return true;
}

/* Packets a ms: of the last ms in which a turn ended, and of those without one that followed. */
static unsigned rx_rate(struct worker *w, uint64_t now)
{
	uint64_t packets = w->stats.rx_packets + w->stats.steered_in;

	if (now != w->rate_at) {
		w->rate = (unsigned)((packets - w->rate_from) / (now - w->rate_at));
		w->rate_from = packets;
		w->rate_at = now;
	}
	return w->rate;
}

/* Frames wait for a port, of whose taking some again nobody tells. */
static bool tx_waits(const struct worker *w)
{
	for (unsigned i = 0; i < w->conf.n_ports; i++)
		if (w->txq[i].n)
			return true;
	return false;
}

/* Nothing is left that a turn could do before something comes. */
static bool caught_up(const struct worker *w, uint64_t now)
{
	return !tx_waits(w) && !shard_ready(w->conf.shard) && shard_next(w->conf.shard) > now;
}

/* us until a session may go on at its path's pace. */
static uint64_t pace_us(const struct worker *w, uint64_t tsc)
{
	uint64_t at = shard_next_us(w->conf.shard), us = worker_clock_us(w->clock, tsc);

	return at > us ? at - us : 0;
}

static unsigned nap_us(struct worker *w, unsigned work, uint64_t now)
{
	unsigned rate = rx_rate(w, now), max = w->all_wake && !w->intr ? NAP_MAX_US : NAP_STEP_US, us;

	if (rate < NAP_RATE || work >= NAP_PACKETS * 2 || !caught_up(w, now))
		return 0;
	us = NAP_PACKETS * 1000 / rate;
	return us < NAP_MIN_US ? 0 : us < max ? us : max;
}

/* How long to sleep where a bell can be heard; 0: not at all. */
static uint64_t sleep_us(const struct worker *w, uint64_t idle_us, uint64_t now)
{
	bool woken = w->all_wake && !shard_waits(w->conf.shard) && !tx_waits(w);
	uint64_t step = woken		     ? LONG_STEP_US
			: idle_us < BUSY_US  ? STEP_US
			: idle_us < QUIET_US ? QUIET_STEP_US
					     : LONG_STEP_US;
	uint64_t next = shard_next(w->conf.shard);

	if (next <= now)
		return 0;
	return next - now > step / 1000 ? step : (next - now) * 1000; /* next may be the end of time */
}

/* An interface that goes down leaves an error behind, which would wake us until somebody asks for it. */
static void see_errors(struct worker *w)
{
	for (unsigned i = 1; i < w->n_wake; i++) {
		socklen_t len = sizeof(int);
		int err;

		if (w->wake[i].revents & POLLERR)
			getsockopt(w->wake[i].fd, SOL_SOCKET, SO_ERROR, &err, &len);
	}
}

static void idle_sleep(struct worker *w, uint64_t us)
{
	struct timespec ts = {.tv_nsec = (long)us * 1000};

	atomic_store(&w->asleep, 1);
	if (siblings_quiet(w) && border_sleep_worker(w->conf.border, w->tbl)) {
		int n = ppoll(w->wake, w->n_wake, &ts, NULL);

		if (n > 0 && w->wake[0].revents)
			border_awake_worker(w->conf.border); /* silences the bell, whoever rang it */
		else
			border_up_worker(w->conf.border);
		if (n > 0)
			see_errors(w);
		if (n >= 0 && w->armed)
			see_struck(w, n == 0);
	}
	atomic_store(&w->asleep, 0);
	w->stats.sleeps++;
}

uint64_t worker_idle(struct worker *w, unsigned work, uint64_t since, uint64_t tsc)
{
	uint64_t now = worker_clock_ms(w->clock, tsc), us, pace;
	struct timespec ts = {0};

	if (w->conf.poll) {
		rte_pause();
		return 0;
	}
	see_missed(w);
	if (work && w->armed)
		disarm(w);
	pace = pace_us(w, tsc);
	if (pace < NAP_MIN_US) {
		rte_pause();
		return 0;
	}
	us = nap_us(w, work, now);
	us = us < pace ? us : pace;
	if (us) {
		ts.tv_nsec = (long)us * 1000;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
		w->stats.sleeps++;
		return us;
	}
	if (work)
		return 0;
	us = (tsc - since) / (w->clock->hz / 1000000);
	if (!w->all_wake && us < SPIN_US) {
		rte_pause();
		return 0;
	}
	us = sleep_us(w, us, now);
	if (us > pace)
		us = pace;
	if (us && w->all_wake && w->intr & ~w->armed) {
		arm(w);
		return 0;
	}
	if (us)
		idle_sleep(w, us);
	return us;
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

void worker_kick(const struct worker *w)
{
	for (unsigned i = 0; i < w->conf.n_ports; i++)
		if (w->txq[i].refused && !pl_shut(w, i) && w->conf.ports[i].ring.base)
			sendto(w->conf.ports[i].ring.fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
}
