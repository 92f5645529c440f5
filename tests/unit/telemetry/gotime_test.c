/* SPDX-License-Identifier: MIT */

/* Layouts against what Go's documentation says of them (package time: constants, Format, and its examples). */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "gotime.h"

struct want {
	const char *layout, *text;
};

/* Wed Feb 25 11:06:39.1234 PST 2015, the time of Go's example of Format. */
static struct tm feb25(void)
{
	return (struct tm){.tm_year = 115,
			   .tm_mon = 1,
			   .tm_mday = 25,
			   .tm_wday = 3,
			   .tm_yday = 55,
			   .tm_hour = 11,
			   .tm_min = 6,
			   .tm_sec = 39,
			   .tm_gmtoff = -8 * 3600,
			   .tm_zone = "PST"};
}

static void check(const struct want *v, size_t n, const struct tm *tm, uint32_t ns)
{
	char buf[200];

	for (size_t i = 0; i < n; i++) {
		cr_expect_eq(gotime_format(buf, sizeof(buf), v[i].layout, tm, ns), strlen(v[i].text), "%s",
			     v[i].layout);
		cr_expect_str_eq(buf, v[i].text, "%s: %s, not %s", v[i].layout, buf, v[i].text);
	}
}

#define CHECK(v, tm, ns) check(v, sizeof(v) / sizeof((v)[0]), tm, ns)

Test(gotime, documented_constants)
{
	static const struct want v[] = {
		{"01/02 03:04:05PM '06 -0700", "02/25 11:06:39AM '15 -0800"},
		{"Mon Jan _2 15:04:05 2006", "Wed Feb 25 11:06:39 2015"},
		{"Mon Jan _2 15:04:05 MST 2006", "Wed Feb 25 11:06:39 PST 2015"},
		{"Mon Jan 02 15:04:05 -0700 2006", "Wed Feb 25 11:06:39 -0800 2015"},
		{"02 Jan 06 15:04 MST", "25 Feb 15 11:06 PST"},
		{"02 Jan 06 15:04 -0700", "25 Feb 15 11:06 -0800"},
		{"Monday, 02-Jan-06 15:04:05 MST", "Wednesday, 25-Feb-15 11:06:39 PST"},
		{"Mon, 02 Jan 2006 15:04:05 MST", "Wed, 25 Feb 2015 11:06:39 PST"},
		{"Mon, 02 Jan 2006 15:04:05 -0700", "Wed, 25 Feb 2015 11:06:39 -0800"},
		{"2006-01-02T15:04:05Z07:00", "2015-02-25T11:06:39-08:00"},
		{"2006-01-02T15:04:05.999999999Z07:00", "2015-02-25T11:06:39.1234-08:00"},
		{"3:04PM", "11:06AM"},
		{"Jan _2 15:04:05", "Feb 25 11:06:39"},
		{"Jan _2 15:04:05.000", "Feb 25 11:06:39.123"},
		{"Jan _2 15:04:05.000000", "Feb 25 11:06:39.123400"},
		{"Jan _2 15:04:05.000000000", "Feb 25 11:06:39.123400000"},
		{"2006-01-02 15:04:05", "2015-02-25 11:06:39"},
		{"2006-01-02", "2015-02-25"},
		{"15:04:05", "11:06:39"},
	};
	struct tm tm = feb25();

	CHECK(v, &tm, 123400000);
}

Test(gotime, documented_examples_of_format)
{
	static const struct want v[] = {
		{"Mon Jan 2 15:04:05 MST 2006", "Wed Feb 25 11:06:39 PST 2015"},
		{"Mon Jan 2 15:04:05 -0700 MST 2006", "Wed Feb 25 11:06:39 -0800 PST 2015"},
		{"Mon Jan 2 15:04:05 2006 MST -07:00:00", "Wed Feb 25 11:06:39 2015 PST -08:00:00"},
		{"15:04:05.00", "11:06:39.12"},
		{"15:04:05.999", "11:06:39.123"},
		{"15:04:05.99999", "11:06:39.1234"},
		{"05,000 05,999999", "39,123 39,1234"},
	};
	/* Tue Mar 7 11:06:39 PST 2015 in the example: days of one digit */
	static const struct want march[] = {
		{"<3:04PM>", "<11:06AM>"},    {"<Jan 2>", "<Mar 7>"}, {"<_2>", "< 7>"},	  {"<02>", "<07>"},
		{"<2006-1-2>", "<2015-3-7>"}, {"<__2>", "< 66>"},     {"<002>", "<066>"},
	};
	struct tm tm = feb25();

	CHECK(v, &tm, 123400000);
	tm.tm_mon = 2;
	tm.tm_mday = 7;
	tm.tm_yday = 65;
	CHECK(march, &tm, 0);
}

