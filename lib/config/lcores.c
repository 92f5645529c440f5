/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/*
 * EAL's --lcores: SET[@SET],...  with SET a number, a range "2-5" or a group "(0,4-6)".  Checked here because EAL's own
 * answer to a slip names neither file nor line, and because memory is sized by the number of workers.
 */

#define LCORE_MAX 128  /* RTE_MAX_LCORE of Debian's DPDK */
#define CPU_MAX	  1024 /* CPU_SETSIZE */

static void skip_blanks(const char **s)
{
	*s += strspn(*s, " \t");
}

static bool parse_number(const char **s, unsigned max, unsigned *v)
{
	unsigned long n;
	char *end;

	skip_blanks(s);
	if (**s < '0' || **s > '9')
		return false;
	n = strtoul(*s, &end, 10);
	*s = end;
	*v = (unsigned)n;
	skip_blanks(s);
	return n < max;
}

static bool parse_range(const char **s, unsigned max, uint8_t *set)
{
	unsigned from, to;

	if (!parse_number(s, max, &from))
		return false;
	to = from;
	if (**s == '-') {
		++*s;
		if (!parse_number(s, max, &to))
			return false;
	}
	for (unsigned i = from < to ? from : to; i <= (from < to ? to : from); i++) /* EAL takes either order */
		set[i] = 1;
	return true;
}

static bool parse_set(const char **s, unsigned max, uint8_t *set)
{
	skip_blanks(s);
	if (**s != '(')
		return parse_range(s, max, set);
	do {
		++*s;
		if (!parse_range(s, max, set))
			return false;
	} while (**s == ',');
	if (**s != ')')
		return false;
	++*s;
	skip_blanks(s);
	return true;
}

int conf_lcores_count(const char *text, unsigned *n)
{
	uint8_t lcores[LCORE_MAX] = {0}, cpus[CPU_MAX] = {0};
	const char *s = text;

	for (;;) {
		if (!parse_set(&s, LCORE_MAX, lcores))
			return -EINVAL;
		if (*s == '@') {
			s++;
			if (!parse_set(&s, CPU_MAX, cpus))
				return -EINVAL;
		}
		if (*s != ',')
			break;
		s++;
	}
	if (*s != '\0')
		return -EINVAL;
	*n = 0;
	for (unsigned i = 0; i < LCORE_MAX; i++)
		*n += lcores[i];
	return 0;
}
