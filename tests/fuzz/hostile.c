/* SPDX-License-Identifier: MIT */
#include "hostile.h"
#include "le.h"
#include "sim.h"

#define KEPT 64 /* datagrams that the adversary has recorded, of each link */
#define MAX  2048

struct flight {
	struct flight *next;
	uint64_t at;
	size_t n;
	uint8_t p[];
};

struct record {
	size_t n;
	uint8_t p[MAX];
};

struct sim_link {
	struct sim_conf conf;
	struct flight *first; /* by time, equal times in order of sending */
	struct record *kept;
	unsigned n_kept;
	struct sim_link *next, **self; /* of all that there are: there are two */
};

struct hostile hostile;

static struct sim_link *all;

struct sim_link *sim_link_new(const struct sim_conf *conf, uint64_t seed)
{
	struct sim_link *l = calloc(1, sizeof(*l));

	l->conf = *conf;
	l->kept = calloc(KEPT, sizeof(*l->kept));
	l->next = all;
	all = l;
	return l;
}

void sim_link_free(struct sim_link *l)
{
	struct sim_link **p = &all;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	for (struct flight *f = l->first, *next; f; f = next) {
		next = f->next;
		free(f);
	}
	free(l->kept);
	free(l);
}

void sim_link_set(struct sim_link *l, const struct sim_conf *conf)
{
	l->conf = *conf;
}

static struct flight *fly(struct sim_link *l, const uint8_t *p, size_t n, uint64_t at)
{
	struct flight *f = malloc(sizeof(*f) + n), **q = &l->first;

	f->at = at;
	f->n = n;
	memcpy(f->p, p, n);
	while (*q && (*q)->at <= at)
		q = &(*q)->next;
	f->next = *q;
	*q = f;
	return f;
}

static void keep(struct sim_link *l, const uint8_t *p, size_t n)
{
	struct record *r = &l->kept[l->n_kept++ % KEPT];

	r->n = n < MAX ? n : MAX;
	memcpy(r->p, p, r->n);
}

/* One of those recorded of `from`, on its way by `l`. */
static void again(struct sim_link *l, const struct sim_link *from, unsigned i, uint64_t at)
{
	const struct record *r = from && from->n_kept ? &from->kept[i % KEPT] : NULL;

	if (!r || r->n < 2)
		return;
	fly(l, r->p, r->n, at);
}

/* What lies below the cipher is changed: bytes, or its end. */
static void change(struct flight *f)
{
	unsigned how = fuzz_u8(hostile.in), at;

	if (!hostile.has_key || f->n <= 2)
		return;
	for (unsigned i = 0; i <= (how & 3); i++) {
		at = fuzz_u8(hostile.in);
		f->p[2 + at % (f->n - 2)] ^= fuzz_u8(hostile.in);
	}
	if (how & 4)
		f->n = 2 + fuzz_u8(hostile.in) % (f->n - 2);
}

static struct sim_link *other(const struct sim_link *l)
{
	return all == l ? all->next : all;
}

void sim_link_send(struct sim_link *l, const void *p, size_t n, uint64_t now_us)
{
	unsigned what = hostile.in ? fuzz_u8(hostile.in) : 0;
	uint64_t at = now_us + l->conf.delay_us;
	struct flight *f;

	keep(l, p, n);
	if ((what & 15) == 6)
		return;
	if ((what & 15) == 8)
		at += 4000ull * fuzz_u8(hostile.in);
	if ((what & 15) == 9)
		at += 1000000ull * fuzz_u8(hostile.in);
	f = fly(l, p, n, at);
	switch (what & 15) {
	case 7:
		fly(l, p, n, at + 1000ull * fuzz_u8(hostile.in));
		break;
	case 10:
	case 11:
		change(f);
		break;
	case 12: /* to the other session */
		f = fly(l, p, n, at);
		le16_put(f->p, (uint16_t)hostile.ports[le16_get(f->p) == hostile.ports[0]]);
		break;
	case 13:
		again(l, l, what >> 4 | fuzz_u8(hostile.in), at);
		break;
	case 14: /* back to where one came from */
		if (hostile.has_key)
			again(l, other(l), fuzz_u8(hostile.in), at);
		break;
	}
}

uint64_t sim_link_next(const struct sim_link *l)
{
	return l->first ? l->first->at : UINT64_MAX;
}

int sim_link_recv(struct sim_link *l, void *buf, size_t cap, uint64_t now_us)
{
	struct flight *f = l->first;
	size_t n;

	if (!f || f->at > now_us)
		return -1;
	l->first = f->next;
	n = f->n < cap ? f->n : cap;
	memcpy(buf, f->p, n);
	free(f);
	return (int)n;
}

const struct sim_stats *sim_link_stats(const struct sim_link *l)
{
	static const struct sim_stats none;

	return &none;
}
