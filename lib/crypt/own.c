/* SPDX-License-Identifier: MIT */

/* A worker's own parts of the ciphers that need one: made at start, found by the bursts without a search. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

static void part_destroy(struct crypt_own *e)
{
	if (e->ops->detach)
		e->ops->detach(e->part);
	vault_put(e->part);
}

/* Into a table that has room and does not hold e->c yet. */
static void place(struct crypt_owns *o, struct crypt_own e)
{
	uint32_t i = crypt_own_hash(e.c);

	while (o->v[i & o->mask].c)
		i++;
	o->v[i & o->mask] = e;
}

static int grow(struct crypt_owns *o, uint32_t places)
{
	struct crypt_owns to = {.v = calloc(places, sizeof(*to.v)), .mask = places - 1, .n = o->n};

	if (!to.v)
		return -ENOMEM;
	for (uint32_t i = 0; o->v && i <= o->mask; i++) {
		if (o->v[i].c)
			place(&to, o->v[i]);
	}
	free(o->v);
	*o = to;
	return 0;
}

int crypt_mb_attach(struct crypt_mb *mb, const struct crypt *c)
{
	struct crypt_owns *o = &mb->owns;
	struct crypt_own e = {.c = c, .ops = c->ops};
	int rc;

	if (!c->ops->own)
		return 0;
	crypt_mb_detach(mb, c);
	if (!o->v || (o->n + 1) * 2 > o->mask + 1) {
		rc = grow(o, o->v ? (o->mask + 1) * 2 : 16);
		if (rc)
			return rc;
	}
	e.part = vault_get(c->ops->own);
	if (!e.part)
		return -ENOMEM;
	rc = c->ops->attach(mb, c, e.part);
	if (rc) {
		vault_put(e.part);
		return rc;
	}
	place(o, e);
	o->n++;
	return 0;
}

/* Those behind it in the table may stand there only because its place was taken: they are all placed anew. */
void crypt_mb_detach(struct crypt_mb *mb, const struct crypt *c)
{
	struct crypt_owns *o = &mb->owns;
	uint32_t i = crypt_own_hash(c), next;

	if (!crypt_own_find(o, c))
		return;
	while (o->v[i & o->mask].c != c)
		i++;
	part_destroy(&o->v[i & o->mask]);
	o->v[i & o->mask] = (struct crypt_own){0};
	o->n--;
	for (next = i + 1; o->v[next & o->mask].c; next++) {
		struct crypt_own e = o->v[next & o->mask];

		o->v[next & o->mask] = (struct crypt_own){0};
		place(o, e);
	}
}

void crypt_owns_wipe(struct crypt_owns *o)
{
	for (uint32_t i = 0; o->v && i <= o->mask; i++) {
		if (o->v[i].c)
			part_destroy(&o->v[i]);
	}
	free(o->v);
	*o = (struct crypt_owns){0};
}
