/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "crypt.h"
#include "vectors.h"

Test(crypt_kdf, golden)
{
	json_t *root = vectors_load("kdf"), *v;
	size_t i;

	json_array_foreach(json_object_get(root, "vectors"), i, v)
	{
		size_t pass_len, key_len;
		uint8_t *pass = vectors_hex(v, "passphrase_hex", &pass_len);
		uint8_t *want = vectors_hex(v, "derived_key", &key_len);
		uint8_t key[CRYPT_KEY_LEN];

		cr_assert_eq(key_len, sizeof(key));
		cr_assert_eq(crypt_kdf((const char *)pass, (uint32_t)pass_len, key), 0);
		cr_assert_arr_eq(key, want, sizeof(key), "passphrase %zu", i);
		free(pass);
		free(want);
	}
	cr_assert_gt(i, 10);
	json_decref(root);
}

Test(crypt_kdf, empty_without_pointer)
{
	uint8_t a[CRYPT_KEY_LEN], b[CRYPT_KEY_LEN];

	cr_assert_eq(crypt_kdf(NULL, 0, a), 0);
	cr_assert_eq(crypt_kdf("", 0, b), 0);
	cr_assert_arr_eq(a, b, sizeof(a));
}
