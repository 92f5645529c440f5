/* SPDX-License-Identifier: MIT */

/* The last value that is taken beside the first that is refused. */

#include <errno.h>

#include "support.h"

#define TUNNELS                                                                                              \
	"tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\"; key = " \
	"\"k\"; } );\n"

/* ---- brackets ---- */

/* What comes of `n` brackets within each other. */
static int nested(unsigned n, char why[512])
{
	char open[64] = "", shut[64] = "", text[2048];
	struct conf *c;
	int rc;

	memset(open, '(', n - 1);
	memset(shut, ')', n - 1);
	snprintf(text, sizeof(text), "eal = { args = %s%s; };\n" PORTS TUNNELS, open, shut);
	rc = load_text(text, &c, why);
	conf_free(c);
	return rc;
}

Test(edge, brackets)
{
	char why[512];

	cr_assert_eq(nested(2, why), 0, "a list of nothing: %s", why);
	/* As many as there may be: it is the value that is refused, and not the brackets. */
	cr_assert_eq(nested(32, why), -EINVAL);
	cr_assert_null(strstr(why, "syntax error"), "%s", why);
	cr_assert_not_null(strstr(why, "eal.args"), "%s", why);
	cr_assert_eq(nested(33, why), -EINVAL);
	cr_assert_not_null(strstr(why, ":1: syntax error: more than 32 brackets within each other"), "%s", why);
}

/* Closed ones do not count: it is depth, not number. */
Test(edge, many_brackets_one_after_the_other)
{
	char text[4096] = PORTS "tunnels = (", why[512];
	struct conf *c;

	for (unsigned i = 0; i < 40; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s{ name = \"t%u\"; role = \"server\"; listen = \":%u\"; target = \"h:80\"; key = \"k\"; }",
			 i ? ", " : "", i, 4000 + i);
	strcat(text, ");\n");
	cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
	cr_assert_eq(c->n_tunnels, 40);
	conf_free(c);
}

/* ---- a gateway has to be somebody else ---- */

static int gateway(const char *addresses, const char *gw, char why[512])
{
	char text[1024];
	struct conf *c;
	int rc;

	snprintf(text, sizeof(text),
		 "ports = ( { name = \"wan0\"; device = \"0000:03:00.0\"; addresses = [ %s ]; gateway = [ %s ]; } );\n" TUNNELS,
		 addresses, gw);
	rc = load_text(text, &c, why);
	if (rc == 0)
		conf_free(c);
	return rc;
}

Test(edge, gateway_is_not_one_of_our_addresses)
{
	static const struct {
		const char *addresses, *gw;
		bool ok;
	} of[] = {
		{"\"192.0.2.7/24\"", "\"192.0.2.1\"", true},
		{"\"192.0.2.7/24\"", "\"192.0.2.7\"", false},
		/* Another address has it in its prefix: still ours. */
		{"\"192.0.2.7/24\", \"192.0.2.8/24\"", "\"192.0.2.7\"", false},
		{"\"192.0.2.7/24\", \"192.0.2.8/24\"", "\"192.0.2.8\"", false},
		{"\"192.0.2.7/32\", \"192.0.2.8/24\"", "\"192.0.2.7\"", false},
		{"\"192.0.2.7/24\", \"192.0.2.8/24\"", "\"192.0.2.9\"", true},
		{"\"2001:db8::7/64\"", "\"2001:db8::1\"", true},
		{"\"2001:db8::7/64\"", "\"2001:db8::7\"", false},
		{"\"2001:db8::7/64\", \"2001:db8::8/64\"", "\"2001:db8::7\"", false},
		/* Link-local addresses are neighbours, but for our own. */
		{"\"2001:db8::7/64\"", "\"fe80::1\"", true},
		{"\"2001:db8::7/64\", \"fe80::7/64\"", "\"fe80::7\"", false},
		{"\"2001:db8::7/64\", \"fe80::7/64\"", "\"fe80::1\"", true},
		/* The prefix's last bits. */
		{"\"192.0.2.7/30\"", "\"192.0.2.5\"", true},
		{"\"192.0.2.7/30\"", "\"192.0.2.8\"", false},
		{"\"192.0.2.7/30\"", "\"192.0.2.3\"", false},
	};
	char why[512];

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		int rc = gateway(of[i].addresses, of[i].gw, why);

		cr_expect_eq(rc, of[i].ok ? 0 : -EINVAL, "[%s] by %s: %d %s", of[i].addresses, of[i].gw, rc, why);
		if (!of[i].ok)
			cr_expect(strstr(why, "ports.wan0.gateway: found "), "%s", why);
	}
}
