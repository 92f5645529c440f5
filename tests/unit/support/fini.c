/* SPDX-License-Identifier: MIT */

/*
 * What a fixture asserts in its end counts.  Criterion 2.4 prints it and passes the test: a leak that `.fini` looks for
 * would be nobody's failure.  Linked whole into every suite, see meson.build.
 */

#include <stdio.h>

#include <criterion/criterion.h>
#include <criterion/hooks.h>

static unsigned failed;

/* Passed, and then an assertion failed. */
ReportHook(POST_FINI)(struct criterion_test_stats *stats)
{
	if (stats->test_status != CR_STATUS_PASSED || stats->failed_asserts == 0)
		return;
	fprintf(stderr, "[FAIL] %s::%s: in its fixture's end\n", stats->test->category, stats->test->name);
	failed++;
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	stats->tests_failed += failed;
}
