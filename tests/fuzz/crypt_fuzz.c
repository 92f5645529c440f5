/* SPDX-License-Identifier: MIT */

/*
 * Every cipher in every form that this machine has, beside the serial reference: a burst of any ciphers and lengths is
 * sealed as the reference seals it, byte for byte, and what arrives is opened, or refused, as the reference does.
 *
 *	packets: cipher(1) how(1) length(2) nonce(1) bytes
 *	how: 1 these bytes are what arrives; else the payload of what does, of which 2 flips a bit
 */

#include <errno.h>

#include "crypt_int.h"
#include "fuzz.h"

#define BURST	 40
#define LEN_MAX	 2200
#define ROOM	 (CRYPT_MAX_HEAD + LEN_MAX + CRYPT_MAX_TAIL)
#define NAMES	 CRYPT_LINES
#define SEAL_MAX 2048

struct packet {
	unsigned cipher, n; /* n: of the datagram */
	unsigned payload;   /* bytes; UINT_MAX: arrives raw */
	uint8_t nonce[CRYPT_NONCE_LEN];
	uint8_t plain[LEN_MAX];
	uint8_t wire[ROOM];   /* as sealed, and perhaps bent */
	uint8_t sealed[ROOM]; /* by the reference */
	uint8_t opened[ROOM]; /* by the reference */
	int opens;	      /* its verdict */
};

static struct crypt *key_of[NAMES];
static struct crypt_ref *ref_of[NAMES];
static struct crypt_mb *form[CRYPT_ARCH_COUNT];
static unsigned names, forms;
static struct packet packet[BURST];

static void up(void)
{
	uint8_t key[CRYPT_KEY_LEN], seed[32] = {7};

	fuzz_must(crypt_kdf("it's a secrect", 14, key) == 0);
	for (names = 0; crypt_name(names); names++) {
		fuzz_must(crypt_create(&key_of[names], crypt_name(names), key) == 0);
		fuzz_must(crypt_ref_create(&ref_of[names], crypt_line_find(crypt_name(names)), key) == 0);
	}
	for (unsigned a = 0; a < CRYPT_ARCH_COUNT; a++) {
		if (crypt_mb_create_arch(&form[forms], seed, 0, 0, 0, (enum crypt_arch)a))
			continue;
		for (unsigned i = 0; i < names; i++)
			fuzz_must(crypt_mb_attach(form[forms], key_of[i]) == 0);
		forms++;
	}
	fuzz_must(forms);
}

static void read_packet(struct packet *k, struct fuzz_in *in)
{
	unsigned cipher = fuzz_u8(in) % names, how = fuzz_u8(in), len = fuzz_u16(in) % LEN_MAX, flip;
	uint16_t head = crypt_head(key_of[cipher]), tail = crypt_tail(key_of[cipher]);
	struct fuzz_in bytes;

	k->cipher = cipher;
	for (unsigned i = 0; i < sizeof(k->nonce); i++)
		k->nonce[i] = (uint8_t)(fuzz_u8(in) + (i == 0 ? len : i));
	bytes = fuzz_bytes(in, len);
	k->payload = UINT32_MAX;
	k->n = len;
	memset(k->plain, how, len);
	memcpy(k->plain, bytes.p, bytes.n);
	memcpy(k->wire, k->plain, len);
	if (!(how & 1) && len <= SEAL_MAX) {
		k->payload = len;
		k->n = head + len + tail;
		memcpy(k->sealed + head, k->plain, len);
		fuzz_must(crypt_ref_seal(ref_of[cipher], k->sealed, len, k->nonce) == 0);
		memcpy(k->wire, k->sealed, k->n);
		flip = le16_get(k->nonce);
		if (how & 2 && k->n)
			k->wire[flip / 8 % k->n] ^= (uint8_t)(1 << flip % 8);
	}
	memcpy(k->opened, k->wire, k->n);
	k->opens = crypt_ref_open(ref_of[cipher], k->opened, k->n);
	fuzz_must(k->opens == 0 || k->opens == -EMSGSIZE || k->opens == -EBADMSG);
	if (k->payload != UINT32_MAX && !(how & 2))
		fuzz_must(k->opens == 0 && memcmp(k->opened + head, k->plain, len) == 0);
}

static void seal(struct crypt_mb *mb, unsigned n)
{
	static uint8_t nonces[BURST][CRYPT_NONCE_LEN];
	uint8_t *room[BURST];
	struct pkt v[BURST];
	unsigned m = 0, of[BURST];

	for (unsigned i = 0; i < n; i++) {
		const struct packet *k = &packet[i];

		if (k->payload == UINT32_MAX)
			continue;
		room[m] = malloc(k->n ? k->n : 1);
		memcpy(room[m] + crypt_head(key_of[k->cipher]), k->plain, k->payload);
		v[m] = (struct pkt){.p = room[m] + crypt_head(key_of[k->cipher]),
				    .n = (uint16_t)k->payload,
				    .crypt = key_of[k->cipher]};
		memcpy(nonces[m], k->nonce, CRYPT_NONCE_LEN);
		of[m++] = i;
	}
	crypt_seal_given(mb, v, m, nonces[0]);
	for (unsigned i = 0; i < m; i++) {
		const struct packet *k = &packet[of[i]];

		fuzz_must(v[i].p == room[i] && v[i].n == k->n && memcmp(room[i], k->sealed, k->n) == 0,
			  "%s, %u bytes, packet %u of %u", crypt_name(k->cipher), k->payload, i, m);
		free(room[i]);
	}
}

static void check_opened(const struct packet *k, const struct pkt *got, const uint8_t *room)
{
	unsigned head = crypt_head(key_of[k->cipher]), tail = crypt_tail(key_of[k->cipher]);
	unsigned want = k->opens == 0 ? VERDICT_OK : k->opens == -EMSGSIZE ? DROP_CRYPT_SHORT : DROP_CRYPT_BAD;

	fuzz_must(got->verdict == want, "%s, %u bytes: %u, not %u", crypt_name(k->cipher), k->n, got->verdict, want);
	if (want != VERDICT_OK)
		return;
	fuzz_must(got->p == room + head && got->n == k->n - head - tail);
	fuzz_must(memcmp(got->p, k->opened + head, got->n) == 0, "%s, %u bytes", crypt_name(k->cipher), k->n);
}

static void open_all(struct crypt_mb *mb, unsigned n)
{
	uint8_t *room[BURST];
	struct pkt v[BURST];

	for (unsigned i = 0; i < n; i++) {
		room[i] = fuzz_exact(packet[i].wire, packet[i].n);
		v[i] = (struct pkt){.p = room[i], .n = (uint16_t)packet[i].n, .crypt = key_of[packet[i].cipher]};
	}
	crypt_open_burst(mb, v, n);
	for (unsigned i = 0; i < n; i++) {
		check_opened(&packet[i], &v[i], room[i]);
		free(room[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	unsigned m = 0;

	if (!forms)
		up();
	while (in.n && m < BURST)
		read_packet(&packet[m++], &in);
	for (unsigned f = 0; f < forms; f++) {
		seal(form[f], m);
		open_all(form[f], m);
	}
	return 0;
}
