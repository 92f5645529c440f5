/* SPDX-License-Identifier: MIT */

/*
 * Server tunnels that listen at the same place follow each other in a circle, which workers go round (pipeline/ring.c).
 * The first of them has the ports.  Who comes while it runs is put in behind the first; who goes stays, and is passed
 * over: his ports may be the others'.
 */

#include <errno.h>
#include <stdlib.h>

#include "app.h"

static const struct conf_tunnel *tunnel(const struct app *a, unsigned i)
{
	return &a->conf->tunnels[i];
}

static void join(struct app *a, unsigned i, unsigned first)
{
	uint16_t *next = a->ring_next, gone = next[first] & RING_GONE;

	__atomic_store_n(&next[i], (uint16_t)(next[first] & ~RING_GONE), __ATOMIC_RELAXED);
	__atomic_store_n(&next[first], (uint16_t)(i | gone), __ATOMIC_RELEASE);
	__atomic_store_n(&next[a->conf->tunnels_room], 1, __ATOMIC_RELEASE);
}

int app_circles_up(struct app *a)
{
	unsigned room = a->conf->tunnels_room;

	a->ring_next = calloc(room + 1, sizeof(*a->ring_next));
	if (!a->ring_next)
		return app_fail(a, -ENOMEM, "tunnels");
	for (unsigned i = 0; i < room; i++)
		a->ring_next[i] = (uint16_t)i;
	for (unsigned i = 0; i < a->conf->n_tunnels; i++)
		app_circle_join(a, i);
	return 0;
}

void app_circle_join(struct app *a, unsigned i)
{
	if (tunnel(a, i)->role == CONF_SERVER && tunnel(a, i)->ring != i)
		join(a, i, tunnel(a, i)->ring);
}

void app_circle_leave(struct app *a, unsigned i)
{
	__atomic_fetch_or(&a->ring_next[i], RING_GONE, __ATOMIC_RELEASE);
}

bool app_circle_shared(const struct app *a, unsigned i)
{
	for (unsigned k = 0; k < a->conf->n_tunnels; k++)
		if (k != i && tunnel(a, k)->role == CONF_SERVER && tunnel(a, k)->ring == i && !a->removed[k])
			return true;
	return false;
}

/* Its ports have been given back. */
static bool is_gone(const struct app *a, unsigned i)
{
	return a->removed[i] && a->drained[i] && !app_circle_shared(a, i);
}

unsigned app_circle_of(const struct app *a, const struct conf_tunnel *t)
{
	for (unsigned k = 0; k < a->conf->n_tunnels; k++)
		if (tunnel(a, k)->role == CONF_SERVER && tunnel(a, k)->ring == k && !is_gone(a, k) &&
		    conf_same_place(t, tunnel(a, k)))
			return k;
	return a->conf->n_tunnels;
}
