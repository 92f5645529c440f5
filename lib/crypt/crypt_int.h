/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the files of this room share, and what its tests reach for.  A cipher is one const struct crypt_ops and one line
 * of the table in crypt.c; the dispatcher groups a burst by line, so that an operation sees only packets of its own
 * cipher, though of any number of keys.
 */

#include <gcrypt.h>
#include <intel-ipsec-mb.h>
#include <isa-l/crc.h>
#include <stdbool.h>
#include <stddef.h>

#include "crypt.h"
#include "crypt_wire.h"
#include "le.h"
#include "upper.h"
#include "vault.h"

#define CRYPT_BURST  128		  /* most packets that one call of an operation gets */
#define CRYPT_STREAM (CRYPT_BURST * 2112) /* keystream bytes for them: holds a burst of full packets */
#define CRYPT_LINES  16			  /* most lines of the cipher table */

/* IPsec-MB has AES-CFB of its own. */
#define CRYPT_IMB_CFB (IMB_VERSION_NUM >= IMB_VERSION(2, 0, 0))

/* Keystream that a packet of n bytes takes: whole cache lines, so that slots never share one. */
#define CRYPT_SLOT(n) (((uint32_t)(n) + 63) & ~63u)

static_assert(CRYPT_SLOT(UINT16_MAX) + 64 <= CRYPT_STREAM, "any packet fits, whatever a peer or a caller hands in");

/* What the dispatcher puts before seal into the leading bytes of head. */
enum crypt_nonce_kind {
	CRYPT_NONCE_NONE,
	CRYPT_NONCE_SECRET,  /* CRYPT_NONCE_LEN bytes, unpredictable */
	CRYPT_NONCE_COUNTED, /* CRYPT_GCM_NONCE bytes, unique for certain */
};

struct crypt_ops {
	uint16_t head;		   /* bytes added before the payload */
	uint16_t tail;		   /* and behind it */
	uint16_t nonce;		   /* enum crypt_nonce_kind */
	uint8_t mark_at, mark_len; /* see crypt_mark */
	bool one_key;		   /* open and seal get packets of one key at a time */
	uint32_t size;		   /* bytes of struct crypt's sched */
	uint32_t own;		   /* bytes of a worker's own part of each cipher; 0: none.  Needs one_key, attach. */
	/* Fills c->sched, which is zeroed.  NULL: nothing to do.  0 or -errno. */
	int (*init)(struct crypt *c, const uint8_t key[CRYPT_KEY_LEN]);
	/* Makes the own part, zeroed and aligned to a cache line; 0 or -errno.  It is wiped after detach, which is NULL
	 * when that is all there is to do. */
	int (*attach)(struct crypt_mb *mb, const struct crypt *c, void *own);
	void (*detach)(void *own);
	/* v[i] is a whole datagram, at least head + tail long; mb->stream has room for one of them at a time.  Strips
	 * it or sets DROP_CRYPT_BAD.  NULL: nothing to do.  May change the order of v. */
	void (*open)(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n);
	/* v[i] is a whole datagram, nonce in place, the rest of head and tail unset; the CRYPT_SLOTs of all v fit in
	 * mb->stream.  NULL: nothing to do.  May change the order of v. */
	void (*seal)(struct crypt_mb *mb, void *own, struct pkt **v, unsigned n);
};

/*
 * A block of CFB's ciphertext that is changed garbles the block behind it.  With blocks of 16 bytes that is the
 * checksum's for the first; with 8 it is for the second, for a change of the first garbles the nonce alone.
 */
#define CRYPT_MARK_CFB16 .mark_len = 16
#define CRYPT_MARK_CFB8	 .mark_at = 8, .mark_len = 8

struct crypt_ref;

/* What the serial reference does to a whole datagram of n bytes at p, nonce and CRC in place.  0, -EBADMSG or -EIO. */
typedef int crypt_ref_fn(struct crypt_ref *r, uint8_t *p, uint32_t n, bool seal);

struct crypt_ref_how {
	crypt_ref_fn *fn; /* NULL: nothing is encrypted */
	int algo, mode;	  /* libgcrypt's, if fn wants a handle */
	unsigned key_len; /* of that handle */
};

struct crypt_line {
	const char *name;
	const struct crypt_ops *ops;
	struct crypt_ref_how ref;
	const char *kat; /* datagram of crypt_selftest's known payload, nonce and passphrase, in hex */
};

