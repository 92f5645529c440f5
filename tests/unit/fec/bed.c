/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bed.h"

#define PAGE	 4096u
#define HEAP	 (4u << 20)
#define MAX_HELD 65536

static void *held[MAX_HELD];
static size_t held_len[MAX_HELD];
static unsigned n_held;

void bed_init(struct bed *b, uint64_t seed)
{
	memset(b, 0, sizeof(*b));
	b->region = aligned_alloc(65536, HEAP);
	cr_assert_not_null(b->region);
	b->mem = mem_init(b->region, HEAP);
	cr_assert_not_null(b->mem);
	b->idle = mem_used(b->mem);
	b->seed = seed;
}

void bed_fini(struct bed *b)
{
	cr_assert_eq(mem_used(b->mem), b->idle, "%zu bytes in use", mem_used(b->mem) - b->idle);
	free(b->region);
}

/* splitmix64 */
uint64_t bed_rand(struct bed *b)
{
	uint64_t z = b->seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

unsigned bed_below(struct bed *b, unsigned n)
{
	return (unsigned)(bed_rand(b) % n);
}

void bed_exhaust(struct bed *b)
{
	for (size_t n = 1u << 20; n >= 1; n /= 2) {
		void *p;

		while (n_held < MAX_HELD && (p = mem_get(b->mem, n))) {
			held[n_held] = p;
			held_len[n_held++] = n;
		}
	}
	cr_assert_lt(n_held, MAX_HELD);
}

void bed_relieve(struct bed *b)
{
	while (n_held) {
		n_held--;
		mem_put(b->mem, held[n_held], held_len[n_held]);
	}
}

uint8_t *bed_guarded(size_t n)
{
	uint8_t *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq((void *)p, MAP_FAILED);
	cr_assert_leq(n, PAGE);
	cr_assert_eq(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
	return p + PAGE - n;
}

void bed_lend_room(struct pkt *k, unsigned room)
{
	uint8_t *p = bed_guarded(FEC_HEAD + room);

	memset(k, 0, sizeof(*k));
	memset(p, 0xee, FEC_HEAD + room);
	k->p = p + FEC_HEAD;
}

void bed_lend(struct pkt *k)
{
	bed_lend_room(k, BED_DATAGRAM);
}

void bed_packet(struct pkt *k, uint32_t seqid, uint16_t type, const void *body, unsigned n)
{
	memset(k, 0, sizeof(*k));
	k->p = bed_guarded(FEC_BODY_OFF + n);
	k->n = (uint16_t)(FEC_BODY_OFF + n);
	le32_put(k->p + FEC_SEQID_OFF, seqid);
	le16_put(k->p + FEC_TYPE_OFF, type);
	memcpy(k->p + FEC_BODY_OFF, body, n);
}

void bed_encode(struct bed *b, struct fec_enc *e, const unsigned *len, struct bed_group *g)
{
	g->ds = fec_codec_ds(e->codec);
	g->ps = fec_codec_ps(e->codec);
	for (unsigned i = 0; i < g->ds + g->ps; i++) {
		/* A group that is used again keeps its memory. */
		if (g->v[i].p)
			g->v[i].p += FEC_HEAD;
		else
			bed_lend(&g->v[i]);
		g->v[i].n = i < g->ds ? (uint16_t)len[i] : 0;
		for (unsigned k = 0; k < g->v[i].n; k++)
			g->v[i].p[k] = (uint8_t)bed_rand(b);
	}
	for (unsigned i = 0; i < g->ds;) {
		unsigned n = i + 1 < g->ds ? 1 + bed_below(b, g->ds - i) : 1;

		cr_assert_eq(fec_enc_burst(e, g->v + i, n, 1000), i + n == g->ds ? g->ps : 0);
		i += n;
	}
}

struct bed_copy {
	struct bed_copy *next;
	unsigned len;
	bool held;
	uint8_t *p;
};

void bed_dec_init(struct bed_dec *t, struct bed *b, const struct fec_codec *c, bool own)
{
	bed_dec_wary(t, b, c, own);
	fec_dec_trust(t->d);
}

void bed_dec_wary(struct bed_dec *t, struct bed *b, const struct fec_codec *c, bool own)
{
	memset(t, 0, sizeof(*t));
	t->bed = b;
	t->own = own;
	t->scratch = malloc(FEC_SCRATCH);
	t->d = fec_dec_create(c, b->mem, &b->cnt);
	cr_assert_not_null(t->d);
}

/* What comes back is wiped and freed at once: the decoder must have no more use for it. */
static void take_back(struct bed_dec *t, void *own)
{
	struct bed_copy *c = own;

	cr_assert(c->held);
	c->held = false;
	t->kept--;
	memset(c->p, 0xdd, c->len);
	free(c->p);
	c->p = NULL;
}

static void give_back(struct bed_dec *t, unsigned (*call)(struct fec_dec *, void **, unsigned))
{
	void *freed[7];
	unsigned n;

	while ((n = call(t->d, freed, 7))) {
		cr_assert_leq(n, 7);
		for (unsigned i = 0; i < n; i++)
			take_back(t, freed[i]);
	}
	cr_assert_eq(t->kept, 0);
}

void bed_release(struct bed_dec *t)
{
	give_back(t, fec_dec_release);
}

void bed_let_go(struct bed_dec *t)
{
	give_back(t, fec_dec_let_go);
}

void bed_dec_fini(struct bed_dec *t)
{
	bed_release(t);
	fec_dec_destroy(t->d);
	free(t->scratch);
	while (t->copies) {
		struct bed_copy *c = t->copies;

		cr_assert_not(c->held);
		t->copies = c->next;
		free(c);
	}
}

unsigned bed_feed(struct bed_dec *t, const struct pkt *k)
{
	struct bed_copy *c = calloc(1, sizeof(*c));
	struct pkt in = *k;
	unsigned verdict;

	c->next = t->copies;
	t->copies = c;
	c->len = k->n;
	/* Exactly as long as the packet, so that a sanitizer sees what reads beyond it. */
	c->p = malloc(k->n ? k->n : 1);
	memcpy(c->p, k->p, k->n);
	in.p = c->p;
	in.own = t->own ? c : NULL;
	verdict = fec_dec_packet(t->d, &in, t->scratch, &t->got);
	if (t->got.kept) {
		cr_assert(t->own);
		cr_assert_eq(verdict, 0);
		c->held = true;
		t->kept++;
	}
	for (unsigned i = 0; i < t->got.n_freed; i++) {
		cr_assert_neq(t->got.freed[i], (void *)c);
		take_back(t, t->got.freed[i]);
	}
	if (!t->got.kept) {
		memset(c->p, 0xdd, c->len);
		free(c->p);
		c->p = NULL;
	}
	return verdict;
}

bool bed_is(const struct bed_dec *t, unsigned i, const struct pkt *k)
{
	const struct slice *s = &t->got.data[i];

	return s->n + FEC_HEAD == k->n && !memcmp(s->p, k->p + FEC_HEAD, s->n);
}
