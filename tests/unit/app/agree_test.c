/* SPDX-License-Identifier: MIT */

/* What config lets through, the rooms can do; and what they can do, it lets through. */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "conf.h"
#include "crypt.h"
#include "fec.h"
#include "kcp.h"
#include "qpp.h"

static const struct conf_host nowhere = {0};
static char why[512];

/* A server of these options, or NULL. */
static struct conf *server(const char *options)
{
	static char text[6000];
	char *argv[20] = {"server"}, *save;
	struct conf *c = NULL;
	int n = 1;

	snprintf(text, sizeof(text), "%s", options);
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	conf_args(CONF_SERVER, n, argv, &nowhere, &c, why, sizeof(why));
	return c;
}

static bool takes(const char *fmt, unsigned a, unsigned b)
{
	char options[100];
	struct conf *c;

	snprintf(options, sizeof(options), fmt, a, b);
	c = server(options);
	conf_free(c);
	return c;
}

Test(agree, qpp_counts)
{
	struct qpp_pads *q = NULL;
	unsigned good = 0;

	for (unsigned n = 0; n < 70000; n += n == 300 ? 65000 : 1) {
		bool ok = qpp_count_check(n) == 0;

		cr_expect_eq(takes("--qpp --qpp-count %u", n, 0), ok, "%u", n);
		good += ok;
		if (ok && n < 300) {
			cr_expect_eq(qpp_pads_create(&q, "k", 1, n), 0, "%u", n);
			qpp_pads_destroy(q);
		}
	}
	cr_expect_gt(good, 60);
}

Test(agree, fec_groups)
{
	static const unsigned v[] = {1, 2, 10, 127, 128, 129, 254, 255, 256};
	const unsigned n = sizeof(v) / sizeof(v[0]);

	for (unsigned i = 0; i < n * n; i++) {
		struct fec_codec *f = NULL;
		bool ok = fec_codec_get(&f, v[i / n], v[i % n]) == 0;

		cr_expect_eq(takes("--ds %u --ps %u", v[i / n], v[i % n]), ok, "%u %u", v[i / n], v[i % n]);
		if (ok)
			fec_codec_put(f);
	}
}

/* Each cipher that a file may have can be made, and leaves KCP its least at the smallest mtu that goes with it. */
Test(agree, ciphers_and_mtu)
{
	static const char *const names[] = {"aes",	"aes-128", "aes-192", "aes-128-gcm", "salsa20",
					    "blowfish", "twofish", "cast5",   "3des",	     "tea",
					    "xtea",	"xor",	   "sm4",     "none",	     "null"};
	const uint8_t key[CRYPT_KEY_LEN] = {1};
	char options[100];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (unsigned fec = 0; fec < 2; fec++) {
			struct crypt *c = NULL;
			struct conf *conf;
			unsigned least = 40, over;

			cr_assert_eq(crypt_create(&c, names[i], key), 0, "%s", names[i]);
			over = crypt_head(c) + crypt_tail(c) + (fec ? FEC_HEAD : 0);
			do {
				snprintf(options, sizeof(options), "--crypt %s --ds %u --ps %u --mtu %u", names[i],
					 2 * fec, fec, ++least);
				conf = server(options);
				conf_free(conf);
			} while (!conf && least < 200);
			cr_expect_eq(least - over, KCP_MTU_MIN, "%s: %u, %s", names[i], least, why);
			crypt_destroy(c);
		}
	}
	cr_expect_not(takes("--mtu %u", KCP_MTU_MAX + 1, 0));
}

Test(agree, windows)
{
	cr_expect(takes("--sndwnd %u --rcvwnd %u", KCP_WND_MAX, KCP_WND_MAX));
	cr_expect_not(takes("--sndwnd %u --rcvwnd %u", KCP_WND_MAX + 1, KCP_WND_MAX));
	cr_expect_not(takes("--sndwnd %u --rcvwnd %u", KCP_WND_MAX, KCP_WND_MAX + 1));
}

/* The longest passphrase makes a key and pads. */
Test(agree, passphrases)
{
	static char options[CONF_KEY_MAX + 100], key[CONF_KEY_MAX + 1];
	uint8_t k[CRYPT_KEY_LEN];
	struct qpp_pads *q = NULL;
	struct conf *c;

	memset(key, 'p', CONF_KEY_MAX);
	snprintf(options, sizeof(options), "--qpp --key %s", key);
	c = server(options);
	cr_assert_not_null(c, "%s", why);
	cr_expect_eq(c->tunnels[0].key_len, CONF_KEY_MAX);
	cr_expect_eq(crypt_kdf(c->tunnels[0].key, c->tunnels[0].key_len, k), 0);
	cr_expect_eq(qpp_pads_create(&q, c->tunnels[0].key, c->tunnels[0].key_len, 61), 0);
	qpp_pads_destroy(q);
	conf_free(c);
}
