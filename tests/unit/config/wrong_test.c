/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "conf.h"

/* Every file of tests/conf is refused with the message that its first line promises. */

#define EXPECT "# expect: "

static void promise(const char *path, char *out, size_t out_n)
{
	FILE *f = fopen(path, "r");
	char line[1024];

	cr_assert_not_null(f, "%s", path);
	cr_assert_not_null(fgets(line, sizeof(line), f), "%s is empty", path);
	fclose(f);
	cr_assert_eq(strncmp(line, EXPECT, strlen(EXPECT)), 0, "%s promises nothing", path);
	line[strcspn(line, "\n")] = '\0';
	cr_assert_gt(strlen(line), strlen(EXPECT) + 10, "%s promises next to nothing", path);
	snprintf(out, out_n, "%s:%s", path, line + strlen(EXPECT));
}

Test(wrong, each_file_is_refused_as_promised)
{
	glob_t g;

	cr_assert_eq(glob(TESTS_CONF "/[0-9]*.conf", 0, NULL, &g), 0);
	cr_assert_geq(g.gl_pathc, 30);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		struct conf *c = (struct conf *)&g;
		char want[2048], why[1024] = "";
		int rc = conf_load(g.gl_pathv[i], &c, why, sizeof(why));

		promise(g.gl_pathv[i], want, sizeof(want));
		cr_expect_eq(rc, -EINVAL, "%s: %d", g.gl_pathv[i], rc);
		cr_expect_null(c);
		cr_expect_str_eq(why, want);
		conf_free(c);
	}
	globfree(&g);
}

/* A caller with a short buffer, or none, gets a short message, or none, and the same verdict. */
Test(wrong, short_why)
{
	struct conf *c;
	glob_t g;

	cr_assert_eq(glob(TESTS_CONF "/[0-9]*.conf", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char why[8];

		memset(why, 'x', sizeof(why));
		cr_expect_eq(conf_load(g.gl_pathv[i], &c, why, 5), -EINVAL);
		cr_expect_eq(strlen(why), 4);
		cr_expect_eq(why[5], 'x');
		cr_expect_eq(conf_load(g.gl_pathv[i], &c, NULL, 0), -EINVAL);
	}
	globfree(&g);
}

Test(wrong, file_errors)
{
	struct conf *c;
	char why[512];

	cr_expect_eq(conf_load("/no/such/kcpgate.conf", &c, why, sizeof(why)), -ENOENT);
	cr_expect_str_eq(why, "/no/such/kcpgate.conf: No such file or directory");
	cr_expect_eq(conf_load("/", &c, why, sizeof(why)), -EISDIR);
	cr_expect_str_eq(why, "/: Is a directory");
	cr_expect_eq(conf_load("/dev/zero", &c, why, sizeof(why)), -EFBIG);
	cr_expect_str_eq(why, "/dev/zero: File too large");
	cr_expect_eq(conf_load("/dev/null", &c, why, sizeof(why)), -EINVAL);
	cr_expect_str_eq(why, "/dev/null:1: ports: found nothing; allowed: 1 to 16 ports");
	cr_expect_null(c);
}
