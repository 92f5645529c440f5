/* SPDX-License-Identifier: MIT */

/* The cipher table, and the dispatch of a mixed burst to the ciphers. */

#include <errno.h>
#include <string.h>

#include "crypt_int.h"

/* clang-format off */
#define REF_CFB(algo, key_len) {crypt_ref_cfb, algo, GCRY_CIPHER_MODE_CFB, key_len}
#define REF_GCM(algo, key_len) {crypt_ref_gcm, algo, GCRY_CIPHER_MODE_GCM, key_len}
#define REF(fn)                {fn}
#define REF_NONE               {NULL}

/* With the datagrams that kcptun's own code makes of crypt_selftest's passphrase, nonce and payload; aes-128-gcm's, with
 * that nonce's first 12 bytes, is OpenSSL's. */
const struct crypt_line crypt_lines[] = {
	{"aes", &crypt_cfb_aes_256, REF_CFB(GCRY_CIPHER_AES256, 32),
	 "818636cc13b20f495954b155c7c9e5517f45a1044df26cd0c9081252ff5fa224b4748dec"},
	{"aes-128", &crypt_cfb_aes_128, REF_CFB(GCRY_CIPHER_AES128, 16),
	 "dad29528b8f2ba2757b3db12a7ea7fd9ac4b5e7a00a7fcbc044d64e63f155f28ab59d7de"},
	{"aes-192", &crypt_cfb_aes_192, REF_CFB(GCRY_CIPHER_AES192, 24),
	 "bede2c78fdf2d78cd2c051ba7534fea0e94056ff56f0383700c966ec0da19d2ce58ff65c"},
	{"aes-128-gcm", &crypt_gcm_128, REF_GCM(GCRY_CIPHER_AES128, 16),
	 "0704778c24ec1fc2f84c0406847256e9ff41dec4906f24885b8e251575386834ef78e0c3408711088c9efde8"},
	{"salsa20", &crypt_salsa20, REF(crypt_ref_salsa20),
	 "0704778c24ec1fc273d1acc66d1de0c127b37e9e9d166cfe7dca192e0c245d9e0aff331a"},
	{"blowfish", &crypt_blowfish, REF_CFB(GCRY_CIPHER_BLOWFISH, 32),
	 "1f62e2bf71ff1c9b33bf56e4043496fc391b9a7b5c34c0b2331fe907f672991c39289d69"},
	{"twofish", &crypt_twofish, REF_CFB(GCRY_CIPHER_TWOFISH, 32),
	 "7ea51305fd7dfefd8434a17899770ca4976d466706d082ba1b94003c8c09a2d4d363d1db"},
	{"cast5", &crypt_cast5, REF_CFB(GCRY_CIPHER_CAST5, 16),
	 "bc8af8ad29090ad9dd5c47f72e2403a97c3f60b2c36526e4b1a5304f4cf397970a6c2a76"},
	{"3des", &crypt_des3, REF_CFB(GCRY_CIPHER_3DES, 24),
	 "5acf28c08c667309fb10e9da213c7b79a9fa418bbec3403d043e8fb9636bdbe982da1918"},
	{"tea", &crypt_tea, REF(crypt_ref_tea),
	 "fb993b3b880049eeff7cd0e61992740217b9d426d6fd826472bacb2e3298c812dd39796e"},
	{"xtea", &crypt_xtea, REF(crypt_ref_xtea),
	 "0e201c066364e29f97f5591ba5b4f2f06e9d66472a6318621887e96ea1ef2295d8493082"},
	{"xor", &crypt_table, REF(crypt_ref_table),
	 "08fafe0b89786ab3ac351fce7bc0a4e29ce09efaf659d35e9d615686c070ea03b3d35255"},
	{"sm4", &crypt_sm4, REF_CFB(GCRY_CIPHER_SM4, 16),
	 "044591c0f9caa2e7a9a67baa26a2f98c290c566b37aeb0bf57dd0e42765a248e61ccbd15"},
	{"none", &crypt_none, REF_NONE, "0704778c24ec1fc2f84c040681c112cef72e9ffc44cc934d5033693adf0a468f437c346a"},
	{"null", &crypt_null, REF_NONE, "44cc934d5033693adf0a468f437c346a"},
};
/* clang-format on */

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
	int rc;

	if (!line)
		return -ENOENT;
	c = vault_get(sizeof(*c) + line->ops->size);
	if (!c)
		return -ENOMEM;
	c->ops = line->ops;
	c->line = (uint32_t)(line - crypt_lines);
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
	vault_put(c);
}

uint16_t crypt_head(const struct crypt *c)
{
	return c->ops->head;
}

uint16_t crypt_tail(const struct crypt *c)
{
	return c->ops->tail;
}

unsigned crypt_mark(const struct crypt *c, unsigned *at)
{
	*at = c->ops->mark_at;
	return c->ops->mark_len;
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
		memcpy(k->p, given ? given : crypt_nonce(&mb->nonces, mb->mgr, k->crypt->side), CRYPT_NONCE_LEN);
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
