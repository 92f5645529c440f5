/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include <rte_malloc.h>
#include <rte_ring.h>

#include "mbox.h"
#include "spsc.h"

int mbox_create(struct mbox **out, const char *name, unsigned objects, int socket)
{
	struct mbox *b = rte_zmalloc_socket(name, sizeof(*b), RTE_CACHE_LINE_SIZE, socket);

	if (!b)
		return -ENOMEM;
	b->ring = spsc_create(name, sizeof(void *), objects, socket);
	if (!b->ring) {
		rte_free(b);
		return -ENOMEM;
	}
	*out = b;
	return 0;
}

void mbox_destroy(struct mbox *b)
{
	if (!b)
		return;
	spsc_free(b->ring);
	rte_free(b);
}

/*
 * An entry is in the ring, or about to be put there or just taken out, exactly while its word is not 0.  The poster's
 * fetch_or releases what it wrote before; the reader's exchange acquires it, all posts that coalesced into the word
 * included, since each of them continues the first one's release sequence.
 */
bool mbox_post(struct mbox *b, struct mbox_ent *e, uint32_t events)
{
	int full;

	assert(events);
	if (atomic_fetch_or_explicit(&e->events, events, memory_order_acq_rel))
		return false;
	full = rte_ring_sp_enqueue(b->ring, e);
	assert(!full && "more objects than mbox_create was told");
	(void)full;
	b->posted++;
	return true;
}

unsigned mbox_get(struct mbox *b, struct mbox_ent **ents, uint32_t *ev, unsigned max)
{
	unsigned n = rte_ring_sc_dequeue_burst(b->ring, (void **)ents, max, NULL);

	/* An exchange waits for its cache line, and the next one for it: so all lines are asked for first. */
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(ents[i], 1);
	/* After the dequeue, never before: a post between them still finds the word set, and this exchange takes it
	 * along. */
	for (unsigned i = 0; i < n; i++)
		ev[i] = atomic_exchange_explicit(&ents[i]->events, 0, memory_order_acq_rel);
	return n;
}

bool mbox_empty(const struct mbox *b)
{
	return spsc_empty(b->ring);
}

/*
 * Dekker's pattern: the reader stores `sleeping` and then looks at the ring, the writer stores into the ring and then
 * looks at `sleeping`, with a full barrier between the two on either side; so one of them sees the other.
 */
void mbox_sleep(struct mbox *b)
{
	atomic_store_explicit(&b->sleeping, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

void mbox_awake(struct mbox *b)
{
	atomic_store_explicit(&b->sleeping, 0, memory_order_relaxed);
}

bool mbox_wanted(struct mbox *b)
{
	atomic_thread_fence(memory_order_seq_cst);
	/* Taken by whoever sees it: one ring of the bell a sleep, however many turns go by until the reader has woken
	 * up. */
	return atomic_load_explicit(&b->sleeping, memory_order_relaxed) &&
	       atomic_exchange_explicit(&b->sleeping, 0, memory_order_acq_rel);
}
