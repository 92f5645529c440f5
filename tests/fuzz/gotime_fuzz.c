/* SPDX-License-Identifier: MIT */

/*
 * Go's time layouts, any text, at any time, into any room: what is told as the length is the text's, and a text that
 * fits does not depend on the room that is left.
 *
 *	time(4) zone(2) room(1) layout
 */

#include <time.h>

#include "fuzz.h"
#include "gotime.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	time_t at = (time_t)fuzz_u32(&in) * 16;
	int zone = (int16_t)fuzz_u16(&in);
	size_t room = 1u + fuzz_u8(&in), len, most;
	char *layout = malloc(in.n + 1), *tight = malloc(room), big[65536];
	struct tm tm;

	if (in.n)
		memcpy(layout, in.p, in.n);
	layout[in.n] = '\0';
	gmtime_r(&at, &tm);
	tm.tm_gmtoff = zone;
	tm.tm_zone = zone & 1 ? "CEST" : "";
	most = gotime_format(big, sizeof(big), layout, &tm, (uint32_t)at % 1000000000);
	fuzz_must(most == 0 || strlen(big) == most);
	len = gotime_format(tight, room, layout, &tm, (uint32_t)at % 1000000000);
	fuzz_must(len < room && (len == 0 || (len == most && strcmp(tight, big) == 0)));
	fuzz_must(len || most == 0 || most >= room, "%zu bytes do not fit in %zu", most, room);
	free(tight);
	free(layout);
	return 0;
}
