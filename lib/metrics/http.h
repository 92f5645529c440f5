/* SPDX-License-Identifier: MIT */
#pragma once

/* What is asked by HTTP, and what is answered: no sockets here. */

#include <stdbool.h>
#include <stddef.h>

/* An Accept field's text, or NULL: true when OpenMetrics is wanted, at least as much as Prometheus' older text. */
bool http_wants_openmetrics(const char *accept);

/*
 * A Host field's text, or NULL: true when it is an address, or "localhost".  A browser that was led here by a name of
 * somebody else's (DNS rebinding) says that name.
 */
bool http_host_is_local(const char *host);

/* Decimal digits up to max; false: something else.  text NULL: *out stays. */
bool http_number(const char *text, unsigned long long max, unsigned long long *out);
