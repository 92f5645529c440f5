/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "fec_codec.h"
#include "fec_gf.h"
#include "fec_matrix.h"
#include "fec_wire.h"

/* Tunnels come and go by reload on the control side; the few (ds, ps) in use make a short list. */
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fec_codec *cache;

static void codec_fill(struct fec_codec *c)
{
	uint8_t x[FEC_MAX_SHARDS], w[FEC_MAX_SHARDS];

	for (unsigned i = 0; i < c->ds; i++)
		x[i] = (uint8_t)i;
	fec_matrix_weights(x, c->ds, w);
	for (unsigned j = 0; j < c->ps; j++)
		fec_matrix_row(x, w, c->ds, (uint8_t)(c->ds + j), c->rows + j * c->ds);
	c->gf = fec_gf();
	c->gf->tables(c->ds, c->ps, c->rows, c->tables);
}

static struct fec_codec *codec_new(unsigned ds, unsigned ps)
{
	size_t n = (size_t)ds * ps, len = sizeof(struct fec_codec) + n * (FEC_GF_TABLE + 1);
	struct fec_codec *c = aligned_alloc(64, (len + 63) & ~(size_t)63);

	if (!c)
		return NULL;
	c->refs = 1;
	c->ds = (uint8_t)ds;
	c->ps = (uint8_t)ps;
	c->paws = fec_paws(ds + ps);
	c->rows = c->tables + n * FEC_GF_TABLE;
	codec_fill(c);
	return c;
}

int fec_codec_get(struct fec_codec **out, unsigned ds, unsigned ps)
{
	struct fec_codec *c;

	if (ds < 1 || ps < 1 || ds >= FEC_MAX_SHARDS || ps > FEC_MAX_SHARDS - ds)
		return -EINVAL;
	pthread_mutex_lock(&cache_lock);
	for (c = cache; c; c = c->next) {
		if (c->ds == ds && c->ps == ps)
			break;
	}
	if (c) {
		c->refs++;
	} else {
		c = codec_new(ds, ps);
		if (c) {
			c->next = cache;
			cache = c;
		}
	}
	pthread_mutex_unlock(&cache_lock);
	*out = c;
	return c ? 0 : -ENOMEM;
}

void fec_codec_put(struct fec_codec *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&cache_lock);
	if (--c->refs) {
		c = NULL;
	} else {
		struct fec_codec **at = &cache;

		while (*at != c)
			at = &(*at)->next;
		*at = c->next;
	}
	pthread_mutex_unlock(&cache_lock);
	free(c);
}

unsigned fec_codec_ds(const struct fec_codec *c)
{
	return c->ds;
}

unsigned fec_codec_ps(const struct fec_codec *c)
{
	return c->ps;
}

const char *fec_form(void)
{
	return fec_gf()->name;
}
