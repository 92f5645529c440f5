/* SPDX-License-Identifier: MIT */

/*
 * Several server tunnels that listen at the same place: whose a client is, its key tells.  The port's entry names the
 * first of them, and they follow each other in a circle (worker_conf.ring_next).  A datagram of a session is its
 * tunnel's.  Of others a copy is opened by each key in turn, the one that opened last first; what opens is that
 * tunnel's from here on, and is deciphered again with all the rest.
 *
 * Whoever sends noise has a worker try all the keys.  So those are bounded: RING_KEYS a ms, and what is left of 100 ms
 * may come at once.  What is beyond is dropped unread (key_limit).
 */

#include <string.h>

#include "worker_int.h"

#define RING_KEYS 20  /* a ms and worker */
#define RING_SAVE 100 /* ms */

/* Some more keys may be tried by now. */
static void earn(struct worker *w)
{
	uint64_t ms = w->now - w->keys_at;

	w->keys_at = w->now;
	w->keys_left += (unsigned)(ms < RING_SAVE ? ms : RING_SAVE) * RING_KEYS;
	if (w->keys_left > RING_SAVE * RING_KEYS)
		w->keys_left = RING_SAVE * RING_KEYS;
}

static bool opens(struct worker *w, const struct pkt *k, unsigned tunnel)
{
	struct pkt copy = {.p = w->keys_try, .n = k->n, .crypt = w->conf.crypts[tunnel], .key = k->key};

	memcpy(w->keys_try, k->p, k->n);
	crypt_open_burst(w->conf.mb, &copy, 1);
	return copy.verdict == VERDICT_OK;
}

static void belongs(struct worker *w, struct pkt *k, unsigned tunnel)
{
	k->tunnel = (uint16_t)tunnel;
	k->crypt = w->conf.crypts[tunnel];
}

static uint16_t next_of(const struct worker *w, unsigned tunnel)
{
	return __atomic_load_n(&w->conf.ring_next[tunnel], __ATOMIC_ACQUIRE);
}

/* Of nobody whom we know.  What no key opens stays the first tunnel's, which counts it. */
static void stranger(struct worker *w, struct pkt *k)
{
	unsigned first = k->tunnel, last = w->ring_last[first], t = last;
	uint16_t next;

	if (k->n > sizeof(w->keys_try))
		return;
	do {
		next = next_of(w, t);
		if (!w->keys_left) {
			k->verdict = DROP_KEY_LIMIT;
			return;
		}
		w->keys_left--;
		if (!(next & RING_GONE) && opens(w, k, t)) {
			w->ring_last[first] = (uint16_t)t;
			belongs(w, k, t);
			return;
		}
		t = next & ~RING_GONE;
	} while (t != last);
}

void pl_ring(struct worker *w, unsigned n)
{
	if (!w->ring_last || !next_of(w, w->conf.n_tunnels))
		return;
	earn(w);
	for (unsigned i = 0; i < n; i++) {
		struct pkt *k = &w->rx[i];

		if (k->verdict != VERDICT_OK || (next_of(w, k->tunnel) & ~RING_GONE) == k->tunnel)
			continue;
		if (k->sess)
			belongs(w, k, shard_tunnel_of(k->sess));
		else if (!(k->flags & (PKT_F_SYN | PKT_F_BIG)))
			stranger(w, k);
	}
}
