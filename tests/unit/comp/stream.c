/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "stream.h"

void bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (b->n + n > b->cap) {
		b->cap = (b->n + n) * 2;
		b->p = realloc(b->p, b->cap);
		cr_assert(b->p);
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

void bytes_free(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){};
}

struct mem *heap(void **region, size_t len)
{
	struct mem *m;

	*region = aligned_alloc(65536, len);
	cr_assert(*region);
	m = mem_init(*region, len);
	cr_assert(m);
	return m;
}

uint64_t rng_next(struct rng *r)
{
	r->s += 0x9e3779b97f4a7c15u;
	uint64_t z = r->s;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(rng_next(r) % n);
}

void fill(struct rng *r, enum kind kind, uint8_t *p, size_t n)
{
	static const char *const words[] = {"GET ",   "/index",	 ".html", " HTTP/1.1\r\n",
					    "Host: ", "example", ".com",  " "};
	size_t i = 0;

	if (kind == KIND_ZERO) {
		memset(p, 0, n);
		return;
	}
	while (i < n) {
		if (kind == KIND_RANDOM || (kind == KIND_MIX && rng_below(r, 4) == 0)) {
			for (unsigned k = 0; k < 16 && i < n; k++)
				p[i++] = (uint8_t)rng_next(r);
		} else {
			const char *w = words[rng_below(r, 8)];

			for (; *w && i < n; w++)
				p[i++] = (uint8_t)*w;
		}
	}
}

uint32_t ref_crc32c(const uint8_t *p, size_t n)
{
	uint32_t c = ~0u;

	while (n--) {
		c ^= *p++;
		for (int i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
	}
	return ~c;
}

uint32_t ref_masked(const uint8_t *p, size_t n)
{
	uint32_t c = ref_crc32c(p, n);

	return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

/* The length that a block begins with; -1: malformed.  *used: bytes of it. */
static int64_t ref_varint(const uint8_t *p, size_t n, size_t *used)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n && i < 5; i++) {
		v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
		if (p[i] < 0x80) {
			*used = i + 1;
			return v > UINT32_MAX ? -1 : (int64_t)v;
		}
	}
	return -1;
}

/* A copy element's distance and length, *i moved beyond it; false: cut off. */
static bool ref_copy(const uint8_t *p, size_t n, size_t *i, size_t *dist, size_t *len)
{
	uint8_t tag = p[*i];
	unsigned extra = (tag & 3) == 1 ? 1 : (tag & 3) == 2 ? 2 : 4;

	if (n - *i < 1 + extra)
		return false;
	*len = extra == 1 ? (tag >> 2 & 7) + 4u : (tag >> 2) + 1u;
	*dist = extra == 1   ? (size_t)(tag >> 5) << 8 | p[*i + 1]
		: extra == 2 ? le16_get(p + *i + 1)
			     : le32_get(p + *i + 1);
	*i += 1 + extra;
	return true;
}

static bool ref_literal(const uint8_t *p, size_t n, size_t *i, size_t *len)
{
	unsigned extra = p[*i] >> 2 < 60 ? 0 : (p[*i] >> 2) - 59u;

	if (n - *i < 1 + extra)
		return false;
	*len = extra ? 0 : p[*i] >> 2;
	for (unsigned k = 0; k < extra; k++)
		*len |= (size_t)p[*i + 1 + k] << (8 * k);
	*len += 1;
	*i += 1 + extra;
	return *len <= n - *i;
}

bool ref_block(const uint8_t *p, size_t n, struct bytes *plain)
{
	size_t i = 0, from = plain->n, dist, len;
	int64_t total = ref_varint(p, n, &i);

	if (total < 0 || total > COMP_BLOCK_MAX)
		return false;
	while (i < n) {
		if ((p[i] & 3) == 0) {
			if (!ref_literal(p, n, &i, &len))
				return false;
			bytes_add(plain, p + i, len);
			i += len;
		} else {
			if (!ref_copy(p, n, &i, &dist, &len) || dist == 0 || dist > plain->n - from)
				return false;
			for (; len; len--) {
				uint8_t c = plain->p[plain->n - dist];

				bytes_add(plain, &c, 1);
			}
		}
		if ((int64_t)(plain->n - from) > total)
			return false;
	}
	return (int64_t)(plain->n - from) == total;
}

static bool ref_data(const uint8_t *body, uint32_t len, bool packed, struct bytes *plain)
{
	size_t from = plain->n;
	const uint8_t *made;
	bool ok = len >= 4 && len <= (packed ? COMP_CHUNK_MAX : COMP_BLOCK_MAX + 4);

	if (ok && packed)
		ok = ref_block(body + 4, len - 4, plain);
	else if (ok)
		bytes_add(plain, body + 4, len - 4);
	made = plain->p ? plain->p + from : body; /* nothing is made of an empty chunk */
	if (ok && ref_masked(made, plain->n - from) == le32_get(body))
		return true;
	plain->n = from;
	return false;
}

/* What the four bytes in front of a chunk already forbid. */
static bool ref_head(uint8_t type, uint32_t len, bool begun)
{
	if (!begun && type != 0xff)
		return false;
	if (type == 0xff)
		return len == 6;
	if (type == 0)
		return len >= 4 && len <= COMP_CHUNK_MAX;
	if (type == 1)
		return len >= 4 && len <= COMP_BLOCK_MAX + 4;
	return type >= 0x80;
}

bool ref_read(const uint8_t *p, size_t n, struct bytes *plain, unsigned *chunks)
{
	bool begun = false;

	*chunks = 0;
	while (n >= 4) {
		uint8_t type = p[0];
		uint32_t len = le32_get(p) >> 8;

		if (!ref_head(type, len, begun))
			return false;
		if (type == 0xff && memcmp(p + 4, "sNaPpY", n - 4 < 6 ? n - 4 : 6))
			return false;
		if (n - 4 < len)
			return true;
		if (type <= 1 && !ref_data(p + 4, len, type == 0, plain))
			return false;
		*chunks += type <= 1;
		begun = true;
		p += 4 + len;
		n -= 4 + len;
	}
	return true;
}

unsigned enc_add(struct comp_enc *e, struct comp_scratch *s, const struct slice *in, unsigned n, struct bytes *wire)
{
	struct slice out[16];
	unsigned k;

	cr_assert(COMP_OUT_MAX(n) <= 16);
	k = comp_enc(e, s, in, n, out);
	cr_assert(k >= 1 && k <= COMP_OUT_MAX(n));
	for (unsigned i = 0; i < k; i++)
		bytes_add(wire, out[i].p, out[i].n);
	return k;
}

int dec_all(struct comp_dec *d, struct comp_scratch *s, const uint8_t *wire, size_t n, size_t step, struct bytes *plain)
{
	int r = 0;

	for (size_t at = 0; at < n && r >= 0;) {
		size_t k = !step || step > n - at ? n - at : step;
		uint8_t *piece = malloc(k);
		struct slice in = {piece, (uint32_t)k}, out;

		cr_assert(piece);
		memcpy(piece, wire + at, k);
		while ((r = comp_dec(d, s, &in, &out)) == 1)
			bytes_add(plain, out.p, out.n);
		if (!r)
			cr_assert(in.n == 0, "%u bytes left over", in.n);
		free(piece);
		at += k;
	}
	return r;
}
