/* SPDX-License-Identifier: MIT */

/* The cipher table, and the dispatch of a mixed burst to the ciphers. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

#define REF_CFB(algo, len)                                     \
	{                                                      \
		crypt_ref_cfb, algo, GCRY_CIPHER_MODE_CFB, len \
	}

/* The datagrams that kcptun's own code makes of crypt_selftest's passphrase, nonce and payload. */
const struct crypt_line crypt_lines[] = {
	{"aes",
	 &crypt_cfb_aes_256,
	 REF_CFB(GCRY_CIPHER_AES256, 32),
	 {0x81, 0x86, 0x36, 0xcc, 0x13, 0xb2, 0x0f, 0x49, 0x59, 0x54, 0xb1, 0x55, 0xc7, 0xc9, 0xe5, 0x51, 0x7f, 0x45,
	  0xa1, 0x04, 0x4d, 0xf2, 0x6c, 0xd0, 0xc9, 0x08, 0x12, 0x52, 0xff, 0x5f, 0xa2, 0x24, 0xb4, 0x74, 0x8d, 0xec}},
	{"aes-128",
	 &crypt_cfb_aes_128,
	 REF_CFB(GCRY_CIPHER_AES128, 16),
	 {0xda, 0xd2, 0x95, 0x28, 0xb8, 0xf2, 0xba, 0x27, 0x57, 0xb3, 0xdb, 0x12, 0xa7, 0xea, 0x7f, 0xd9, 0xac, 0x4b,
	  0x5e, 0x7a, 0x00, 0xa7, 0xfc, 0xbc, 0x04, 0x4d, 0x64, 0xe6, 0x3f, 0x15, 0x5f, 0x28, 0xab, 0x59, 0xd7, 0xde}},
	{"aes-192",
	 &crypt_cfb_aes_192,
	 REF_CFB(GCRY_CIPHER_AES192, 24),
	 {0xbe, 0xde, 0x2c, 0x78, 0xfd, 0xf2, 0xd7, 0x8c, 0xd2, 0xc0, 0x51, 0xba, 0x75, 0x34, 0xfe, 0xa0, 0xe9, 0x40,
	  0x56, 0xff, 0x56, 0xf0, 0x38, 0x37, 0x00, 0xc9, 0x66, 0xec, 0x0d, 0xa1, 0x9d, 0x2c, 0xe5, 0x8f, 0xf6, 0x5c}},
	{"none", &crypt_none, {0}, {0x07, 0x04, 0x77, 0x8c, 0x24, 0xec, 0x1f, 0xc2, 0xf8, 0x4c, 0x04, 0x06,
				    0x81, 0xc1, 0x12, 0xce, 0xf7, 0x2e, 0x9f, 0xfc, 0x44, 0xcc, 0x93, 0x4d,
				    0x50, 0x33, 0x69, 0x3a, 0xdf, 0x0a, 0x46, 0x8f, 0x43, 0x7c, 0x34, 0x6a}},
	{"null",
	 &crypt_null,
	 {0},
	 {0x44, 0xcc, 0x93, 0x4d, 0x50, 0x33, 0x69, 0x3a, 0xdf, 0x0a, 0x46, 0x8f, 0x43, 0x7c, 0x34, 0x6a}},
};

#define LINES (sizeof(crypt_lines) / sizeof(crypt_lines[0]))
static_assert(LINES <= CRYPT_LINES, "struct crypt_mb has a group for every line");

const char *crypt_name(unsigned i)
{
	return i < LINES ? crypt_lines[i].name : NULL;
}

const struct crypt_line *crypt_line_find(const char *name)
{
	for (unsigned i = 0; i < LINES; i++) {
		if (!strcmp(crypt_lines[i].name, name))
			return &crypt_lines[i];
	}
	return NULL;
}

int crypt_create(struct crypt **out, const char *name, const uint8_t key[CRYPT_KEY_LEN])
{
	const struct crypt_line *line = crypt_line_find(name);
	struct crypt *c;
	size_t size;
	int rc;

	if (!line)
		return -ENOENT;
	size = (sizeof(*c) + line->ops->size + 63) & ~(size_t)63;
	c = aligned_alloc(64, size);
	if (!c)
		return -ENOMEM;
	memset(c, 0, size);
	c->ops = line->ops;
	c->line = (uint32_t)(line - crypt_lines);
	c->size = (uint32_t)size;
	rc = c->ops->init ? c->ops->init(c, key) : 0;
	if (rc) {
		crypt_destroy(c);
		return rc;
	}
	*out = c;
	return 0;
}

void crypt_destroy(struct crypt *c)
{
	if (!c)
		return;
	explicit_bzero(c, c->size);
	free(c);
}

uint16_t crypt_head(const struct crypt *c)
{
	return c->ops->head;
}

