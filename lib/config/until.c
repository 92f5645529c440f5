/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "parse.h"

/* A time of day, UTC: "2026-12-31", "2026-12-31 18:30" or with seconds. */

int conf_until_put(void *field, const char *text, const char **allowed)
{
	static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"};
	int64_t *until = field;

	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = {0}, day;
		const char *end = strptime(text, forms[i], &tm);

		if (!end || *end != '\0')
			continue;
		day = tm;
		*until = timegm(&tm);
		/* The 31st of February is not the 3rd of March. */
		return *until > 0 && tm.tm_mday == day.tm_mday && tm.tm_mon == day.tm_mon ? 0 : -EINVAL;
	}
	return -EINVAL;
}

char *conf_until_get(const void *field)
{
	const int64_t *until = field;
	char text[32] = "";
	time_t t = *until;
	struct tm tm;

	if (t && gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	return strdup(text);
}
