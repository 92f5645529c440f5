/* SPDX-License-Identifier: MIT */

/*
 * Run before the first packet: a machine or a library that computes AES or CRC32 wrongly must be found at the start,
 * not by every peer dropping what it is sent.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"

#define KNOWN_PASS  "it's a secrect"
#define KNOWN_NONCE "\x07\x04\x77\x8c\x24\xec\x1f\xc2\xf8\x4c\x04\x06\x81\xc1\x12\xce"
#define KNOWN_DATA  "\x44\xcc\x93\x4d\x50\x33\x69\x3a\xdf\x0a\x46\x8f\x43\x7c\x34\x6a"
#define KNOWN_LEN   16

#define MAX_BATCH 67
#define ROOM	  1600 /* one datagram */

struct rig {
	struct crypt_mb *mb;
	struct crypt *c;
	struct crypt_ref *ref;
	struct pkt v[MAX_BATCH];
	uint8_t nonce[MAX_BATCH][CRYPT_NONCE_LEN];
	uint8_t buf[MAX_BATCH][ROOM];  /* through the burst form */
	uint8_t want[MAX_BATCH][ROOM]; /* through the reference */
};

static const uint16_t lengths[] = {0,  1,   11,	 12,  13,  24,	27,  28,  29,  43,   44,   45,	 60,  76,
				   92, 107, 108, 109, 235, 236, 237, 491, 492, 1003, 1323, 1324, 1480};
static const uint8_t batches[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, MAX_BATCH};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool is_hex(const uint8_t *p, unsigned n, const char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < n; i++, hex += 2) {
		if (hex[0] != digits[p[i] >> 4] || hex[1] != digits[p[i] & 15])
			return false;
	}
	return !*hex;
}

static int known_answer(struct rig *b, const struct crypt_line *line)
{
	struct pkt *k = &b->v[0];
	uint8_t *data = b->buf[0] + CRYPT_MAX_HEAD;
	unsigned len = KNOWN_LEN + line->ops->head + line->ops->tail;

	memcpy(data, KNOWN_DATA, KNOWN_LEN);
	*k = (struct pkt){.p = data, .n = KNOWN_LEN, .crypt = b->c};
	crypt_seal_given(b->mb, k, 1, (const uint8_t *)KNOWN_NONCE);
	if (k->n != len || !is_hex(k->p, len, line->kat))
		return -EBADMSG;
	crypt_open_burst(b->mb, k, 1);
	if (k->verdict != VERDICT_OK || k->p != data || k->n != KNOWN_LEN || memcmp(data, KNOWN_DATA, KNOWN_LEN))
		return -EBADMSG;
	return 0;
}

/* Packet i of a batch: length, nonce and payload are all functions of `seq`. */
static int make(struct rig *b, unsigned i, unsigned seq)
{
	uint16_t head = b->c->ops->head;
	uint16_t len = lengths[seq % COUNT(lengths)];

	for (unsigned k = 0; k < CRYPT_NONCE_LEN; k++)
		b->nonce[i][k] = (uint8_t)(seq * 31 + k * 7);
	for (unsigned k = 0; k < len; k++)
		b->buf[i][head + k] = (uint8_t)(seq + k * 13 + (k >> 5));
	memcpy(b->want[i] + head, b->buf[i] + head, len);
	b->v[i] = (struct pkt){.p = b->buf[i] + head, .n = len, .crypt = b->c};
	return crypt_ref_seal(b->ref, b->want[i], len, b->nonce[i]);
}

static int batch(struct rig *b, unsigned n, unsigned seq)
{
	uint16_t head = b->c->ops->head, tail = b->c->ops->tail;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		rc = make(b, i, seq + i);
		if (rc)
			return rc;
	}
	crypt_seal_given(b->mb, b->v, n, b->nonce[0]);
	for (unsigned i = 0; i < n; i++) {
		unsigned len = lengths[(seq + i) % COUNT(lengths)] + head + tail;

		if (b->v[i].p != b->buf[i] || b->v[i].n != len || memcmp(b->buf[i], b->want[i], len))
			return -EBADMSG;
	}
	crypt_open_burst(b->mb, b->v, n);
	for (unsigned i = 0; i < n; i++) {
		unsigned len = lengths[(seq + i) % COUNT(lengths)];

		rc = crypt_ref_open(b->ref, b->want[i], len + head + tail);
		if (rc)
			return rc;
		if (b->v[i].verdict != VERDICT_OK || b->v[i].n != len || memcmp(b->v[i].p, b->want[i] + head, len))
			return -EBADMSG;
	}
	return 0;
}

int crypt_selftest_mb(struct crypt_mb *mb, const struct crypt_line *line)
{
	struct rig *b = calloc(1, sizeof(*b));
	uint8_t key[CRYPT_KEY_LEN];
	int rc;

	if (!b)
		return -ENOMEM;
	b->mb = mb;
	rc = crypt_kdf(KNOWN_PASS, sizeof(KNOWN_PASS) - 1, key);
	if (!rc)
		rc = crypt_create(&b->c, line->name, key);
	if (!rc)
		rc = crypt_mb_attach(mb, b->c);
	if (!rc)
		rc = crypt_ref_create(&b->ref, line, key);
	if (!rc)
		rc = known_answer(b, line);
	for (unsigned i = 0; !rc && i < COUNT(batches); i++)
		rc = batch(b, batches[i], i * MAX_BATCH);
	explicit_bzero(key, sizeof(key));
	crypt_ref_destroy(b->ref);
	if (b->c)
		crypt_mb_detach(mb, b->c);
	crypt_destroy(b->c);
	free(b);
	return rc;
}

int crypt_selftest(const char *name)
{
	static const uint8_t seed[32] = {0}; /* seals only with nonces given */
	const struct crypt_line *line = crypt_line_find(name);
	struct crypt_mb *mb;
	int rc;

	if (!line)
		return -ENOENT;
	rc = crypt_mb_create(&mb, seed, 0, 0, 0);
	if (rc)
		return rc;
	rc = crypt_selftest_mb(mb, line);
	crypt_mb_destroy(mb);
	return rc;
}