Test(gotime, hours)
{
	static const struct {
		int hour;
		const char *text;
	} v[] = {{0, "00 12 12 AM am"},	 {1, "01 1 01 AM am"},	{11, "11 11 11 AM am"},
		 {12, "12 12 12 PM pm"}, {13, "13 1 01 PM pm"}, {23, "23 11 11 PM pm"}};
	struct tm tm = feb25();

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct want w = {"15 3 03 PM pm", v[i].text};

		tm.tm_hour = v[i].hour;
		check(&w, 1, &tm, 0);
	}
}

Test(gotime, offsets)
{
	static const struct want utc[] = {{"-0700 -07:00 -07 -070000 -07:00:00", "+0000 +00:00 +00 +000000 +00:00:00"},
					  {"Z0700 Z07:00 Z07 Z070000 Z07:00:00", "Z Z Z Z Z"},
					  {"MST", "UTC"}};
	static const struct want east[] = {{"-0700 -07:00 -07 -070000 -07:00:00", "+0545 +05:45 +05 +054500 +05:45:00"},
					   {"Z0700 Z07:00 Z07 Z070000 Z07:00:00", "+0545 +05:45 +05 +054500 +05:45:00"},
					   {"MST", "+0545"}};
	static const struct want odd[] = {{"-0700 -07:00:00 Z070000", "-0025 -00:25:21 -002521"}};
	struct tm tm = feb25();

	tm.tm_gmtoff = 0;
	tm.tm_zone = "UTC";
	CHECK(utc, &tm, 0);
	tm.tm_gmtoff = 5 * 3600 + 45 * 60;
	tm.tm_zone = "";
	CHECK(east, &tm, 0);
	tm.tm_gmtoff = -(25 * 60 + 21); /* Dublin before 1916 */
	CHECK(odd, &tm, 0);
}

Test(gotime, fractions)
{
	static const struct want none[] = {
		{"5.000", "39.000"}, {"5.999", "39"}, {"5.0", "39.0"}, {"5.9", "39"}, {"5,9", "39"}};
	static const struct want some[] = {
		{".0 .00 .000000", ".0 .05 .050600"},
		{".9 .99 .999999", " .05 .0506"},
		/* Digits behind the run, or none at all: not a fraction. */
		{".01", ".02"},
		{".", "."},
		{".x", ".x"},
		{".8", ".8"},
	};
	struct tm tm = feb25();

	CHECK(none, &tm, 0);
	CHECK(some, &tm, 50600000);
}

/* Where an element ends, and what is none. */
Test(gotime, edges)
{
	static const struct want v[] = {
		{"Month", "Month"},
		{"Mon", "Wed"},
		{"MonX", "WedX"},
		{"Mond", "Mond"},
		{"Mondays", "Wednesdays"},
		{"Monday", "Wednesday"},
		{"Jane", "Jane"},
		{"January", "February"},
		{"Januaryx", "Februaryx"},
		{"_2006", "_2015"},
		{"_20", "250"},
		{"_", "_"},
		{"__", "__"},
		{"__2", " 56"},
		{"07", "07"},
		{"0", "0"},
		{"00", "00"},
		{"20060102", "20150225"},
		{"150405", "110639"},
		{"1504", "1106"},
		{"-", "-"},
		{"-7", "-7"},
		{"Z", "Z"},
		{"ZZ", "ZZ"},
		{"P", "P"},
		{"p", "p"},
		{"PM pm", "AM am"},
		{"pM", "pM"},
		{"MS", "MS"},
		{"%Y%m%d %s %n", "%Y%m%d %s %n"},
		{"", ""},
		{"6789", "6789"},
		{"snmp-20060102.log", "snmp-20150225.log"},
		{"kcp.2006.csv", "kcp.2015.csv"},
		{"14", "26"},
	};
	struct tm tm = feb25();

	CHECK(v, &tm, 0);
}

Test(gotime, years)
{
	static const struct {
		int year;
		const char *text;
	} v[] = {{1970, "1970 70"}, {2000, "2000 00"}, {2106, "2106 06"}, {9999, "9999 99"}, {10000, "10000 00"}};
	struct tm tm = feb25();

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct want w = {"2006 06", v[i].text};

		tm.tm_year = v[i].year - 1900;
		check(&w, 1, &tm, 0);
	}
}

Test(gotime, room)
{
	struct tm tm = feb25();
	char buf[16];

	for (size_t n = 0; n <= 10; n++)
		cr_assert_eq(gotime_format(buf, n, "2006-01-02", &tm, 0), 0, "%zu", n);
	cr_assert_eq(gotime_format(buf, 11, "2006-01-02", &tm, 0), 10);
	cr_assert_str_eq(buf, "2015-02-25");
}
