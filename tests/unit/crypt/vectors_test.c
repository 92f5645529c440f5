/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypt_int.h"
#include "vectors.h"

#define MAX 64

struct rig {
	struct crypt_mb *mb;
	struct crypt *c;
	unsigned n;
	struct pkt v[MAX];
	uint8_t nonce[MAX][CRYPT_NONCE_LEN];
	uint8_t buf[MAX][2048];
	uint8_t *payload[MAX], *wire[MAX];
	size_t payload_len[MAX], wire_len[MAX];
};

static void rig_up(struct rig *r, const char *cipher, const char *pass)
{
	const uint8_t seed[32] = {0};
	uint8_t key[CRYPT_KEY_LEN];

	memset(r, 0, sizeof(*r));
	cr_assert_eq(crypt_kdf(pass, (uint32_t)strlen(pass), key), 0);
	cr_assert_eq(crypt_create(&r->c, cipher, key), 0);
	cr_assert_eq(crypt_mb_create(&r->mb, seed, 0, 0, 0), 0);
	cr_assert_eq(crypt_mb_attach(r->mb, r->c), 0);
}

static void rig_down(struct rig *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		free(r->payload[i]);
		free(r->wire[i]);
	}
	crypt_mb_destroy(r->mb);
	crypt_destroy(r->c);
}

/* Seals and opens packets [i, i + n) as one burst. */
static void both_ways(struct rig *r, unsigned from, unsigned n)
{
	struct pkt *v = r->v + from;
	uint16_t head = crypt_head(r->c);

	for (unsigned i = from; i < from + n; i++) {
		memcpy(r->buf[i] + head, r->payload[i], r->payload_len[i]);
		r->v[i] = (struct pkt){.p = r->buf[i] + head, .n = (uint16_t)r->payload_len[i], .crypt = r->c};
	}
	crypt_seal_given(r->mb, v, n, r->nonce[from]);
	for (unsigned i = from; i < from + n; i++) {
		cr_assert_eq(r->v[i].p, r->buf[i]);
		cr_assert_eq(r->v[i].n, r->wire_len[i]);
		cr_assert_arr_eq(r->v[i].p, r->wire[i], r->wire_len[i], "packet %u", i);
	}
	crypt_open_burst(r->mb, v, n);
	for (unsigned i = from; i < from + n; i++) {
		cr_assert_eq(r->v[i].verdict, VERDICT_OK);
		cr_assert_eq(r->v[i].p, r->buf[i] + head);
		cr_assert_eq(r->v[i].n, r->payload_len[i]);
		cr_assert_arr_eq(r->v[i].p, r->payload[i], r->payload_len[i], "packet %u", i);
	}
}

static void cipher_file(const char *cipher)
{
	static struct rig r;
	char name[64];
	json_t *root, *v;
	size_t i;

	snprintf(name, sizeof(name), "cipher_%s", cipher);
	root = vectors_load(name);
	rig_up(&r, cipher, json_string_value(json_object_get(root, "passphrase")));
	cr_assert_eq(crypt_head(r.c), json_integer_value(json_object_get(root, "crypt_header_len")));
	cr_assert_eq(crypt_tail(r.c), json_integer_value(json_object_get(root, "crypt_trailer_len")));
	json_array_foreach(json_object_get(root, "vectors"), i, v)
	{
		size_t n;
		uint8_t *nonce = vectors_hex(v, "nonce", &n);

		cr_assert_lt(i, MAX);
		cr_assert_leq(n, CRYPT_NONCE_LEN);
		memcpy(r.nonce[i], nonce, n);
		free(nonce);
		r.payload[i] = vectors_hex(v, "payload", &r.payload_len[i]);
		r.wire[i] = vectors_hex(v, "wire", &r.wire_len[i]);
		r.n++;
	}
	cr_assert_gt(r.n, 20);
	for (unsigned k = 0; k < r.n; k++)
		both_ways(&r, k, 1);
	both_ways(&r, 0, r.n);
	rig_down(&r);
	json_decref(root);
}

Test(crypt_vectors, every_cipher)
{
	for (unsigned i = 0; crypt_name(i); i++)
		cipher_file(crypt_name(i));
}

/* A real session's datagrams: they open, and sealed again with the scripted nonces they are the same bytes. */
static unsigned session(const json_t *entry, const char *cipher, const char *pass)
{
	static struct rig r;
	json_t *d;
	size_t i;
	unsigned n;

	rig_up(&r, cipher, pass);
	cr_assert_eq(crypt_head(r.c), json_integer_value(json_object_get(entry, "header_size")) -
					      (json_integer_value(json_object_get(entry, "datashard")) ? 8 : 0));
	json_array_foreach(json_object_get(entry, "datagrams"), i, d)
	{
		cr_assert_lt(i, MAX);
		r.wire[i] = vectors_unhex(d, &r.wire_len[i]);
		cr_assert_leq(r.wire_len[i], sizeof(r.buf[i]));
		memcpy(r.buf[i], r.wire[i], r.wire_len[i]);
		r.v[i] = (struct pkt){.p = r.buf[i], .n = (uint16_t)r.wire_len[i], .crypt = r.c};
		for (unsigned k = 0; k < CRYPT_NONCE_LEN; k += 4)
			be32_put(r.nonce[i] + k, (uint32_t)i + 1);
		r.n++;
	}
	crypt_open_burst(r.mb, r.v, r.n);
	for (i = 0; i < r.n; i++) {
		cr_assert_eq(r.v[i].verdict, VERDICT_OK, "datagram %zu", i);
		r.payload_len[i] = r.v[i].n;
		r.payload[i] = malloc(r.v[i].n);
		memcpy(r.payload[i], r.v[i].p, r.v[i].n);
	}
	both_ways(&r, 0, r.n);
	n = r.n;
	rig_down(&r);
	return n;
}

Test(crypt_vectors, pipeline)
{
	json_t *root = vectors_load("pipeline"), *entry;
	const char *pass = json_string_value(json_object_get(root, "passphrase"));
	unsigned seen[CRYPT_LINES] = {0};
	size_t i;

	json_array_foreach(json_object_get(root, "vectors"), i, entry)
	{
		const char *cipher = json_string_value(json_object_get(entry, "crypt"));

		for (unsigned k = 0; crypt_name(k); k++) {
			if (!strcmp(cipher, crypt_name(k)) && json_array_size(json_object_get(entry, "datagrams")))
				seen[k] += session(entry, cipher, pass);
		}
	}
	for (unsigned k = 0; crypt_name(k); k++)
		cr_assert_gt(seen[k], 4, "%s", crypt_name(k));
	json_decref(root);
}