struct crypt {
	const struct crypt_ops *ops;
	uint32_t line; /* of the table, and so the group of a burst */
	uint8_t side;  /* enum crypt_side */
	_Alignas(64) uint8_t sched[];
};

#define CRYPT_SIDES 3 /* of enum crypt_side */
#define CRYPT_POOL  256

/* Unique for the life of its key: a counter under AES-256, made in bulk, for each side of its own. */
struct crypt_nonces {
	_Alignas(64) uint8_t enc[15 * CRYPT_BLOCK], dec[15 * CRYPT_BLOCK];
	_Alignas(64) uint8_t buf[CRYPT_SIDES][CRYPT_POOL][CRYPT_NONCE_LEN];
	uint64_t count;		  /* nonces made so far */
	unsigned at[CRYPT_SIDES]; /* next in buf; CRYPT_POOL: none */
	uint8_t worker;
};

/* Unique for certain: see nonce.c. */
struct crypt_counted {
	uint64_t count; /* of the next nonce */
	uint32_t process;
	uint8_t worker;
};

struct crypt_group {
	unsigned n;
	struct pkt *v[CRYPT_BURST];
};

/* A worker's own parts of ciphers, found by the cipher's address: open addressing, at most half full. */
struct crypt_own {
	const struct crypt *c; /* NULL: free.  Only compared: the cipher itself may be gone. */
	const struct crypt_ops *ops;
	void *part;
};

struct crypt_owns {
	struct crypt_own *v;
	uint32_t n, mask; /* in use; places, a power of two, less one */
};

/* dst[0..n blocks of 8) = E(src[0..n blocks)), in place allowed. */
typedef void crypt_tea_fn(const uint32_t *k, const uint8_t *src, uint8_t *dst, unsigned n);

struct crypt_tea_form {
	crypt_tea_fn *tea, *xtea;
};

typedef void crypt_xor_fn(uint8_t *p, const uint8_t *stream, uint32_t n);

#define CRYPT_CFB_LANES 16

/* Packets side by side: the n[i] bytes at p[i].  What goes on beyond a packet's end is written to the scratch, which is
 * as long as the longest. */
struct crypt_cfb_lanes {
	uint8_t *p[CRYPT_CFB_LANES];
	uint32_t n[CRYPT_CFB_LANES];
	uint8_t *scratch;
};

/* AES-CFB in place, under the schedule of a key of key_len bytes, aligned to 16. */
struct crypt_cfb_form {
	void (*open)(uint8_t *p, uint32_t n, const uint8_t *enc, unsigned key_len); /* n >= 1 bytes at p */
	void (*seal)(const struct crypt_cfb_lanes *l, const uint8_t *enc, unsigned key_len);
};

#define CRYPT_SALSA_LANES 16
#define CRYPT_SALSA_BLOCK 64

/* Blocks of streams under one key: which, and what they are added to. */
struct crypt_salsa_lanes {
	_Alignas(64) uint32_t nonce[2][CRYPT_SALSA_LANES]; /* low and high halves */
	_Alignas(64) uint32_t block[CRYPT_SALSA_LANES];	   /* counter */
	uint8_t *p[CRYPT_SALSA_LANES];
	uint8_t n[CRYPT_SALSA_LANES]; /* bytes at p, up to a block; 0: an idle lane */
};

typedef void crypt_salsa_fn(const uint32_t *key, const struct crypt_salsa_lanes *l);

struct crypt_mb {
	IMB_MGR *mgr;
	crypt_xor_fn *xor_in;
	const struct crypt_tea_form *tea;
	const struct crypt_cfb_form *cfb; /* NULL: IPsec-MB does it */
	crypt_salsa_fn *salsa;		  /* NULL: libgcrypt does it */
	struct crypt_nonces nonces;
	struct crypt_counted counted;
	struct crypt_owns owns;
	struct crypt_group group[CRYPT_LINES];
	IMB_JOB job[CRYPT_BURST];
	_Alignas(64) uint8_t stream[CRYPT_STREAM];
};

/* Instruction sets to run on.  AUTO takes the best that the CPU has; the others are for tests. */
enum crypt_arch {
	CRYPT_ARCH_AUTO,
	CRYPT_ARCH_SOFT, /* no AES instructions */
	CRYPT_ARCH_SSE,
	CRYPT_ARCH_AVX,
	CRYPT_ARCH_AVX2, /* without vector AES, as the next but one */
	CRYPT_ARCH_AVX2_VAES,
	CRYPT_ARCH_AVX512,
	CRYPT_ARCH_AVX512_VAES,
	CRYPT_ARCH_COUNT
};

