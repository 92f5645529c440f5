/* SPDX-License-Identifier: MIT */

/* No memory is given back with a passphrase in it: every free of the process is looked at. */

#include <malloc.h>

#include "args.h"
#include "support.h"

#define MARK "Sesam-0ffne-Dich!"

extern void __libc_free(void *p);

static volatile bool watching; /* the compiler believes that free touches nothing else */
static volatile unsigned left;

/* The program's own takes the place of libc's, in the libraries too. */
void free(void *p)
{
	if (watching && p && memmem(p, malloc_usable_size(p), MARK, strlen(MARK)))
		left++;
	__libc_free(p);
}

static void watch(void)
{
	left = 0;
	watching = true;
}

static void expect_none(const char *what)
{
	watching = false;
	cr_expect_eq(left, 0, "%s: %u pieces of memory were freed with the passphrase in them", what, left);
}

/* Loads a text, uses it up as app does, and frees it. */
static void load_and_free(const char *what, const char *text, int rc)
{
	char path[64], why[512] = "";
	struct conf *c;

	file_make(path, text, strlen(text), 0600);
	watch();
	cr_expect_eq(conf_load(path, &c, why, sizeof(why)), rc, "%s: %s", what, why);
	if (c)
		conf_wipe_keys(c);
	conf_free(c);
	expect_none(what);
	unlink(path);
}

#define TUNNEL(more)                                                                                           \
	PORTS "tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\"; " \
	      "key = \"" MARK "\"; " more " } );\n"

/* The test sees what it is to see. */
Test(freed, sees)
{
	char *volatile p = strdup(MARK);

	watch();
	free(p);
	watching = false;
	cr_assert_eq(left, 1);
}

Test(freed, file)
{
	load_and_free("a good file", TUNNEL(""), 0);
	load_and_free("one that is refused", TUNNEL("mtu = 1;"), -EINVAL);
	load_and_free("one that is no libconfig", TUNNEL("= = ;"), -EINVAL);
	load_and_free("one with a key in two parts", TUNNEL("localaddr = \"x\" \"y\";"), -EINVAL);
}

Test(freed, json)
{
	static const char *const texts[] = {
		"{\"listen\": \":4000\", \"target\": \"127.0.0.1:80\", \"key\": \"" MARK "\"}",
		"{\"key\": \"" MARK "\", \"Key\": \"" MARK "\"}",
		"{\"key\": \"" MARK "\"",
		"{\"key\": \"" MARK "\", \"mtu\": 1}",
	};
	char path[64], why[512];
	struct conf *c;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		file_make(path, texts[i], strlen(texts[i]), 0600);
		watch();
		args_try("server -c @", &args_host, &c, path, why);
		if (c)
			conf_wipe_keys(c);
		conf_free(c);
		expect_none(texts[i]);
		unlink(path);
	}
}
