/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "crypt_int.h"

/* Of `vectors` below: AVX-512, and that with vector AES. */
#define SALSA_VECTORS 2
#define VAES_VECTORS  3

static void init_auto(IMB_MGR *mgr)
{
	init_mb_mgr_auto(mgr, NULL);
}

/* What later library versions dropped has no init and counts as not supported. */
static const struct {
	const char *name;
	void (*init)(IMB_MGR *mgr);
	uint64_t flags;
	unsigned vectors; /* highest of crypt_xor_form and crypt_tea_form to take, and what else may be had */
} arches[CRYPT_ARCH_COUNT] = {
	[CRYPT_ARCH_AUTO] = {"auto", init_auto, 0, 99},
#ifdef IMB_FLAG_AESNI_OFF
	[CRYPT_ARCH_SOFT] = {"soft", init_mb_mgr_sse, IMB_FLAG_AESNI_OFF, 0},
#else
	[CRYPT_ARCH_SOFT] = {"soft", NULL, 0, 0},
#endif
	[CRYPT_ARCH_SSE] = {"sse", init_mb_mgr_sse, 0, 0},
#if IMB_VERSION_NUM < IMB_VERSION(2, 0, 0)
	[CRYPT_ARCH_AVX] = {"avx", init_mb_mgr_avx, 0, 0},
#else
	[CRYPT_ARCH_AVX] = {"avx", NULL, 0, 0},
#endif
	[CRYPT_ARCH_AVX2] = {"avx2", init_mb_mgr_avx2, IMB_FLAG_GFNI_OFF, 1},
	[CRYPT_ARCH_AVX2_VAES] = {"avx2_vaes", init_mb_mgr_avx2, 0, 1},
	[CRYPT_ARCH_AVX512] = {"avx512", init_mb_mgr_avx512, IMB_FLAG_GFNI_OFF, 2},
	[CRYPT_ARCH_AVX512_VAES] = {"avx512_vaes", init_mb_mgr_avx512, 0, 3},
};

const char *crypt_arch_name(enum crypt_arch arch)
{
	return arches[arch].name;
}

static bool cpu_runs(enum crypt_arch arch)
{
	switch (arch) {
	case CRYPT_ARCH_AUTO:
		return __builtin_cpu_supports("sse4.2");
	case CRYPT_ARCH_SOFT:
		return __builtin_cpu_supports("sse4.2");
	case CRYPT_ARCH_SSE:
		return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("aes");
	case CRYPT_ARCH_AVX:
		return __builtin_cpu_supports("avx") && __builtin_cpu_supports("aes");
	case CRYPT_ARCH_AVX2:
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("aes");
	case CRYPT_ARCH_AVX2_VAES:
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq") &&
		       __builtin_cpu_supports("gfni") && __builtin_cpu_supports("aes");
	case CRYPT_ARCH_AVX512:
		return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
		       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("aes");
	case CRYPT_ARCH_AVX512_VAES:
		return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("vpclmulqdq") &&
		       __builtin_cpu_supports("gfni") && __builtin_cpu_supports("aes");
	default:
		return false;
	}
}

/* Our own memory, which is wiped, and never dumped or swapped. */
int crypt_mgr_create(IMB_MGR **out, enum crypt_arch arch)
{
	size_t size = (imb_get_mb_mgr_size() + 63) & ~(size_t)63;
	IMB_MGR *mgr;
	void *mem;

	if (!arches[arch].init || !cpu_runs(arch))
		return -ENOTSUP;
	mem = vault_get(size);
	if (!mem)
		return -ENOMEM;
	mgr = imb_set_pointers_mb_mgr(mem, arches[arch].flags, 1);
	if (!mgr) {
		vault_put(mem);
		return -ENOTSUP;
	}
	arches[arch].init(mgr);
	/* The library runs its own power-up self-test in init. */
	if (imb_get_errno(mgr)) {
		crypt_mgr_destroy(mgr);
		return -ENOTSUP;
	}
	*out = mgr;
	return 0;
}

void crypt_mgr_destroy(IMB_MGR *mgr)
{
	vault_put(mgr);
}

