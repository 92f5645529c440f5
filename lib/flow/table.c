/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <rte_hash.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

#include "flow.h"

#define NAME_MAX_LEN 25 /* rte_hash makes "RG_HT_NAME" of it, in a memzone name */
#define BURST	     RTE_HASH_LOOKUP_BULK_MAX

struct flow_tbl {
	struct rte_hash *hash;
	unsigned n, max;
};

/* Cuckoo hashing finds room for the last key only while the table is not quite full: an eighth stays free. */
static uint32_t slots_for(unsigned max)
{
	return max + max / 8 + 64;
}

int flow_tbl_create(struct flow_tbl **out, const char *name, unsigned max, int socket)
{
	struct rte_hash_parameters p = {
		.name = name,
		.key_len = sizeof(struct flow_key),
		.socket_id = socket,
	};
	struct flow_tbl *t;

	if (max == 0 || max > RTE_HASH_ENTRIES_MAX / 2)
		return -EINVAL;
	if (strlen(name) > NAME_MAX_LEN)
		return -ENAMETOOLONG;
	if (rte_hash_find_existing(name))
		return -EEXIST;
	t = rte_zmalloc_socket("flow_tbl", sizeof(*t), RTE_CACHE_LINE_SIZE, socket);
	if (!t)
		return -ENOMEM;
	t->max = max;
	p.entries = slots_for(max);
	t->hash = rte_hash_create(&p);
	if (!t->hash) {
		rte_free(t);
		return -ENOMEM; /* all else is ruled out above; rte_errno is stale in some of its failures */
	}
	*out = t;
	return 0;
}

void flow_tbl_destroy(struct flow_tbl *t)
{
	if (!t)
		return;
	rte_hash_free(t->hash);
	rte_free(t);
}

int flow_add(struct flow_tbl *t, const struct flow_key *key, uint32_t hash, struct sess *s)
{
	int rc;

	if (flow_find(t, key, hash))
		return -EEXIST;
	if (t->n == t->max)
		return -ENOSPC;
	rc = rte_hash_add_key_with_hash_data(t->hash, key, hash, s);
	if (rc == 0)
		t->n++;
	return rc;
}

void flow_del(struct flow_tbl *t, const struct flow_key *key, uint32_t hash)
{
	if (rte_hash_del_key_with_hash(t->hash, key, hash) >= 0)
		t->n--;
}

struct sess *flow_find(const struct flow_tbl *t, const struct flow_key *key, uint32_t hash)
{
	void *s;

	return rte_hash_lookup_with_hash_data(t->hash, key, hash, &s) >= 0 ? s : NULL;
}

unsigned flow_count(const struct flow_tbl *t)
{
	return t->n;
}

/* The distinct flows of a burst: what one peer sends comes in runs, which are looked up once. */
struct wanted {
	const void *key[BURST];
	hash_sig_t hash[BURST];
	void *sess[BURST];
	uint8_t of[BURST]; /* for each packet its flow's place above */
	unsigned n;
};

static void want(struct wanted *w, const struct pkt *v, unsigned n)
{
	w->n = 0;
	for (unsigned i = 0; i < n; i++) {
		if (v[i].verdict != VERDICT_OK)
			continue;
		if (w->n == 0 || w->hash[w->n - 1] != v[i].hash ||
		    memcmp(w->key[w->n - 1], v[i].key, sizeof(*v[i].key)) != 0) {
			w->key[w->n] = v[i].key;
			w->hash[w->n] = v[i].hash;
			w->n++;
		}
		w->of[i] = (uint8_t)(w->n - 1);
	}
}

static void find_some(const struct flow_tbl *t, struct pkt *v, unsigned n)
{
	struct wanted w;
	uint64_t hits = 0;

	want(&w, v, n);
	if (w.n == 0)
		return;
	rte_hash_lookup_with_hash_bulk_data(t->hash, w.key, w.hash, w.n, &hits, w.sess);
	for (unsigned i = 0; i < w.n; i++) {
		if (hits >> i & 1) {
			rte_prefetch0(w.sess[i]);
			rte_prefetch0((char *)w.sess[i] + RTE_CACHE_LINE_SIZE);
		} else {
			w.sess[i] = NULL;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		if (v[i].verdict == VERDICT_OK)
			v[i].sess = w.sess[w.of[i]];
	}
}

void flow_find_burst(const struct flow_tbl *t, struct pkt *v, unsigned n)
{
	for (unsigned at = 0; at < n; at += BURST)
		find_some(t, v + at, n - at < BURST ? n - at : BURST);
}
