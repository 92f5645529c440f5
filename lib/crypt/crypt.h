/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Packet encryption, wire.md section 2.  The unit of work is the burst: packets of any tunnels, sessions and keys side
 * by side, so that the multi-buffer lanes stay full.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pkt.h"

#define CRYPT_KEY_LEN  32  /* derived key K */
#define CRYPT_MAX_HEAD 20  /* nonce and CRC32 */
#define CRYPT_MAX_TAIL 16  /* GCM tag */
#define CRYPT_WORKERS  128 /* most workers of a process */

struct crypt;	 /* one tunnel's cipher and key schedules: immutable, shared by all workers */
struct crypt_mb; /* one worker's multi-buffer managers, scratch, nonce generator and own part of ciphers */

/* K of a passphrase of len bytes (wire.md 2.1): PBKDF2-HMAC-SHA1, salt "kcp-go", 4096 rounds.  0 or -errno. */
int crypt_kdf(const char *pass, uint32_t len, uint8_t key[CRYPT_KEY_LEN]);

/* n bytes that are no use for finding K, another string for each label: for what is stored.  0 or -errno. */
int crypt_derive(const uint8_t key[CRYPT_KEY_LEN], const char *label, uint8_t *out, uint32_t n);

/* The i-th cipher name that crypt_create takes, NULL beyond the last. */
const char *crypt_name(unsigned i);

/* What runs that cipher on this machine, in words: "vector AES and AVX-512", "libgcrypt".  NULL: no such cipher, or not
 * on this CPU. Takes a while: for set-up and for people. */
const char *crypt_form(const char *name);

/* Makes the schedules of cipher `name` from K.  -ENOENT: no such cipher; -ENOMEM; -ENOTSUP: the CPU cannot.
 * The caller owns *out and frees it with crypt_destroy, which wipes it. */
int crypt_create(struct crypt **out, const char *name, const uint8_t key[CRYPT_KEY_LEN]);
void crypt_destroy(struct crypt *c);

/* Bytes that a datagram grows by, before and behind its payload (H and T of wire.md section 1). */
uint16_t crypt_head(const struct crypt *c);
uint16_t crypt_tail(const struct crypt *c);

/*
 * Where a datagram of c bears what names it: bytes (at most CRYPT_MARK_MAX, from *at on) of its ciphertext that differ
 * from datagram to datagram, and that cannot be changed by who lacks the key without its being refused: to know one
 * that comes again.  0: it has none ("null").  With "xor" and "none", which keep nobody out, they can be changed.
 */
#define CRYPT_MARK_MAX 16
unsigned crypt_mark(const struct crypt *c, unsigned *at);

/*
 * The end of its tunnel that c seals for, so that what comes back is known for our own (crypt_reflected): what is
 * sealed for one end is good at the other.  Before the first burst; NONE, to begin with: all is taken as it comes.
 */
enum crypt_side { CRYPT_SIDE_NONE, CRYPT_SIDE_CLIENT, CRYPT_SIDE_SERVER };
void crypt_set_side(struct crypt *c, enum crypt_side side);
/* It has a side, and nonces that tell of it. */
bool crypt_knows_own(const struct crypt *c);

/*
 * One worker's scratch; `seed` keys its nonce generator and must be fresh random bytes, the same for all workers of the
 * process, which know each other's by it.  `now_us` is the wall clock, microseconds since 1970, at this start of the
 * process; `worker` < CRYPT_WORKERS differs between the workers of a process, `pid` between processes that run at the
 * same time on a host: together they keep GCM's nonces apart (nonce.c). Not to be shared.  0, -EINVAL: no such worker,
 * -ENOMEM, or -ENOTSUP: the CPU cannot, or computes wrongly by the library's own power-up test.  The caller owns *out
 * and frees it with crypt_mb_destroy, which wipes it.
 */
int crypt_mb_create(struct crypt_mb **out, const uint8_t seed[32], uint64_t now_us, unsigned worker, uint32_t pid);
void crypt_mb_destroy(struct crypt_mb *mb);

/*
 * Makes what this worker needs of its own for c: some libraries' cipher handles serve one thread only.  To be called
 * once for every worker and cipher before any burst between them, since bursts allocate nothing: without it packets of
 * c are dropped as DROP_CRYPT_BAD on the way in, and go out as zeros.  0, -ENOMEM or -ENOTSUP.  Detach before c is
 * destroyed while mb lives on; crypt_mb_destroy detaches all, and may come before or after crypt_destroy.
 */
int crypt_mb_attach(struct crypt_mb *mb, const struct crypt *c);
void crypt_mb_detach(struct crypt_mb *mb, const struct crypt *c);

/*
 * Opens v[0..n) in place.  A packet whose verdict is not VERDICT_OK is left alone.  p/n is the UDP payload on entry; on
 * success it is the plaintext payload (FEC or KCP); a failure sets DROP_CRYPT_SHORT or DROP_CRYPT_BAD.
 * Any n; packets of up to 2048 bytes.  Longer ones are handled too, if slower.
 */
void crypt_open_burst(struct crypt_mb *mb, struct pkt *v, unsigned n);

/*
 * Of v[0..n), just opened: DROP_REFLECTED for what a worker of this process has sealed for the same side, where
 * crypt_knows_own.
 */
void crypt_reflected(struct crypt_mb *mb, struct pkt *v, unsigned n);

/*
 * Seals v[0..n) in place: p/n is the payload on entry, with crypt_head() writable bytes before and crypt_tail() behind;
 * afterwards it is the UDP payload, with a nonce of its own.  Verdicts are not looked at: whatever is in v gets sealed,
 * so that nothing leaves in clear by mistake.  Every packet's `crypt` must be set, here and in crypt_open_burst.
 */
void crypt_seal_burst(struct crypt_mb *mb, struct pkt *v, unsigned n);

/*
 * Runs the cipher against its built-in vector over batch sizes and lengths at the edges, comparing the burst form with
 * the serial reference.  0, or -EBADMSG when the machine computes something else; -ENOENT: no such cipher; -ENOMEM;
 * -ENOTSUP.  A few milliseconds; allocates, so at start-up only.
 */
int crypt_selftest(const char *name);
