/* SPDX-License-Identifier: MIT */

/* Which form of a cipher this machine runs, in words: what crypt_mb_create chooses, for people to see. */

#include <stdio.h>
#include <string.h>

#include "crypt_int.h"

#define LIBRARY "libgcrypt"

static unsigned last_xor(void)
{
	unsigned i = 0;

	while (crypt_xor_form(i + 1))
		i++;
	return i;
}

static unsigned last_tea(void)
{
	unsigned i = 0;

	while (crypt_tea_form(i + 1))
		i++;
	return i;
}

/* IPsec-MB's choice, which it makes by itself. */
static const char *manager(void)
{
	static const char *const names[] = {
#if IMB_VERSION_NUM < IMB_VERSION(2, 0, 0)
		[IMB_ARCH_NOAESNI] = "IPsec-MB without AES instructions",
		[IMB_ARCH_AVX] = "IPsec-MB, AES-NI and AVX",
#endif
		[IMB_ARCH_SSE] = "IPsec-MB, AES-NI and SSE",
		[IMB_ARCH_AVX2] = "IPsec-MB, AES-NI and AVX2",
		[IMB_ARCH_AVX512] = "IPsec-MB, AES-NI and AVX-512",
	};
	const char *name = NULL;
	IMB_MGR *mgr;

	if (crypt_mgr_create(&mgr, CRYPT_ARCH_AUTO))
		return NULL;
	if (mgr->used_arch < sizeof(names) / sizeof(names[0]))
		name = names[mgr->used_arch];
	crypt_mgr_destroy(mgr);
	return name ? name : "IPsec-MB";
}

const char *crypt_form(const char *name)
{
	static const char *const wide[] = {"plain C", "AVX2", "AVX-512"};
	const struct crypt_line *line = crypt_line_find(name);

	if (!line)
		return NULL;
	if (line->ops == &crypt_none || line->ops == &crypt_null)
		return "nothing is encrypted";
	if (line->ops == &crypt_table)
		return wide[last_xor()];
	if (line->ops == &crypt_tea || line->ops == &crypt_xtea)
		return wide[last_tea()];
	if (line->ops == &crypt_salsa20)
		return crypt_salsa_form() ? "AVX-512" : LIBRARY;
	if (line->ops == &crypt_gcm_128)
		return manager();
	if (line->ops == &crypt_cfb_aes_256 || line->ops == &crypt_cfb_aes_192 || line->ops == &crypt_cfb_aes_128)
		return crypt_cfb_form() ? "vector AES and AVX-512" : manager();
	return LIBRARY;
}
