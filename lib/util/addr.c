/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "addr.h"

const char *addr_str(const struct addr *a, char buf[ADDR_STRLEN])
{
	bool v4 = addr_is_v4(a);

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->b + 12 : a->b, buf, ADDR_STRLEN))
		buf[0] = '\0';
	return buf;
}

const char *addr_port_str(const struct addr *a, uint16_t port, char buf[ADDR_STRLEN])
{
	char text[ADDR_STRLEN];

	addr_str(a, text);
	snprintf(buf, ADDR_STRLEN, addr_is_v4(a) ? "%.45s:%u" : "[%.45s]:%u", text, port);
	return buf;
}

int addr_parse(const char *s, struct addr *out)
{
	struct addr a = addr_v4(0);

	if (inet_pton(AF_INET, s, a.b + 12) != 1 && inet_pton(AF_INET6, s, a.b) != 1)
		return -EINVAL;
	*out = a;
	return 0;
}

int addr_parse_zone(const char *s, struct addr *out, const char **zone)
{
	const char *percent = strchr(s, '%');
	char text[ADDR_STRLEN];
	struct addr a;
	size_t n;

	*zone = NULL;
	if (!percent)
		return addr_parse(s, out);
	n = strlen(percent + 1);
	if (percent - s >= ADDR_STRLEN || n < 1 || n > 15 || strcspn(percent + 1, "/:% \t\r\n") != n)
		return -EINVAL;
	snprintf(text, sizeof(text), "%.*s", (int)(percent - s), s);
	if (addr_parse(text, &a) || !addr_needs_zone(&a))
		return -EINVAL;
	*out = a;
	*zone = percent + 1;
	return 0;
}
