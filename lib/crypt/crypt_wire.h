/* SPDX-License-Identifier: MIT */
#pragma once

/* What stands on the wire, wire.md section 2: the 20-byte header family's layout, its constant IV, and the KDF's terms.
 */

#include <assert.h>
#include <stdint.h>

#include "crypt.h"

#define CRYPT_NONCE_OFF 0  /* 16 random bytes, never looked at by the receiver */
#define CRYPT_NONCE_LEN 16 /* the longest of any cipher */
#define CRYPT_CRC_OFF	16 /* IEEE CRC32 of the payload alone, little-endian */
#define CRYPT_CRC_LEN	4
#define CRYPT_HEAD_LEN	20 /* payload starts here */

/* aes-128-gcm has neither: nonce, ciphertext, tag (wire.md 2.6). */
#define CRYPT_GCM_NONCE 12
#define CRYPT_GCM_TAG	16

#define CRYPT_BLOCK 16 /* AES, and the largest of any cipher */
/* Every datagram's CFB starts from this IV, so E(IV) is a constant of the key (wire.md 2.3). */
#define CRYPT_IV                                                                                               \
	{                                                                                                      \
		0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01, 0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b \
	}

#define CRYPT_KDF_SALT	 "kcp-go" /* without the final NUL */
#define CRYPT_KDF_ROUNDS 4096

/* Big-endian words.  kcptun's TEA stops after 8 of TEA's own 32 cycles (wire.md 2.1). */
#define CRYPT_TEA_DELTA	  0x9e3779b9u
#define CRYPT_TEA_CYCLES  8
#define CRYPT_XTEA_CYCLES 32

#define CRYPT_SALSA_NONCE 8 /* the leading bytes of the datagram, in clear */

#define CRYPT_XOR_SALT	 "sH3CIVoF#rWLtJo6" /* without the final NUL */
#define CRYPT_XOR_ROUNDS 32
#define CRYPT_XOR_LEN	 1500

static_assert(CRYPT_CRC_OFF == CRYPT_NONCE_OFF + CRYPT_NONCE_LEN, "the CRC follows the nonce");
static_assert(CRYPT_HEAD_LEN == CRYPT_CRC_OFF + CRYPT_CRC_LEN, "the payload follows the CRC");
static_assert(CRYPT_HEAD_LEN <= CRYPT_MAX_HEAD, "callers reserve CRYPT_MAX_HEAD bytes of headroom");
static_assert(CRYPT_HEAD_LEN > CRYPT_BLOCK, "a datagram of the header family has at least two CFB blocks");
static_assert(CRYPT_GCM_NONCE <= CRYPT_MAX_HEAD && CRYPT_GCM_NONCE <= CRYPT_NONCE_LEN, "fits where nonces go");
static_assert(CRYPT_GCM_TAG <= CRYPT_MAX_TAIL, "callers reserve CRYPT_MAX_TAIL bytes behind");
