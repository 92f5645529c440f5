/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gotime.h"

enum elem {
	LONG_MONTH,
	MONTH,
	LONG_WEEKDAY,
	WEEKDAY,
	ZONE_NAME,
	MONTH_2,
	DAY_2,
	HOUR12_2,
	MINUTE_2,
	SECOND_2,
	YEAR_2,
	YEARDAY_3,
	HOUR_2,
	MONTH_N,
	YEAR_4,
	DAY_N,
	DAY_SPACE,
	YEARDAY_SPACE,
	HOUR12_N,
	MINUTE_N,
	SECOND_N,
	PM_UPPER,
	PM_LOWER,
	OFFSET, /* 'Z' or a sign first, how much follows is in the text */
	FRACTION,
	LITERAL,
};

/* A longer text stands before those that it begins with. */
static const struct {
	const char *text;
	enum elem elem;
	bool word; /* no small letter may follow: "Monk" is no Monday */
} elems[] = {
	{"January", LONG_MONTH, false},	 {"Jan", MONTH, true},
	{"Monday", LONG_WEEKDAY, false}, {"Mon", WEEKDAY, true},
	{"MST", ZONE_NAME, false},	 {"002", YEARDAY_3, false},
	{"01", MONTH_2, false},		 {"02", DAY_2, false},
	{"03", HOUR12_2, false},	 {"04", MINUTE_2, false},
	{"05", SECOND_2, false},	 {"06", YEAR_2, false},
	{"15", HOUR_2, false},		 {"1", MONTH_N, false},
	{"2006", YEAR_4, false},	 {"2", DAY_N, false},
	{"__2", YEARDAY_SPACE, false},	 {"_2", DAY_SPACE, false},
	{"3", HOUR12_N, false},		 {"4", MINUTE_N, false},
	{"5", SECOND_N, false},		 {"PM", PM_UPPER, false},
	{"pm", PM_LOWER, false},	 {"-070000", OFFSET, false},
	{"-07:00:00", OFFSET, false},	 {"-0700", OFFSET, false},
	{"-07:00", OFFSET, false},	 {"-07", OFFSET, false},
	{"Z070000", OFFSET, false},	 {"Z07:00:00", OFFSET, false},
	{"Z0700", OFFSET, false},	 {"Z07:00", OFFSET, false},
	{"Z07", OFFSET, false},
};

