/* SPDX-License-Identifier: MIT */

/*
 * Sealing and opening of every cipher: 256 packets of 1344 bytes, all of one key unless the row says otherwise, handed
 * over in bursts of 256 (and of 1, 8 and 32 for the ciphers that matter).  A go handles all packets; sealed ones are
 * put back before it, untimed, so the data are warm in the second cache, where received packets lie.
 *
 * The shares beside them are what the libraries take of it: the same bytes through IPsec-MB (or libgcrypt) and
 * ISA-L's CRC32 alone, round by round in turn with the room's own.  1 would be a room that costs nothing.
 */

#include <errno.h>
#include <stdio.h>

#include "bench.h"
#include "crypt_int.h"
#include "pkts.h"

#define PACKETS	     256
#define PACKETS_SLOW 32 /* of ciphers that take microseconds a packet */

static struct crypt_mb *mb;
static struct crypt *cipher[2];
static struct pkts set;
static uint8_t *sealed; /* the datagrams of `set`, head and tail included */
static unsigned packets, burst;

static uint16_t datagram(void)
{
	return (uint16_t)(PKTS_BYTES + crypt_head(cipher[0]) + crypt_tail(cipher[0]));
}

static void put_back(void *arg)
{
	(void)arg;
	pkts_reset(&set, PKTS_BYTES);
	set.n = packets;
}

static void seal(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < packets; i += burst)
		crypt_seal_burst(mb, set.v + i, burst);
}

static void put_sealed(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < packets; i++) {
		struct pkt *k = &set.v[i];

		k->p = pkts_at(&set, i) - crypt_head(cipher[0]);
		k->n = datagram();
		k->verdict = VERDICT_OK;
		memcpy(k->p, sealed + (size_t)i * PKTS_STRIDE, k->n);
	}
}

static void open_all(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < packets; i += burst)
		crypt_open_burst(mb, set.v + i, burst);
}

/* Keeps what a seal made for the openings, and sees that it opens to what it was. */
static void keep_sealed(const char *name)
{
	static uint8_t was[PKTS_BYTES];

	pkts_fill(was, sizeof(was), 7);
	put_back(NULL);
	memcpy(set.v[packets - 1].p, was, sizeof(was));
	burst = packets;
	seal(NULL);
	for (unsigned i = 0; i < packets; i++)
		memcpy(sealed + (size_t)i * PKTS_STRIDE, set.v[i].p, set.v[i].n);
	open_all(NULL);
	for (unsigned i = 0; i < packets; i++) {
		if (set.v[i].verdict != VERDICT_OK || set.v[i].n != PKTS_BYTES) {
			bench_wrong("%s: packet %u does not open", name, i);
			return;
		}
	}
	if (memcmp(set.v[packets - 1].p, was, sizeof(was)) != 0)
		bench_wrong("%s: what was sealed opens to something else", name);
}

static void row(const char *op, const char *name, const char *how, unsigned per_call)
{
	struct bench_series s;
	char text[64];
	bool is_seal = op[0] == 's';
	struct bench_job j = {text,	 is_seal ? seal : open_all, is_seal ? put_back : put_sealed, NULL, packets,
			      PKTS_BYTES};

	snprintf(text, sizeof(text), "crypt %s %s%s, burst %u", op, name, how, per_call);
	burst = per_call;
	bench_job(&j, &s);
}

static bool make(struct crypt **c, const char *name, uint8_t first)
{
	uint8_t key[CRYPT_KEY_LEN];
	int rc;

	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(first + i);
	rc = crypt_create(c, name, key);
	if (rc == -ENOTSUP)
		return false;
	if (rc || crypt_mb_attach(mb, *c)) {
		bench_wrong("%s: cannot be made", name);
		return false;
	}
	return true;
}

static void drop(struct crypt *c)
{
	crypt_mb_detach(mb, c);
	crypt_destroy(c);
}

static bool is_one_of(const char *name, const char *const *list)
{
	for (; *list; list++) {
		if (!strcmp(name, *list))
			return true;
	}
	return false;
}

/* Alternating packets of two tunnels, whose keys differ. */
static void two_keys(const char *name)
{
	if (!make(&cipher[1], name, 99))
		return;
	for (unsigned i = 0; i < packets; i++)
		set.v[i].crypt = cipher[i & 1];
	keep_sealed(name);
	row("seal", name, ", two keys mixed", packets);
	row("open", name, ", two keys mixed", packets);
	drop(cipher[1]);
}