/* mb.c */
const char *crypt_arch_name(enum crypt_arch arch);
/* A manager on `arch`: 0, -ENOMEM, or -ENOTSUP when the CPU or the library lacks it.  Free with crypt_mgr_destroy,
 * which wipes it: its lanes hold copies of key schedules. */
int crypt_mgr_create(IMB_MGR **out, enum crypt_arch arch);
void crypt_mgr_destroy(IMB_MGR *mgr);
int crypt_mb_create_arch(struct crypt_mb **out, const uint8_t seed[32], uint64_t now_us, unsigned worker, uint32_t pid,
			 enum crypt_arch arch);
/* AES-ECB encryption of len bytes, a multiple of 16, under the schedule of a key of key_len bytes.  In place allowed.
 */
void crypt_ecb(IMB_MGR *mgr, const void *enc, unsigned key_len, const uint8_t *src, uint8_t *dst, uint32_t len);
/* The same of AES-256, backward: under the schedule that crypt_expand_both puts at dec. */
void crypt_ecb_back(IMB_MGR *mgr, const void *dec, const uint8_t *src, uint8_t *dst, uint32_t len);
/* The encryption schedule, (key_len / 4 + 7) blocks of 16 bytes at enc. */
void crypt_expand(IMB_MGR *mgr, const uint8_t *key, unsigned key_len, uint8_t *enc);
/* Of a key of 32 bytes, and that for decryption, likewise. */
void crypt_expand_both(IMB_MGR *mgr, const uint8_t *key, uint8_t *enc, uint8_t *dec);

/* crypt.c */
extern const struct crypt_line crypt_lines[];
const struct crypt_line *crypt_line_find(const char *name); /* NULL: none */
/* crypt_seal_burst with the nonces given, CRYPT_NONCE_LEN bytes a packet: for golden vectors. */
void crypt_seal_given(struct crypt_mb *mb, struct pkt *v, unsigned n, const uint8_t *nonces);

/* What becomes of packets that cannot be opened or sealed: refused, and zeros instead of anything in clear. */
void crypt_refuse(struct pkt **v, unsigned n);
void crypt_blank(struct pkt **v, unsigned n);

/* cfb_mb.c, plain.c */
extern const struct crypt_ops crypt_cfb_aes_256, crypt_cfb_aes_192, crypt_cfb_aes_128;
extern const struct crypt_ops crypt_none, crypt_null;

/* gcm.c, salsa20.c, table.c, tea.c */
extern const struct crypt_ops crypt_gcm_128, crypt_salsa20, crypt_table, crypt_tea, crypt_xtea;

/* cfb_gcry.c */
extern const struct crypt_ops crypt_twofish, crypt_sm4, crypt_blowfish, crypt_cast5, crypt_des3;

/* lanes.c: how a cipher does many blocks of a key, whatever that is to the cipher. */
struct crypt_lanes {
	unsigned block; /* 8 or 16 bytes */
	/* s[0..n blocks) = E(x[0..n blocks)); x has room for a block more, which this may change.  0 or -EIO. */
	int (*ecb)(struct crypt_mb *mb, void *key, uint8_t *x, uint8_t *s, unsigned n);
	/* CFB of the n bytes at p from the given block on, for when one packet remains; NULL: ecb serves.  0 or -EIO.
	 */
	int (*rest)(void *key, const uint8_t *from, uint8_t *p, uint32_t n);
};
/* Puts the CRCs and seals v, all of one key, y0 = E(IV); zeros if the cipher fails. */
void crypt_lanes_seal(struct crypt_mb *mb, void *key, struct pkt **v, unsigned n, const struct crypt_lanes *how,
		      const uint8_t *y0);

/* xor.c: p[0..n) ^= stream[0..n), n >= 1, no byte beyond either touched.  The i-th form that this CPU runs, the best
 * last; NULL beyond. */
crypt_xor_fn *crypt_xor_form(unsigned i);

/* tea.c: as crypt_xor_form. */
const struct crypt_tea_form *crypt_tea_form(unsigned i);

/* cfb_vaes.c: NULL when this CPU has no vector AES. */
const struct crypt_cfb_form *crypt_cfb_form(void);

/* salsa20_wide.c: NULL when this CPU has no lanes wide enough. */
crypt_salsa_fn *crypt_salsa_form(void);

