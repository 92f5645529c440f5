/* SPDX-License-Identifier: MIT */
#include "shard.h"

/* What of a tunnel may change while it runs.  Each value stands alone, so their order is nobody's concern. */

void shard_live_set(struct shard_tunnel *t, const struct shard_live *l)
{
	atomic_store_explicit(&t->keepalive_ms, l->keepalive_ms, memory_order_relaxed);
	atomic_store_explicit(&t->closewait_ms, l->closewait_ms, memory_order_relaxed);
	atomic_store_explicit(&t->autoexpire_ms, l->autoexpire_ms, memory_order_relaxed);
	atomic_store_explicit(&t->scavenge_ms, l->scavenge_ms, memory_order_relaxed);
	atomic_store_explicit(&t->traffic_class, l->traffic_class, memory_order_relaxed);
	atomic_store_explicit(&t->max_sessions, l->max_sessions, memory_order_relaxed);
	atomic_store_explicit(&t->ratelimit, l->ratelimit, memory_order_relaxed);
	atomic_store_explicit(&t->acl, l->acl, memory_order_release);
}