static void measure(const char *name)
{
	static const char *const slow[] = {"blowfish", "cast5", "3des", "tea", "xtea", "twofish", "sm4", NULL};
	static const char *const matter[] = {"aes", "aes-128", "aes-128-gcm", "salsa20", "xor", "none", NULL};

	packets = is_one_of(name, slow) ? PACKETS_SLOW : PACKETS;
	if (!make(&cipher[0], name, 1)) {
		bench_note("%s: not on this CPU", name);
		return;
	}
	for (unsigned i = 0; i < packets; i++)
		set.v[i].crypt = cipher[0];
	keep_sealed(name);
	row("seal", name, "", packets);
	row("open", name, "", packets);
	if (is_one_of(name, matter)) {
		for (unsigned n = 1; n <= 32; n = n == 1 ? 8 : n * 4) {
			row("seal", name, "", n);
			row("open", name, "", n);
		}
		two_keys(name);
	}
	drop(cipher[0]);
}

/* As on a CPU that has less than this one, by IPsec-MB's forms for it. */
static void measure_on(enum crypt_arch arch, const char *name)
{
	struct crypt_mb *best = mb;
	uint8_t seed[32];
	char how[32];

	pkts_fill(seed, sizeof(seed), 6);
	if (crypt_mb_create_arch(&mb, seed, 1, 0, 1, arch) == 0) {
		packets = PACKETS;
		snprintf(how, sizeof(how), " on %s", crypt_arch_name(arch));
		if (make(&cipher[0], name, 1)) {
			for (unsigned i = 0; i < packets; i++)
				set.v[i].crypt = cipher[0];
			keep_sealed(name);
			row("seal", name, how, packets);
			row("open", name, how, packets);
			row("open", name, how, 1);
			drop(cipher[0]);
		}
		crypt_mb_destroy(mb);
	}
	mb = best;
}

/* ---- what the libraries take of it ---- */

static _Alignas(64) uint8_t enc_key[15 * CRYPT_BLOCK];
static struct gcm_key_data gcm_key;
static IMB_JOB jobs[PACKETS];
static uint8_t *stream;
static unsigned key_len;

static void bare_crc(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < packets; i++) {
		uint32_t crc = crc32_gzip_refl(0, pkts_at(&set, i), PKTS_BYTES);

		crypt_upper_clean();
		bench_keep(&crc);
	}
}

/* CBC of as many blocks as CFB makes; the jobs stand ready, but for their state, which the library writes. */
static void bare_cbc(void *arg)
{
	(void)arg;
	for (unsigned at = 0; at < packets; at += CRYPT_BURST) {
		IMB_JOB *j = jobs + at;

		switch (key_len) {
		case 16:
			IMB_SUBMIT_CIPHER_BURST_NOCHECK(mb->mgr, j, CRYPT_BURST, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 16);
			break;
		default:
			IMB_SUBMIT_CIPHER_BURST_NOCHECK(mb->mgr, j, CRYPT_BURST, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 32);
			break;
		}
		crypt_upper_clean();
	}
}

static void bare_seal(void *arg)
{
	bare_crc(arg);
	bare_cbc(arg);
}

static void bare_open(void *arg)
{
	for (unsigned i = 0; i < packets; i++)
		crypt_ecb(mb->mgr, enc_key, key_len, pkts_at(&set, i), stream, PKTS_BYTES);
	bare_crc(arg);
}

static void bare_gcm_seal(void *arg)
{
	struct gcm_context_data ctx;
	uint8_t tag[16];

	(void)arg;
	for (unsigned i = 0; i < packets; i++) {
		uint8_t *p = pkts_at(&set, i);

		IMB_AES128_GCM_ENC(mb->mgr, &gcm_key, &ctx, p, p, PKTS_BYTES, p - 16, NULL, 0, tag, sizeof(tag));
	}
	crypt_upper_clean();
}

static void bare_gcm_open(void *arg)
{
	struct gcm_context_data ctx;
	uint8_t tag[16];

	(void)arg;
	for (unsigned i = 0; i < packets; i++) {
		uint8_t *p = pkts_at(&set, i);

		IMB_AES128_GCM_DEC(mb->mgr, &gcm_key, &ctx, p, p, PKTS_BYTES, p - 16, NULL, 0, tag, sizeof(tag));
	}
	crypt_upper_clean();
}

