/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "om.h"

static struct om o;

static void put(bool open)
{
	om_begin(&o, open);
	om_family(&o, OM_INFO, "build", NULL, "Info.");
	om_u64(&o, 1, "version", "1", NULL);
	om_family(&o, OM_COUNTER, "sent_bytes", "bytes", "Bytes.");
	om_u64(&o, UINT64_MAX, "tunnel", "a\\b\"c\nd", "x", "", NULL);
	om_u64(&o, 0, NULL);
	om_family(&o, OM_GAUGE, "process_x_seconds", "seconds", "Seconds.");
	om_real(&o, 0.25, NULL);
	om_family(&o, OM_SUMMARY, "rtt_seconds", "seconds", "Round trips.");
	om_real(&o, 1e-6, "quantile", "0.5", NULL);
	om_end(&o);
	cr_assert_not(o.failed);
	cr_assert_eq(strlen(o.buf), o.n);
}

Test(metrics_om, openmetrics)
{
	put(true);
	cr_expect_str_eq(o.buf, "# HELP kcpgate_build Info.\n# TYPE kcpgate_build info\n"
				"kcpgate_build_info{version=\"1\"} 1\n"
				"# HELP kcpgate_sent_bytes Bytes.\n# TYPE kcpgate_sent_bytes counter\n"
				"# UNIT kcpgate_sent_bytes bytes\n"
				"kcpgate_sent_bytes_total{tunnel=\"a\\\\b\\\"c\\nd\",x=\"\"} 18446744073709551615\n"
				"kcpgate_sent_bytes_total 0\n"
				"# HELP process_x_seconds Seconds.\n# TYPE process_x_seconds gauge\n"
				"# UNIT process_x_seconds seconds\nprocess_x_seconds 0.25\n"
				"# HELP kcpgate_rtt_seconds Round trips.\n# TYPE kcpgate_rtt_seconds summary\n"
				"# UNIT kcpgate_rtt_seconds seconds\nkcpgate_rtt_seconds{quantile=\"0.5\"} 1e-06\n"
				"# EOF\n");
	free(o.buf);
}

/* The text of before: a counter's heads have its sample's name, an info is a gauge, no units, no end. */
Test(metrics_om, text_of_before)
{
	put(false);
	cr_expect_str_eq(o.buf, "# HELP kcpgate_build_info Info.\n# TYPE kcpgate_build_info gauge\n"
				"kcpgate_build_info{version=\"1\"} 1\n"
				"# HELP kcpgate_sent_bytes_total Bytes.\n# TYPE kcpgate_sent_bytes_total counter\n"
				"kcpgate_sent_bytes_total{tunnel=\"a\\\\b\\\"c\\nd\",x=\"\"} 18446744073709551615\n"
				"kcpgate_sent_bytes_total 0\n"
				"# HELP process_x_seconds Seconds.\n# TYPE process_x_seconds gauge\n"
				"process_x_seconds 0.25\n"
				"# HELP kcpgate_rtt_seconds Round trips.\n# TYPE kcpgate_rtt_seconds summary\n"
				"kcpgate_rtt_seconds{quantile=\"0.5\"} 1e-06\n");
	free(o.buf);
}

/* Limits that are whole numbers are written as OpenMetrics wants them; a value at a limit is not above it. */
Test(metrics_om, histogram)
{
	const double limit[] = {1, 0.25, 3e-7, 0};
	const uint64_t in[] = {5, 0, 2, 1};

	om_begin(&o, true);
	om_family(&o, OM_HISTOGRAM, "x_seconds", "seconds", "Times.");
	om_histogram(&o, "worker", "0", in, limit, 4, 1.5);
	om_family(&o, OM_GAUGE, "y", NULL, "Why.");
	om_u64(&o, 1, NULL);
	cr_expect_str_eq(o.buf, "# HELP kcpgate_x_seconds Times.\n# TYPE kcpgate_x_seconds histogram\n"
				"# UNIT kcpgate_x_seconds seconds\n"
				"kcpgate_x_seconds_bucket{worker=\"0\",le=\"1.0\"} 5\n"
				"kcpgate_x_seconds_bucket{worker=\"0\",le=\"0.25\"} 5\n"
				"kcpgate_x_seconds_bucket{worker=\"0\",le=\"3e-07\"} 7\n"
				"kcpgate_x_seconds_bucket{worker=\"0\",le=\"+Inf\"} 8\n"
				"kcpgate_x_seconds_sum{worker=\"0\"} 1.5\nkcpgate_x_seconds_count{worker=\"0\"} 8\n"
				"# HELP kcpgate_y Why.\n# TYPE kcpgate_y gauge\nkcpgate_y 1\n");
	free(o.buf);
}

Test(metrics_om, grows)
{
	char *want = malloc(300000);
	size_t n = 0;

	om_begin(&o, true);
	for (unsigned i = 0; i < 40000; i++) {
		om_text(&o, "%u ", i);
		n += (size_t)sprintf(want + n, "%u ", i);
	}
	cr_assert_eq(o.n, n);
	cr_expect_arr_eq(o.buf, want, n + 1);
	free(o.buf);
	free(want);
}
