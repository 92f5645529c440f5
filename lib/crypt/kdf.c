/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <gcrypt.h>

#include "crypt_int.h"

int crypt_kdf(const char *pass, uint32_t len, uint8_t key[CRYPT_KEY_LEN])
{
	static const char salt[] = CRYPT_KDF_SALT;
	int rc = crypt_gcrypt_up();
	gcry_error_t err;

	if (rc)
		return rc;
	err = gcry_kdf_derive(len ? pass : "", len, GCRY_KDF_PBKDF2, GCRY_MD_SHA1, salt, sizeof(salt) - 1,
			      CRYPT_KDF_ROUNDS, CRYPT_KEY_LEN, key);
	if (!err)
		return 0;
	return gcry_err_code_to_errno(gcry_err_code(err)) == ENOMEM ? -ENOMEM : -ENOTSUP;
}
