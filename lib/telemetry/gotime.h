/* SPDX-License-Identifier: MIT */
#pragma once

/* Go's time layouts: kcptun names the files of its snmplog by one (wire.md 9.6). */

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * Writes the time as the layout says, by the reference time Mon Jan 2 15:04:05 MST 2006: every element of Go's
 * time.Format.  tm: as localtime_r or gmtime_r fills it, tm_gmtoff and tm_zone included; ns: 0..999999999.  Returns the
 * length, or 0 when n bytes do not hold the text and its terminator (an empty layout gives 0 too).
 */
size_t gotime_format(char *buf, size_t n, const char *layout, const struct tm *tm, uint32_t ns);
