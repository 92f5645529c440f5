/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "border.h"
#include "spsc.h"

#define NOTES 1024

/* Of a lane: the part of `frames` that is its room, and of PARTS how many it has when control takes frames. */
#define PARTS 16
static const struct {
	uint8_t room, part;
} lanes[BORDER_LANES] = {{8, 2}, {8, 2}, {2, 6}, {8, 2}, {8, 2}, {2, 2}};

static void frames_free(struct rte_ring *r)
{
	void *m;

	while (r && rte_ring_sc_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
	spsc_free(r);
}

/* Any part may be missing: border_create undoes itself with it. */
static void border_free(struct border *b)
{
	for (unsigned i = 0; i < BORDER_LANES; i++)
		frames_free(b->punt[i]);
	frames_free(b->inject);
	spsc_free(b->notes);
	mbox_destroy(b->to_ctl);
	mbox_destroy(b->to_worker);
	if (b->ctl_bell >= 0)
		close(b->ctl_bell);
	if (b->worker_bell >= 0 && !b->joined)
		close(b->worker_bell);
	while (b->n_more > 0)
		border_free(b->more[--b->n_more]);
	rte_free(b);
}

/* What every border has: bells, and a mailbox each way.  first: whose worker's bell it shares; NULL: its own. */
static int border_base(struct border **out, const struct border *first, unsigned worker, unsigned objects, int socket)
{
	struct border *b = rte_zmalloc_socket("border", sizeof(*b), RTE_CACHE_LINE_SIZE, socket);
	char name[RTE_RING_NAMESIZE];
	int err;

	if (!b)
		return -ENOMEM;
	b->joined = first != NULL;
	b->ctl_bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	b->worker_bell = first ? first->worker_bell : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (b->ctl_bell < 0 || b->worker_bell < 0) {
		err = -errno;
		goto err;
	}
	snprintf(name, sizeof(name), "to_ctl_%u", worker);
	err = mbox_create(&b->to_ctl, name, objects, socket);
	if (err)
		goto err;
	snprintf(name, sizeof(name), "to_worker_%u", worker);
	err = mbox_create(&b->to_worker, name, objects, socket);
	if (err)
		goto err;
	*out = b;
	return 0;

err:
	border_free(b);
	return err;
}

int border_create(struct border **out, unsigned worker, unsigned objects, unsigned frames, int socket)
{
	char name[RTE_RING_NAMESIZE];
	struct border *b;
	int err = border_base(&b, NULL, worker, objects, socket);
	bool whole = true;

	if (err)
		return err;
	for (unsigned i = 0; i < BORDER_LANES; i++) {
		snprintf(name, sizeof(name), "punt%u_%u", i, worker);
		b->punt[i] = spsc_create(name, sizeof(void *), (frames + lanes[i].room - 1) / lanes[i].room, socket);
		whole &= b->punt[i] != NULL;
	}
	snprintf(name, sizeof(name), "inject_%u", worker);
	b->inject = spsc_create(name, sizeof(void *), frames, socket);
	snprintf(name, sizeof(name), "notes_%u", worker);
	b->notes = spsc_create(name, sizeof(struct note), NOTES, socket);
	if (!whole || !b->inject || !b->notes) {
		border_free(b);
		return -ENOMEM;
	}
	*out = b;
	return 0;
}

int border_join(struct border *b, unsigned worker, unsigned objects, int socket)
{
	int err;

	if (b->n_more == LIMIT_CONTROLS - 1)
		return -ENOSPC;
	err = border_base(&b->more[b->n_more], b, worker, objects, socket);
	b->n_more += err == 0;
	return err;
}

void border_destroy(struct border *b)
{
	if (b)
		border_free(b);
}

void border_note(struct border *b, const struct note *n)
{
	/* Telemetry reads the count from another thread. */
	if (rte_ring_sp_enqueue_elem(b->notes, (void *)(uintptr_t)n, sizeof(*n)))
		__atomic_store_n(&b->notes_lost, b->notes_lost + 1, __ATOMIC_RELAXED);
}

unsigned border_notes(struct border *b, struct note *v, unsigned max)
{
	return rte_ring_sc_dequeue_burst_elem(b->notes, v, sizeof(*v), max, NULL);
}

bool border_punt(struct border *b, unsigned lane, struct rte_mbuf *m)
{
	return rte_ring_sp_enqueue(b->punt[lane], m) == 0;
}

unsigned border_punts(struct border *b, struct rte_mbuf **v, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BORDER_LANES; i++)
		n += rte_ring_sc_dequeue_burst(b->punt[i], (void **)(v + n), max * lanes[i].part / PARTS, NULL);
	for (unsigned i = 0; i < BORDER_LANES && n < max; i++)
		n += rte_ring_sc_dequeue_burst(b->punt[i], (void **)(v + n), max - n, NULL);
	return n;
}

static bool no_punts(const struct border *b)
{
	for (unsigned i = 0; i < BORDER_LANES; i++)
		if (!spsc_empty(b->punt[i]))
			return false;
	return true;
}

static bool quiet_to_ctl(const struct border *b)
{
	return mbox_empty(b->to_ctl) && (b->joined || (no_punts(b) && spsc_empty(b->notes)));
}

static bool quiet_to_worker(const struct border *b)
{
	return mbox_empty(b->to_worker) && (b->joined || spsc_empty(b->inject));
}

static void strike(int bell)
{
	/* Fails only when the counter is at its end: then the bell rings already. */
	(void)!eventfd_write(bell, 1);
}

void border_ring_ctl(struct border *b)
{
	for (unsigned k = 0; k <= b->n_more; k++) {
		struct border *at = border_of(b, k);

		if (!quiet_to_ctl(at) && mbox_wanted(at->to_ctl))
			strike(at->ctl_bell);
	}
}

void border_ring_worker(struct border *b)
{
	const struct net_tbl *tbl = atomic_load_explicit(&b->tbl, memory_order_relaxed);

	uint64_t epoch = atomic_load_explicit(&b->epoch, memory_order_relaxed);

	if (quiet_to_worker(b) && tbl == b->rung_tbl && epoch == b->rung_epoch)
		return;
	b->rung_tbl = tbl;
	b->rung_epoch = epoch;
	if (mbox_wanted(b->to_worker))
		strike(b->worker_bell);
}

bool border_sleep_ctl(struct border *b)
{
	mbox_sleep(b->to_ctl);
	if (quiet_to_ctl(b))
		return true;
	mbox_awake(b->to_ctl);
	return false;
}

bool border_sleep_worker(struct border *b, const struct net_tbl *tbl)
{
	unsigned k = 0;

	for (; k <= b->n_more; k++) {
		mbox_sleep(border_of(b, k)->to_worker);
		if (!quiet_to_worker(border_of(b, k)))
			break;
	}
	if (k > b->n_more && atomic_load_explicit(&b->tbl, memory_order_relaxed) == tbl &&
	    atomic_load_explicit(&b->epoch, memory_order_relaxed) ==
		    atomic_load_explicit(&b->seen, memory_order_relaxed))
		return true;
	border_up_worker(b);
	return false;
}

static void silence(int bell)
{
	eventfd_t n;

	(void)!eventfd_read(bell, &n);
}

void border_awake_ctl(struct border *b)
{
	mbox_awake(b->to_ctl);
	silence(b->ctl_bell);
}

void border_up_worker(struct border *b)
{
	for (unsigned k = 0; k <= b->n_more; k++)
		mbox_awake(border_of(b, k)->to_worker);
}

void border_awake_worker(struct border *b)
{
	border_up_worker(b);
	silence(b->worker_bell);
}
