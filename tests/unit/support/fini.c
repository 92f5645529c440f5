/* SPDX-License-Identifier: MIT */

/*
 * What a fixture asserts in its end counts.  Criterion 2.4 prints it and passes the test: a leak that `.fini` looks for
 * would be nobody's failure.  Linked whole into every suite, see meson.build.
 */

#include <stdio.h>

#include <criterion/criterion.h>
#include <criterion/hooks.h>

static bool ending; /* the test itself is over */
static unsigned failed, of_this_test;

ReportHook(PRE_INIT)(struct criterion_test *test)
{
	(void)test;
	ending = false;
	of_this_test = 0;
}

ReportHook(POST_TEST)(struct criterion_test_stats *stats)
{
	(void)stats;
	ending = true;
}

ReportHook(ASSERT)(struct criterion_assert_stats *stats)
{
	of_this_test += ending && !stats->passed;
}

ReportHook(POST_FINI)(struct criterion_test_stats *stats)
{
	if (!of_this_test)
		return;
	fprintf(stderr, "[FAIL] %s::%s: in its fixture's end\n", stats->test->category, stats->test->name);
	failed += !stats->failed_asserts;
	of_this_test = 0;
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	stats->tests_failed += failed;
}
