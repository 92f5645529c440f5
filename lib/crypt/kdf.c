/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <gcrypt.h>
#include <string.h>

#include "crypt_int.h"

int crypt_pbkdf2(const void *pass, uint32_t len, const char *salt, unsigned rounds, uint8_t *out, uint32_t out_len)
{
	int rc = crypt_gcrypt_up();
	gcry_error_t err;

	if (rc)
		return rc;
	err = gcry_kdf_derive(len ? pass : "", len, GCRY_KDF_PBKDF2, GCRY_MD_SHA1, salt, strlen(salt), rounds, out_len,
			      out);
	if (!err)
		return 0;
	return gcry_err_code_to_errno(gcry_err_code(err)) == ENOMEM ? -ENOMEM : -ENOTSUP;
}

int crypt_kdf(const char *pass, uint32_t len, uint8_t key[CRYPT_KEY_LEN])
{
	return crypt_pbkdf2(pass, len, CRYPT_KDF_SALT, CRYPT_KDF_ROUNDS, key, CRYPT_KEY_LEN);
}

int crypt_derive(const uint8_t key[CRYPT_KEY_LEN], const char *label, uint8_t *out, uint32_t n)
{
	return crypt_pbkdf2(key, CRYPT_KEY_LEN, label, 1, out, n);
}
