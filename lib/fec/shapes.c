/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>

#include "fec_codec.h"

static struct fec_codec *at(const struct fec_shapes *s, unsigned i)
{
	return atomic_load_explicit(&s->codec[i], memory_order_acquire);
}

const struct fec_codec *fec_shapes_find(const struct fec_shapes *s, unsigned ds, unsigned ps)
{
	const struct fec_codec *c;

	for (unsigned i = 0; i < FEC_SHAPES && (c = at(s, i)); i++)
		if (c->ds == ds && c->ps == ps)
			return c;
	return NULL;
}

int fec_shapes_add(struct fec_shapes *s, unsigned ds, unsigned ps)
{
	struct fec_codec *c;
	unsigned n = 0;
	int ret;

	if (fec_shapes_find(s, ds, ps))
		return 0;
	while (n < FEC_SHAPES && at(s, n))
		n++;
	if (n == FEC_SHAPES)
		return -ENOSPC;
	ret = fec_codec_get(&c, ds, ps);
	if (ret == 0)
		atomic_store_explicit(&s->codec[n], c, memory_order_release);
	return ret;
}

void fec_shapes_drop(struct fec_shapes *s)
{
	for (unsigned i = 0; i < FEC_SHAPES; i++) {
		fec_codec_put(at(s, i));
		atomic_store_explicit(&s->codec[i], NULL, memory_order_relaxed);
	}
}
