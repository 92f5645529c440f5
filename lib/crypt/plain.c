/* SPDX-License-Identifier: MIT */

/* `none`: header with nonce and CRC, nothing encrypted.  `null`: the payload as it is. */

#include "crypt_int.h"

static void none_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	(void)mb;
	(void)own;
	for (unsigned i = 0; i < n; i++)
		crypt_crc_strip(v[i]);
}

static void none_seal(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	(void)mb;
	(void)own;
	for (unsigned i = 0; i < n; i++)
		crypt_crc_put(v[i]->p, v[i]->n);
}

const struct crypt_ops crypt_none = {
	.head = CRYPT_HEAD_LEN,
	.nonce = CRYPT_NONCE_SECRET,
	CRYPT_MARK_CFB16,
	.open = none_open,
	.seal = none_seal,
};

const struct crypt_ops crypt_null = {.head = 0};