static void bare_copy(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < packets; i++)
		memcpy(sealed + (size_t)i * PKTS_STRIDE, pkts_at(&set, i), PKTS_BYTES);
}

static void bare_setup(const char *name)
{
	static const uint8_t key[32] = {1, 2, 3};

	key_len = strcmp(name, "aes") ? 16 : 32;
	crypt_expand(mb->mgr, key, key_len, enc_key);
	IMB_AES128_GCM_PRE(mb->mgr, key, &gcm_key);
	crypt_upper_clean();
	for (unsigned i = 0; i < PACKETS; i++) {
		jobs[i] = (IMB_JOB){
			.enc_keys = enc_key,
			.dec_keys = enc_key,
			.key_len_in_bytes = key_len,
			.src = pkts_at(&set, i),
			.dst = stream + (size_t)(i % CRYPT_BURST) * PKTS_STRIDE,
			.msg_len_to_cipher_in_bytes = PKTS_BYTES,
			.iv = enc_key,
			.iv_len_in_bytes = CRYPT_BLOCK,
		};
	}
}

/* The libraries' share of the room's time, by rounds in turn. */
static void share(const char *name, const char *op, void (*bare)(void *))
{
	struct bench_series own, lib, ratio;
	struct bench_stat t;
	char row_name[64], text[96];
	bool is_seal = op[0] == 's';
	struct bench_job a = {row_name, bare, NULL, NULL, packets, PKTS_BYTES};
	struct bench_job b = {NULL,	 is_seal ? seal : open_all, is_seal ? put_back : put_sealed, NULL, packets,
			      PKTS_BYTES};

	snprintf(row_name, sizeof(row_name), "crypt bare %s %s", op, name);
	if (!bench_wanted(row_name))
		return;
	burst = packets;
	bench_pair(&a, &b, &lib, &own, &ratio);
	t = bench_stat(&ratio);
	snprintf(text, sizeof(text), "  of %s %s: libraries alone / the room", op, name);
	bench_value(text, t.median, "");
}

static void shares(const char *name, void (*bare_s)(void *), void (*bare_o)(void *))
{
	packets = PACKETS;
	if (!make(&cipher[0], name, 1))
		return;
	for (unsigned i = 0; i < packets; i++)
		set.v[i].crypt = cipher[0];
	keep_sealed(name);
	bare_setup(name);
	share(name, "seal", bare_s);
	share(name, "open", bare_o);
	drop(cipher[0]);
}

static void primitives(void)
{
	struct bench_series s;
	struct bench_job crc = {"bare CRC32", bare_crc, NULL, NULL, PACKETS, PKTS_BYTES};
	struct bench_job copy = {"bare copy", bare_copy, NULL, NULL, PACKETS, PKTS_BYTES};

	packets = PACKETS;
	bench_job(&crc, &s);
	bench_job(&copy, &s);
}

int main(int argc, char **argv)
{
	uint8_t seed[32];
	const char *name;

	bench_begin(argc, argv, "bm_crypt", "sealing and opening, a 1344-byte packet");
	pkts_fill(seed, sizeof(seed), 5);
	if (crypt_mb_create(&mb, seed, 1, 0, 1)) {
		bench_wrong("no multi-buffer manager");
		return bench_end();
	}
	pkts_make(&set, PACKETS, PKTS_BYTES);
	sealed = aligned_alloc(64, (size_t)PACKETS * PKTS_STRIDE);
	stream = aligned_alloc(64, (size_t)CRYPT_BURST * PKTS_STRIDE);
	if (!sealed || !stream)
		abort();
	memset(sealed, 1, (size_t)PACKETS * PKTS_STRIDE);
	bench_value("IPsec-MB", IMB_VERSION_NUM, "(version number)");
	for (unsigned i = 0; (name = crypt_name(i)); i++)
		measure(name);
	for (enum crypt_arch a = CRYPT_ARCH_SSE; a < CRYPT_ARCH_AVX512_VAES; a++) {
		measure_on(a, "aes");
		measure_on(a, "aes-128");
	}
	shares("aes", bare_seal, bare_open);
	shares("aes-128", bare_seal, bare_open);
	shares("aes-128-gcm", bare_gcm_seal, bare_gcm_open);
	primitives();
	crypt_mb_destroy(mb);
	return bench_end();
}
