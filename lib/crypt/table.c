/* SPDX-License-Identifier: MIT */

/* xor (wire.md 2.5): one fixed table, derived from K, over every datagram.  It hides nothing from anybody who sees two.
 */

#include "crypt_int.h"

static int table_init(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN])
{
	return crypt_pbkdf2(key, CRYPT_KEY_LEN, CRYPT_XOR_SALT, CRYPT_XOR_ROUNDS, c->sched, CRYPT_XOR_LEN);
}

/* The table ends where the longest datagram of the protocol does; what a caller hands in beyond has no keystream. */
static inline void table_xor(struct crypt_mb *mb, const struct pkt *k)
{
	mb->xor_in(k->p, k->crypt->sched, k->n < CRYPT_XOR_LEN ? k->n : CRYPT_XOR_LEN);
}

static void table_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	(void)own;
	for (unsigned i = 0; i < n; i++) {
		table_xor(mb, v[i]);
		crypt_crc_strip(v[i]);
	}
}

static void table_seal(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	(void)own;
	for (unsigned i = 0; i < n; i++) {
		crypt_crc_put(v[i]->p, v[i]->n);
		table_xor(mb, v[i]);
	}
}

const struct crypt_ops crypt_table = {
	.head = CRYPT_HEAD_LEN,
	.nonce = CRYPT_NONCE_SECRET,
	CRYPT_MARK_CFB16,
	.size = CRYPT_XOR_LEN,
	.init = table_init,
	.open = table_open,
	.seal = table_seal,
};
