/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "mux.h"
#include "smux_wire.h"
#include "stream.h"

#define CAP_MIN 8	   /* slots; the table is at most half full, so that a probe ends soon, */
#define CAP_MAX (1u << 22) /* but for a session of more streams than chans can be had for */

static_assert(sizeof(struct mux_stream) <= 96, "100,000 idle streams have to be cheap");

/* ---- table: open addressing, linear probing, no tombstones ---- */

/*
 * The peer chooses the ids, so where they stand depends on bits that he does not know: an id is masked, multiplied by a
 * secret odd number, folded, and multiplied again.  Of any two ids that were chosen without the key, one in about
 * cap / 2 keys makes them meet; to find a key out takes timing single probes, of nanoseconds, from afar.  With ids in
 * steps of two, as honest peers have them, the folding keeps rows from forming under any key.
 */
static uint32_t slot_of(const struct mux *m, uint32_t id, uint32_t cap)
{
	uint64_t h = (id ^ m->conf->hash_key[0]) * (m->conf->hash_key[1] | 1);

	h ^= h >> 32;
	return (uint32_t)(h * 0x9e3779b97f4a7c15u >> (64 - __builtin_ctz(cap)));
}

struct mux_stream *mux_find(const struct mux *m, uint32_t id)
{
	if (!m->cap)
		return NULL;
	for (uint32_t i = slot_of(m, id, m->cap); m->table[i]; i = (i + 1) & (m->cap - 1)) {
		if (m->table[i]->id == id)
			return m->table[i];
	}
	return NULL;
}

static void table_put(const struct mux *m, struct mux_stream **table, uint32_t cap, struct mux_stream *s)
{
	uint32_t i = slot_of(m, s->id, cap);

	while (table[i])
		i = (i + 1) & (cap - 1);
	table[i] = s;
}

/* A table of `cap` slots (0: none) instead of the present one. */
static bool table_resize(struct mux *m, uint32_t cap)
{
	struct mux_stream **table = NULL;

	if (cap) {
		table = mem_get(m->mem, cap * sizeof(*table));
		if (!table)
			return false;
		memset(table, 0, cap * sizeof(*table));
	}
	for (uint32_t i = 0; i < m->cap; i++) {
		if (m->table[i])
			table_put(m, table, cap, m->table[i]);
	}
	mem_put(m->mem, m->table, m->cap * sizeof(*table));
	m->table = table;
	m->cap = cap;
	return true;
}

/* Room for one more.  Without memory a table may fill up, but for the free slot that ends every probe. */
static bool table_room(struct mux *m)
{
	if (2 * ((uint64_t)m->count + 1) <= m->cap ||
	    (m->cap < CAP_MAX && table_resize(m, m->cap ? m->cap * 2 : CAP_MIN)))
		return true;
	return m->count + 1 < m->cap;
}

static void table_del(struct mux *m, const struct mux_stream *s)
{
	uint32_t mask = m->cap - 1, i = slot_of(m, s->id, m->cap), home;

	while (m->table[i] != s)
		i = (i + 1) & mask;
	/* Whoever stands behind the hole and may stand in it moves up, so that probes need no tombstones. */
	for (uint32_t j = (i + 1) & mask; m->table[j]; j = (j + 1) & mask) {
		home = slot_of(m, m->table[j]->id, m->cap);
		if (((j - home) & mask) >= ((j - i) & mask)) {
			m->table[i] = m->table[j];
			i = j;
		}
	}
	m->table[i] = NULL;
	m->count--;
	if (!m->count)
		table_resize(m, 0);
	else if (m->cap > CAP_MIN && m->count <= m->cap / 8)
		table_resize(m, m->cap / 2); /* without memory it simply stays */
}

struct mux_stream *mux_add(struct mux *m, uint32_t id)
{
	struct mux_stream *s = mem_get(m->mem, sizeof(*s));

	if (!s)
		return NULL;
	if (!table_room(m)) {
		mem_put(m->mem, s, sizeof(*s));
		return NULL;
	}
	*s = (struct mux_stream){.id = id, .peer_window = MUX_INITIAL_WINDOW, .round = (uint16_t)(m->round - 1)};
	list_init(&s->run);
	list_init(&s->ctl);
	table_put(m, m->table, m->cap, s);
	m->count++;
	return s;
}

void mux_forget(struct mux *m, struct mux_stream *s)
{
	table_del(m, s);
	mux_unready(m, s);
	list_del(&s->ctl);
	if (m->body_of == s)
		m->body_of = NULL;
	m->bucket += s->held;
	mem_put(m->mem, s, sizeof(*s));
}

struct mux_stream *mux_each(struct mux *m, uint32_t *cursor)
{
	while (*cursor < m->cap) {
		struct mux_stream *s = m->table[(*cursor)++];

		if (s && !(s->flags & MUX_S_GONE))
			return s;
	}
	return NULL;
}

/* ---- session ---- */

void mux_init(struct mux *m, const struct mux_conf *conf, struct mem *mem)
{
	*m = (struct mux){
		.conf = conf,
		.mem = mem,
		.version = conf->version & 3,
		.bucket = conf->smuxbuf,
		.next_id = conf->client ? 1 : 0, /* counted up before use (wire.md 8.2) */
	};
	list_init(&m->run);
	m->new = &m->run;
	list_init(&m->ctl);
}

