/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "pciaddr.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 1 to `digits` hexadecimal ones at *s, which moves behind them; -1 when there are none, or more. */
static int64_t number(const char **s, int digits)
{
	int64_t v = 0;
	int n = 0;

	for (; hex_digit(**s) >= 0 && n <= digits; (*s)++, n++)
		v = v * 16 + hex_digit(**s);
	return n >= 1 && n <= digits ? v : -1;
}

int pci_addr_read(const char *text, char out[PCI_ADDR_LEN])
{
	const char *s = text + (strncmp(text, "pci:", 4) == 0 ? 4 : 0);
	int64_t domain = 0, bus = number(&s, 8), dev, fn;

	if (bus < 0 || *s++ != ':')
		return -EINVAL;
	dev = number(&s, 2);
	if (dev >= 0 && *s == ':') { /* there are three numbers, and the first is the domain */
		s++;
		domain = bus;
		bus = dev;
		dev = number(&s, 2);
	}
	if (bus > 0xff)
		return -EINVAL;
	if (dev < 0 || dev > 0x1f || *s++ != '.')
		return -EINVAL;
	fn = number(&s, 1);
	if (fn < 0 || fn > 7 || (*s != '\0' && *s != ','))
		return -EINVAL;
	snprintf(out, PCI_ADDR_LEN, "%04x:%02x:%02x.%x", (unsigned)domain, (unsigned)bus, (unsigned)dev, (unsigned)fn);
	return (int)(s - text);
}