void crypt_expand_both(IMB_MGR *mgr, const uint8_t *key, uint8_t *enc, uint8_t *dec)
{
	IMB_AES_KEYEXP_256(mgr, key, enc, dec);
}

void crypt_expand(IMB_MGR *mgr, const uint8_t *key, unsigned key_len, uint8_t *enc)
{
	_Alignas(64) uint8_t dec[15 * CRYPT_BLOCK];

	switch (key_len) {
	case 16:
		IMB_AES_KEYEXP_128(mgr, key, enc, dec);
		break;
	case 24:
		IMB_AES_KEYEXP_192(mgr, key, enc, dec);
		break;
	default:
		IMB_AES_KEYEXP_256(mgr, key, enc, dec);
		break;
	}
	explicit_bzero(dec, sizeof(dec));
}

static void ecb(IMB_MGR *mgr, IMB_CIPHER_DIRECTION way, const void *keys, unsigned key_len, const uint8_t *src,
		uint8_t *dst, uint32_t len)
{
	/* IPsec-MB does ECB at once within the submit, vectorised over the blocks: nothing to collect from other lanes.
	 */
	IMB_JOB *job = IMB_GET_NEXT_JOB(mgr);

	job->cipher_mode = IMB_CIPHER_ECB;
	job->cipher_direction = way;
	job->chain_order = IMB_ORDER_CIPHER_HASH;
	job->hash_alg = IMB_AUTH_NULL;
	job->enc_keys = keys;
	job->dec_keys = keys;
	job->key_len_in_bytes = key_len;
	job->src = src;
	job->dst = dst;
	job->cipher_start_src_offset_in_bytes = 0;
	job->msg_len_to_cipher_in_bytes = len;
	job->iv = NULL;
	job->iv_len_in_bytes = 0;
	IMB_SUBMIT_JOB_NOCHECK(mgr);
	crypt_upper_clean();
}

void crypt_ecb(IMB_MGR *mgr, const void *enc, unsigned key_len, const uint8_t *src, uint8_t *dst, uint32_t len)
{
	ecb(mgr, IMB_DIR_ENCRYPT, enc, key_len, src, dst, len);
}

void crypt_ecb_back(IMB_MGR *mgr, const void *dec, const uint8_t *src, uint8_t *dst, uint32_t len)
{
	ecb(mgr, IMB_DIR_DECRYPT, dec, 32, src, dst, len);
}

int crypt_mb_create_arch(struct crypt_mb **out, const uint8_t seed[32], uint64_t now_us, unsigned worker, uint32_t pid,
			 enum crypt_arch arch)
{
	struct crypt_mb *mb;
	int rc;

	if (worker >= CRYPT_WORKERS)
		return -EINVAL;
	mb = vault_get(sizeof(*mb));
	if (!mb)
		return -ENOMEM;
	rc = crypt_mgr_create(&mb->mgr, arch);
	if (rc)
		goto err_mgr;
	for (unsigned i = 0; i <= arches[arch].vectors && crypt_xor_form(i); i++)
		mb->xor_in = crypt_xor_form(i);
	for (unsigned i = 0; i <= arches[arch].vectors && crypt_tea_form(i); i++)
		mb->tea = crypt_tea_form(i);
	if (arches[arch].vectors >= SALSA_VECTORS)
		mb->salsa = crypt_salsa_form();
	if (arches[arch].vectors >= VAES_VECTORS)
		mb->cfb = crypt_cfb_form();
	crypt_nonces_init(&mb->nonces, mb->mgr, seed, worker);
	crypt_counted_init(&mb->counted, &mb->nonces, mb->mgr, now_us, worker, pid);
	*out = mb;
	return 0;

err_mgr:
	vault_put(mb);
	return rc;
}

int crypt_mb_create(struct crypt_mb **out, const uint8_t seed[32], uint64_t now_us, unsigned worker, uint32_t pid)
{
	return crypt_mb_create_arch(out, seed, now_us, worker, pid, CRYPT_ARCH_AUTO);
}

void crypt_mb_destroy(struct crypt_mb *mb)
{
	if (!mb)
		return;
	crypt_owns_wipe(&mb->owns);
	crypt_mgr_destroy(mb->mgr);
	vault_put(mb);
}
