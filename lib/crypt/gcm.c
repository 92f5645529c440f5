/* SPDX-License-Identifier: MIT */

/*
 * aes-128-gcm (wire.md 2.6) by IPsec-MB, which fills its lanes from within a packet.  The key's tables depend on the
 * instruction set of the manager, so they are made per worker, which also keeps them in that worker's memory.
 */

#include <string.h>

#include "crypt_int.h"

#define GCM_KEY 16

struct gcm_own {
	_Alignas(64) struct gcm_key_data key;
	struct gcm_context_data ctx;
};

static int gcm_init(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN])
{
	memcpy(c->sched, key, GCM_KEY);
	return 0;
}

static int gcm_attach(struct crypt_mb *mb, const struct crypt *c, void *own)
{
	struct gcm_own *o = own;

	IMB_AES128_GCM_PRE(mb->mgr, c->sched, &o->key);
	crypt_upper_clean();
	return 0;
}

/* Without telling by its time where the first difference is. */
static inline bool tags_differ(const uint8_t *a, const uint8_t *b)
{
	return ((le64_get(a) ^ le64_get(b)) | (le64_get(a + 8) ^ le64_get(b + 8))) != 0;
}

static void gcm_open(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	struct gcm_own *o = own;
	uint8_t tag[CRYPT_GCM_TAG];

	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = v[i]->p + CRYPT_GCM_NONCE;
		uint16_t len = (uint16_t)(v[i]->n - CRYPT_GCM_NONCE - CRYPT_GCM_TAG);

		IMB_AES128_GCM_DEC(mb->mgr, &o->key, &o->ctx, p, p, len, v[i]->p, NULL, 0, tag, sizeof(tag));
		crypt_upper_clean();
		if (tags_differ(tag, p + len)) {
			v[i]->verdict = DROP_CRYPT_BAD;
			continue;
		}
		v[i]->p = p;
		v[i]->n = len;
	}
}

static void gcm_seal(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n)
{
	struct gcm_own *o = own;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = v[i]->p + CRYPT_GCM_NONCE;
		uint16_t len = (uint16_t)(v[i]->n - CRYPT_GCM_NONCE - CRYPT_GCM_TAG);

		IMB_AES128_GCM_ENC(mb->mgr, &o->key, &o->ctx, p, p, len, v[i]->p, NULL, 0, p + len, CRYPT_GCM_TAG);
	}
	crypt_upper_clean();
}

const struct crypt_ops crypt_gcm_128 = {
	.head = CRYPT_GCM_NONCE,
	.tail = CRYPT_GCM_TAG,
	.nonce = CRYPT_NONCE_COUNTED,
	.mark_len = CRYPT_GCM_NONCE,
	.one_key = true,
	.size = GCM_KEY,
	.own = sizeof(struct gcm_own),
	.init = gcm_init,
	.attach = gcm_attach,
	.open = gcm_open,
	.seal = gcm_seal,
};