void mux_fini(struct mux *m)
{
	for (uint32_t i = 0; i < m->cap; i++) {
		if (m->table[i])
			mem_put(m->mem, m->table[i], sizeof(**m->table));
	}
	mem_put(m->mem, m->table, m->cap * sizeof(*m->table));
	mem_put(m->mem, m->refused, sizeof(*m->refused));
	mux_init(m, m->conf, m->mem);
}

void mux_keepalive(struct mux *m)
{
	m->nop = true;
}

bool mux_refuse(struct mux *m, uint32_t id)
{
	struct mux_refused *r = m->refused;

	if (!r) {
		r = mem_get(m->mem, sizeof(*r));
		if (!r)
			return false;
		r->at = r->n = 0;
		m->refused = r;
	}
	if (r->n == MUX_REFUSED_MAX)
		return false;
	r->id[(r->at + r->n++) % MUX_REFUSED_MAX] = id;
	return true;
}

/* ---- streams ---- */

uint32_t mux_credit(const struct mux *m, const struct mux_stream *s)
{
	uint32_t flying = s->sent - s->peer_consumed, window = s->peer_window;

	if (m->version == 1)
		return UINT32_MAX;
	/* What flies stays below 2^31, lest an honest UPD look like one that claims too much. */
	if (window > INT32_MAX)
		window = INT32_MAX;
	return window > flying ? window - flying : 0;
}

/* Queues a SYN or UPD. */
static void want(struct mux *m, struct mux_stream *s, uint16_t what)
{
	s->flags |= what;
	if (list_empty(&s->ctl))
		list_add_tail(&m->ctl, &s->ctl);
}

static void unwant_upd(struct mux_stream *s)
{
	s->flags &= ~MUX_S_UPD;
	if (!(s->flags & MUX_S_SYN))
		list_del(&s->ctl);
}

void mux_consumed(struct mux *m, struct mux_stream *s, uint32_t n)
{
	bool first = !(s->flags & MUX_S_READ);

	s->taken += n;
	/* A window is of use only to one who may still send. */
	if (!n || m->version == 1 || s->flags & (MUX_S_FIN_IN | MUX_S_HALF_IN | MUX_S_GONE))
		return;
	s->flags |= MUX_S_READ;
	/* Stock tells by halves; whoever tells by eighths has more of the window at work. */
	if (first || s->taken - s->told >= mux_streambuf(m) >> (m->grown ? 3 : 1))
		want(m, s, MUX_S_UPD);
}

void mux_grow(struct mux *m, uint32_t bytes)
{
	uint32_t n = (bytes < MUX_GROW_MAX ? bytes : MUX_GROW_MAX) >> MUX_GROW_BITS;

	if (n <= m->grown)
		return;
	m->bucket += (int64_t)(n - m->grown) << MUX_GROW_BITS;
	m->grown = n & 0x1f;
}

void mux_taken(struct mux *m, struct mux_stream *s, uint32_t n)
{
	assert(n <= s->held);
	s->held -= n;
	m->bucket += n;
	mux_consumed(m, s, n);
}

void mux_write_off(struct mux *m, struct mux_stream *s, uint16_t why)
{
	s->flags |= why;
	s->flags &= ~MUX_S_HALF;
	s->avail = 0;
	if (why & (MUX_S_FIN_IN | MUX_S_GONE))
		unwant_upd(s);
	mux_ready(m, s);
}

struct mux_stream *mux_open(struct mux *m, void *user)
{
	struct mux_stream *s;

	if (m->dead)
		return NULL;
	if (m->next_id > UINT32_MAX - 2) {
		m->dead = true;
		return NULL;
	}
	s = mux_add(m, m->next_id + 2);
	if (!s)
		return NULL;
	m->next_id += 2;
	s->user = user;
	want(m, s, MUX_S_SYN);
	return s;
}

void mux_avail(struct mux *m, struct mux_stream *s, uint32_t n)
{
	assert(!(s->flags & (MUX_S_FIN | MUX_S_HALF | MUX_S_HALFSENT)));
	if (s->flags & (MUX_S_FIN_IN | MUX_S_BROKEN))
		return;
	s->avail += n;
	mux_ready(m, s);
}

int mux_half(struct mux *m, struct mux_stream *s)
{
	if (!m->peer_half || !s->id || s->id > SMUX_NOP_HALF_MAX)
		return -ENOTSUP;
	if (s->flags & (MUX_S_FIN | MUX_S_FIN_IN | MUX_S_HALFSENT))
		return 0;
	s->flags |= MUX_S_HALF;
	mux_ready(m, s);
	return 0;
}

void mux_abort(struct mux *m, struct mux_stream *s, bool drain, bool lost)
{
	s->flags |= (uint16_t)(MUX_S_RESET | (lost ? MUX_S_LOST : 0));
	mux_close(m, s, drain);
}

void mux_close(struct mux *m, struct mux_stream *s, bool drain)
{
	if (!drain && s->flags & MUX_S_SYN) {
		mux_forget(m, s);
		return;
	}
	s->flags |= MUX_S_FIN;
	if (drain) {
		mux_ready(m, s);
		return;
	}
	s->user = NULL;
	m->bucket += s->held;
	s->held = 0;
	mux_write_off(m, s, MUX_S_GONE);
}