uint16_t crypt_tail(const struct crypt *c)
{
	return c->ops->tail;
}

static inline void group_add(struct crypt_mb *mb, struct pkt *k)
{
	struct crypt_group *g = &mb->group[k->crypt->line];

	g->v[g->n++] = k;
}

/* Sorts one burst's worth of packets into groups; returns how many it took. */
static unsigned gather_open(struct crypt_mb *mb, struct pkt *v, unsigned n)
{
	unsigned i;

	for (i = 0; i < n && i < CRYPT_BURST; i++) {
		const struct crypt_ops *ops;

		if (v[i].verdict != VERDICT_OK)
			continue;
		ops = v[i].crypt->ops;
		if (v[i].n < ops->head + ops->tail) {
			v[i].verdict = DROP_CRYPT_SHORT;
			continue;
		}
		group_add(mb, &v[i]);
	}
	return i;
}

static inline void nonce_put(struct crypt_mb *mb, struct pkt *k, const uint8_t *given)
{
	switch (k->crypt->ops->nonce) {
	case CRYPT_NONCE_SECRET:
		memcpy(k->p, given ? given : crypt_nonce(&mb->nonces, mb->mgr), CRYPT_NONCE_LEN);
		break;
	case CRYPT_NONCE_COUNTED:
		if (given)
			memcpy(k->p, given, CRYPT_GCM_NONCE);
		else
			crypt_counted_put(&mb->counted, k->p);
		break;
	default:
		break;
	}
}

/* Also ends where the packets' keystream would no longer fit beside each other in the scratch. */
static unsigned gather_seal(struct crypt_mb *mb, struct pkt *v, unsigned n, const uint8_t *given)
{
	uint32_t room = CRYPT_STREAM;
	unsigned i;

	for (i = 0; i < n && i < CRYPT_BURST; i++) {
		const struct crypt_ops *ops = v[i].crypt->ops;
		uint16_t len = (uint16_t)(v[i].n + ops->head + ops->tail);

		if (CRYPT_SLOT(len) > room)
			break;
		room -= CRYPT_SLOT(len);
		v[i].p -= ops->head;
		v[i].n = len;
		nonce_put(mb, &v[i], given ? given + (size_t)i * CRYPT_NONCE_LEN : NULL);
		group_add(mb, &v[i]);
	}
	return i;
}

/* Brings the packets of v[0]'s key to the front; returns how many. */
static unsigned same_key(struct pkt **v, unsigned n)
{
	unsigned m = 1;

	for (unsigned i = 1; i < n; i++) {
		struct pkt *k = v[i];

		if (k->crypt != v[0]->crypt)
			continue;
		v[i] = v[m];
		v[m++] = k;
	}
	return m;
}

void crypt_refuse(struct pkt **v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		v[i]->verdict = DROP_CRYPT_BAD;
}

void crypt_blank(struct pkt **v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memset(v[i]->p, 0, v[i]->n);
}

/* One line's group through `op`, key by key where the cipher wants it so; what is not attached goes to `without`. */
static void group_run(struct crypt_mb *mb, struct crypt_group *g, const struct crypt_ops *ops,
		      void (*op)(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n),
		      void (*without)(struct pkt **v, unsigned n))
{
	struct pkt **v = g->v;
	unsigned m;

	if (!op)
		g->n = 0;
	for (; g->n; g->n -= m, v += m) {
		void *own = NULL;

		m = ops->one_key ? same_key(v, g->n) : g->n;
		if (ops->own)
			own = crypt_own_find(&mb->owns, v[0]->crypt);
		if (ops->own && !own)
			without(v, m);
		else
			op(mb, own, v, m);
	}
}

void crypt_open_burst(struct crypt_mb *mb, struct pkt *v, unsigned n)
{
	while (n) {
		unsigned took = gather_open(mb, v, n);

		for (unsigned i = 0; i < LINES; i++)
			group_run(mb, &mb->group[i], crypt_lines[i].ops, crypt_lines[i].ops->open, crypt_refuse);
		v += took;
		n -= took;
	}
}

void crypt_seal_given(struct crypt_mb *mb, struct pkt *v, unsigned n, const uint8_t *nonces)
{
	while (n) {
		unsigned took = gather_seal(mb, v, n, nonces);

		for (unsigned i = 0; i < LINES; i++)
			group_run(mb, &mb->group[i], crypt_lines[i].ops, crypt_lines[i].ops->seal, crypt_blank);
		v += took;
		n -= took;
		if (nonces)
			nonces += (size_t)took * CRYPT_NONCE_LEN;
	}
}

void crypt_seal_burst(struct crypt_mb *mb, struct pkt *v, unsigned n)
{
	crypt_seal_given(mb, v, n, NULL);
}
