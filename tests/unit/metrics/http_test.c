/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "http.h"

/* What Prometheus says, by its versions, and what browsers and curl say. */
Test(metrics_http, accept)
{
	static const struct {
		const char *accept;
		bool open;
	} v[] = {
		{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
		 "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		 true},
		{"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true},
		{"APPLICATION/OpenMetrics-Text", true},
		{"text/plain;q=0.5 , application/openmetrics-text ;version=1.0.0 ; q=0.5", true},
		{"text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.9", false},
		{"application/openmetrics-text;version=2.0.0", false},
		{"application/openmetrics-text;q=0", false},
		{"application/openmetrics-textual", false},
		{"*/*", false},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
		{",,;;q=,", false},
		{"", false},
		{NULL, false},
	};

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		cr_expect_eq(http_wants_openmetrics(v[i].accept), v[i].open, "%s", v[i].accept);
}

Test(metrics_http, host)
{
	static const char *const ours[] = {"127.0.0.1:9911", "127.0.0.1", "localhost:9911", "LOCALHOST",
					   "[::1]:9911",     "[::1]",	  "192.0.2.7:80"};
	static const char *const others[] = {
		"evil.example:9911",
		"localhost.evil.example",
		"127.0.0.1.evil.example",
		"[::1",
		"[::1]x",
		"",
		":9911",
		"metrics",
		"1111111111111111111111111111111111111111111111111111111111111111111111111111"};

	cr_expect(http_host_is_local(NULL));
	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		cr_expect(http_host_is_local(ours[i]), "%s", ours[i]);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_expect_not(http_host_is_local(others[i]), "%s", others[i]);
}

Test(metrics_http, numbers)
{
	static const char *const wrong[] = {"", "-1", " 1", "1 ", "0x1", "8", "18446744073709551616", "1e3"};
	unsigned long long n = 5;

	cr_expect(http_number(NULL, 7, &n));
	cr_expect_eq(n, 5);
	cr_expect(http_number("7", 7, &n));
	cr_expect_eq(n, 7);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_expect_not(http_number(wrong[i], 7, &n), "%s", wrong[i]);
}