/* nonce.c */
void crypt_nonces_init(struct crypt_nonces *g, IMB_MGR *mgr, const uint8_t seed[32], unsigned worker);
void crypt_nonces_fill(struct crypt_nonces *g, IMB_MGR *mgr, unsigned side);
/* Of a block that was encrypted for a nonce: was it for `side`? */
bool crypt_nonce_was(const uint8_t block[CRYPT_NONCE_LEN], unsigned side);

void crypt_counted_init(struct crypt_counted *t, struct crypt_nonces *g, IMB_MGR *mgr, uint64_t now_us, unsigned worker,
			uint32_t pid);
void crypt_counted_put(struct crypt_counted *t, uint8_t nonce[CRYPT_GCM_NONCE]);

static inline const uint8_t *crypt_nonce(struct crypt_nonces *g, IMB_MGR *mgr, unsigned side)
{
	if (g->at[side] == CRYPT_POOL)
		crypt_nonces_fill(g, mgr, side);
	return g->buf[side][g->at[side]++];
}

/* own.c */
void crypt_owns_wipe(struct crypt_owns *o);

static inline uint32_t crypt_own_hash(const struct crypt *c)
{
	return (uint32_t)(((uintptr_t)c >> 6) * 0x9e3779b97f4a7c15u >> 32);
}

/* NULL: not attached. */
static inline void *crypt_own_find(const struct crypt_owns *o, const struct crypt *c)
{
	for (uint32_t i = crypt_own_hash(c); o->v; i++) {
		const struct crypt_own *e = &o->v[i & o->mask];

		if (e->c == c || !e->c)
			return e->part;
	}
	return NULL;
}

/* kdf.c: PBKDF2-HMAC-SHA1 of len bytes, salt a string.  0, -ENOMEM or -ENOTSUP. */
int crypt_pbkdf2(const void *pass, uint32_t len, const char *salt, unsigned rounds, uint8_t *out, uint32_t out_len);

/* gcry.c: libgcrypt's one-time initialisation, from setup code only.  0 or -ENOTSUP. */
int crypt_gcrypt_up(void);
/* A handle with its key, weak keys too: kcptun takes any.  0, -ENOMEM or -ENOTSUP.  Free with gcry_cipher_close, which
 * wipes it. */
int crypt_gcry_open(gcry_cipher_hd_t *out, int algo, int mode, const uint8_t *key, unsigned key_len);

/* ref.c: the serial reference, one packet at a time in the plainest form and with a bitwise CRC32. */
crypt_ref_fn crypt_ref_cfb, crypt_ref_gcm, crypt_ref_salsa20, crypt_ref_table, crypt_ref_tea, crypt_ref_xtea;
int crypt_ref_create(struct crypt_ref **out, const struct crypt_line *line, const uint8_t key[CRYPT_KEY_LEN]);
void crypt_ref_destroy(struct crypt_ref *r);
/* Seals the n payload bytes at p + head; p[0..head + n + tail) becomes the datagram.  0 or -EIO. */
int crypt_ref_seal(struct crypt_ref *r, uint8_t *p, uint32_t n, const uint8_t *nonce);
/* Opens the n bytes at p in place; the payload stands at p + head.  0, -EMSGSIZE, -EBADMSG or -EIO. */
int crypt_ref_open(struct crypt_ref *r, uint8_t *p, uint32_t n);

/* selftest.c */
int crypt_selftest_mb(struct crypt_mb *mb, const struct crypt_line *line);

/* After every call of ISA-L and IPsec-MB. */
static inline void crypt_upper_clean(void)
{
	upper_clean();
}

static inline uint32_t crypt_crc(const uint8_t *p, uint32_t n)
{
	uint32_t crc = crc32_gzip_refl(0, p, n);

	crypt_upper_clean();
	return crc;
}

/* The 20-byte header around its n-byte datagram at p (wire.md 2.2). */
static inline void crypt_crc_put(uint8_t *p, uint32_t n)
{
	le32_put(p + CRYPT_CRC_OFF, crypt_crc(p + CRYPT_HEAD_LEN, n - CRYPT_HEAD_LEN));
}

static inline void crypt_crc_strip(struct pkt *k)
{
	if (le32_get(k->p + CRYPT_CRC_OFF) != crypt_crc(k->p + CRYPT_HEAD_LEN, k->n - CRYPT_HEAD_LEN)) {
		k->verdict = DROP_CRYPT_BAD;
		return;
	}
	k->p += CRYPT_HEAD_LEN;
	k->n -= CRYPT_HEAD_LEN;
}
