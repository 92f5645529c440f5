/* SPDX-License-Identifier: MIT */

/* libgcrypt's start and its handles. */

#include <errno.h>
#include <gcrypt.h>

#include "crypt_int.h"

/* All that it has is in the vault: key schedules, and what a key is derived by. */
static int is_kept(const void *p)
{
	(void)p;
	return 1;
}

int crypt_gcrypt_up(void)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return 0;
	if (!gcry_check_version("1.8.0"))
		return -ENOTSUP;
	gcry_set_allocation_handler(vault_get, vault_get, is_kept, vault_resize, vault_put);
	/* Its own pool of locked memory would be dumped all the same, and end the process where it is full. */
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	return 0;
}

int crypt_gcry_open(gcry_cipher_hd_t *out, int algo, int mode, const uint8_t *key, unsigned key_len)
{
	gcry_cipher_hd_t hd;
	gcry_error_t err;
	int rc = crypt_gcrypt_up();

	if (rc)
		return rc;
	err = gcry_cipher_open(&hd, algo, mode, 0);
	if (err)
		return gcry_err_code_to_errno(gcry_err_code(err)) == ENOMEM ? -ENOMEM : -ENOTSUP;
	/* With this a weak key is reported and set all the same. */
	err = gcry_cipher_ctl(hd, GCRYCTL_SET_ALLOW_WEAK_KEY, NULL, 1);
	if (!err)
		err = gcry_cipher_setkey(hd, key, key_len);
	if (err && gcry_err_code(err) != GPG_ERR_WEAK_KEY) {
		gcry_cipher_close(hd);
		return -ENOTSUP;
	}
	*out = hd;
	return 0;
}
