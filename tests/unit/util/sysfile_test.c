/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "sysfile.h"

static char path[] = "/tmp/kcpgate-sysfile-XXXXXX";
static char big[8192];

static void make(void)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
}

static void drop(void)
{
	unlink(path);
}

TestSuite(sysfile, .init = make, .fini = drop);

static void put(const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

Test(sysfile, first_line)
{
	char buf[16] = "x";

	cr_expect_not(sysfile_line("/no/such/file", buf, sizeof(buf)));
	cr_expect_str_eq(buf, "");
	put("");
	cr_expect_not(sysfile_line(path, buf, sizeof(buf)));
	put("\nmore\n");
	cr_expect(sysfile_line(path, buf, sizeof(buf)));
	cr_expect_str_eq(buf, "");
	put("one\ntwo\n");
	cr_expect(sysfile_line(path, buf, sizeof(buf)));
	cr_expect_str_eq(buf, "one");
	put("no end");
	cr_expect(sysfile_line(path, buf, sizeof(buf)));
	cr_expect_str_eq(buf, "no end");
	cr_expect(sysfile_line(path, buf, 3));
	cr_expect_str_eq(buf, "no");
	cr_expect_not(sysfile_line("/", buf, sizeof(buf)), "a folder");
}

Test(sysfile, lines)
{
	struct sysfile f;
	char buf[8];

	memset(big, 'a', 5000);
	strcpy(big + 5000, "\nb\n\nc");
	put(big);
	cr_assert(sysfile_open(&f, path));
	cr_expect(sysfile_next(&f, buf, sizeof(buf)));
	cr_expect_str_eq(buf, "aaaaaaa", "cut, and the rest of it is no line");
	cr_expect(sysfile_next(&f, buf, sizeof(buf)));
	cr_expect_str_eq(buf, "b");
	cr_expect(sysfile_next(&f, buf, sizeof(buf)));
	cr_expect_str_eq(buf, "");
	cr_expect(sysfile_next(&f, buf, sizeof(buf)));
	cr_expect_str_eq(buf, "c");
	cr_expect_not(sysfile_next(&f, buf, sizeof(buf)));
	sysfile_close(&f);
}

Test(sysfile, numbers)
{
	static const struct {
		const char *text;
		long long v;
	} good[] = {{"7\n", 7},
		    {"-1\n", -1},
		    {"0x8086\n", 0x8086},
		    {"010\n", 10},
		    {"9223372036854771712\n", 9223372036854771712},
		    {"150000 100000\n", 150000}};
	long long v;

	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		put(good[i].text);
		cr_expect(sysfile_number(path, &v), "%s", good[i].text);
		cr_expect_eq(v, good[i].v, "%s: %lld", good[i].text, v);
	}
	v = 5;
	put("max\n");
	cr_expect_not(sysfile_number(path, &v));
	cr_expect_not(sysfile_number("/no/such/file", &v));
	cr_expect_eq(v, 5);
}

Test(sysfile, fields)
{
	long long v = 5;
	char buf[16];

	put("MemTotal:        8000 kB\nMem:  1\nflags\t\t: fpu sse\nMax open files            1024   4096   "
	    "files\nEmpty:\n");
	cr_expect(sysfile_field(path, "flags", buf, sizeof(buf)));
	cr_expect_str_eq(buf, "fpu sse");
	cr_expect(sysfile_field(path, "Max open files", buf, sizeof(buf)));
	cr_expect_str_eq(buf, "1024   4096   f");
	cr_expect(sysfile_field(path, "Empty", buf, sizeof(buf)));
	cr_expect_str_eq(buf, "");
	cr_expect(sysfile_field_number(path, "MemTotal", &v));
	cr_expect_eq(v, 8000);
	cr_expect(sysfile_field_number(path, "Mem", &v), "a key, and not the beginning of one");
	cr_expect_eq(v, 1);
	cr_expect_not(sysfile_field_number(path, "Empty", &v));
	cr_expect_not(sysfile_field(path, "MemFree", buf, sizeof(buf)));
	cr_expect_str_eq(buf, "");
	cr_expect_not(sysfile_field("/no/such/file", "a", buf, sizeof(buf)));
	cr_expect_eq(v, 1);
}

Test(sysfile, says)
{
	memset(big, 'a', 5000);
	strcpy(big + 5000, "aab/vfio.ko: x\nnext");
	put(big);
	cr_expect(sysfile_says(path, "aaab/vfio.ko:"), "behind what begins like it, and far into a line");
	cr_expect(sysfile_says(path, "next"));
	cr_expect(sysfile_says(path, "a"));
	cr_expect_not(sysfile_says(path, "/uio.ko"));
	cr_expect_not(sysfile_says(path, "nexta"));
	cr_expect_not(sysfile_says("/no/such/file", "a"));
}