static const char *const months[] = {"January", "February", "March",	 "April",   "May",	"June",
				     "July",	"August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "." or "," and a run of equal digits, 0 or 9, which no other digit follows; its length, or 0. */
static size_t fraction(const char *s)
{
	size_t n = 1;

	if ((s[0] != '.' && s[0] != ',') || (s[1] != '0' && s[1] != '9'))
		return 0;
	while (s[n] == s[1])
		n++;
	return digit(s[n]) ? 0 : n;
}

/* The element that s begins with, and its length. */
static enum elem next(const char *s, size_t *len)
{
	*len = fraction(s);
	if (*len)
		return FRACTION;
	*len = 1;
	if (strncmp(s, "_2006", 5) == 0)
		return LITERAL; /* the year behind a literal '_' */
	for (size_t i = 0; i < sizeof(elems) / sizeof(elems[0]); i++) {
		size_t n = strlen(elems[i].text);

		if (strncmp(s, elems[i].text, n) || (elems[i].word && s[n] >= 'a' && s[n] <= 'z'))
			continue;
		*len = n;
		return elems[i].elem;
	}
	return LITERAL;
}

/* "-07:00:00" and its kin, s of length n. */
static int offset(char *out, size_t room, const char *s, size_t n, long east)
{
	bool colons = n > 3 && s[3] == ':';
	unsigned long v = (unsigned long)labs(east);
	const char *sep = colons ? ":" : "";
	char sign = east < 0 ? '-' : '+';

	if (s[0] == 'Z' && east == 0)
		return snprintf(out, room, "Z");
	if (n == 3)
		return snprintf(out, room, "%c%02lu", sign, v / 3600);
	if (n <= 6)
		return snprintf(out, room, "%c%02lu%s%02lu", sign, v / 3600, sep, v / 60 % 60);
	return snprintf(out, room, "%c%02lu%s%02lu%s%02lu", sign, v / 3600, sep, v / 60 % 60, sep, v % 60);
}

/* Of zeros as many digits as there are, of nines without the zeros at the end, and nothing when none is left. */
static int fraction_put(char *out, size_t room, const char *s, size_t n, uint32_t ns)
{
	char text[10];
	size_t digits = n - 1 < 9 ? n - 1 : 9;

	snprintf(text, sizeof(text), "%09u", ns % 1000000000u);
	if (s[1] == '9')
		while (digits && text[digits - 1] == '0')
			digits--;
	return digits ? snprintf(out, room, "%c%.*s", s[0], (int)digits, text) : 0;
}

/* A time zone without a name is shown by its offset. */
static int zone_put(char *out, size_t room, const struct tm *tm)
{
	if (tm->tm_zone && tm->tm_zone[0])
		return snprintf(out, room, "%s", tm->tm_zone);
	return offset(out, room, "-0700", 5, tm->tm_gmtoff);
}

static int put_date(char *out, size_t room, enum elem e, const struct tm *tm)
{
	int year = tm->tm_year + 1900;

	switch (e) {
	case LONG_MONTH:
		return snprintf(out, room, "%s", months[tm->tm_mon % 12]);
	case MONTH:
		return snprintf(out, room, "%.3s", months[tm->tm_mon % 12]);
	case LONG_WEEKDAY:
		return snprintf(out, room, "%s", days[tm->tm_wday % 7]);
	case WEEKDAY:
		return snprintf(out, room, "%.3s", days[tm->tm_wday % 7]);
	case MONTH_2:
		return snprintf(out, room, "%02d", tm->tm_mon + 1);
	case MONTH_N:
		return snprintf(out, room, "%d", tm->tm_mon + 1);
	case DAY_2:
		return snprintf(out, room, "%02d", tm->tm_mday);
	case DAY_N:
		return snprintf(out, room, "%d", tm->tm_mday);
	case DAY_SPACE:
		return snprintf(out, room, "%2d", tm->tm_mday);
	case YEARDAY_3:
		return snprintf(out, room, "%03d", tm->tm_yday + 1);
	case YEARDAY_SPACE:
		return snprintf(out, room, "%3d", tm->tm_yday + 1);
	case YEAR_2:
		return snprintf(out, room, "%02d", year < 0 ? 0 : year % 100);
	case YEAR_4:
		return snprintf(out, room, "%04d", year);
	default:
		return -1;
	}
}

static int put_time(char *out, size_t room, enum elem e, const struct tm *tm)
{
	int hour12 = tm->tm_hour % 12 ? tm->tm_hour % 12 : 12;
	bool pm = tm->tm_hour >= 12;

	switch (e) {
	case HOUR_2:
		return snprintf(out, room, "%02d", tm->tm_hour);
	case HOUR12_2:
		return snprintf(out, room, "%02d", hour12);
	case HOUR12_N:
		return snprintf(out, room, "%d", hour12);
	case MINUTE_2:
		return snprintf(out, room, "%02d", tm->tm_min);
	case MINUTE_N:
		return snprintf(out, room, "%d", tm->tm_min);
	case SECOND_2:
		return snprintf(out, room, "%02d", tm->tm_sec);
	case SECOND_N:
		return snprintf(out, room, "%d", tm->tm_sec);
	case PM_UPPER:
		return snprintf(out, room, "%s", pm ? "PM" : "AM");
	case PM_LOWER:
		return snprintf(out, room, "%s", pm ? "pm" : "am");
	default:
		return put_date(out, room, e, tm);
	}
}

static int put(char *out, size_t room, enum elem e, const char *s, size_t n, const struct tm *tm, uint32_t ns)
{
	switch (e) {
	case LITERAL:
		return snprintf(out, room, "%c", *s);
	case FRACTION:
		return fraction_put(out, room, s, n, ns);
	case OFFSET:
		return offset(out, room, s, n, tm->tm_gmtoff);
	case ZONE_NAME:
		return zone_put(out, room, tm);
	default:
		return put_time(out, room, e, tm);
	}
}

size_t gotime_format(char *buf, size_t n, const char *layout, const struct tm *tm, uint32_t ns)
{
	size_t at = 0, len;

	if (n == 0)
		return 0;
	buf[0] = '\0';
	for (; *layout; layout += len) {
		enum elem e = next(layout, &len);
		int put_n = put(buf + at, n - at, e, layout, len, tm, ns);

		if (put_n < 0 || (size_t)put_n >= n - at)
			return 0;
		at += (size_t)put_n;
	}
	return at;
}
