/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/*
 * EAL's --lcores: SET[@SET],...  with SET a number, a range "2-5" or a group "(0,4-6)".  Checked here because EAL's own
 * answer to a slip names neither file nor line, and because memory is sized by the number of workers.
 */

#define LCORE_MAX LIMIT_LCORES
#define CPU_MAX	  CONF_CPUS_MAX /* CPU_SETSIZE */

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

/* One "SET[@SET]" of the list: the lcores that it names, and the CPUs that they share. */
struct item {
	uint8_t lcores[LCORE_MAX];
	uint8_t cpus[CPU_MAX];
	bool alone; /* "2-5": each lcore has the CPU of its own number */
};

static bool parse_item(const char **s, struct item *it)
{
	memset(it, 0, sizeof(*it));
	skip_blanks(s);
	it->alone = **s != '(';
	if (!parse_set(s, LCORE_MAX, it->lcores))
		return false;
	if (**s != '@') {
		memcpy(it->cpus, it->lcores, LCORE_MAX);
		return true;
	}
	++*s;
	it->alone = false;
	return parse_set(s, CPU_MAX, it->cpus);
}

/* The node that all CPUs of an item lie on, or -1. */
static int8_t node_of(const struct item *it, const int8_t *cpu_node)
{
	int8_t node = -1;

	for (unsigned i = 0; i < CPU_MAX; i++) {
		if (!it->cpus[i])
			continue;
		if (node != -1 && node != cpu_node[i])
			return -1;
		node = cpu_node[i];
	}
	return node;
}

int conf_lcores(const char *text, const int8_t cpu_node[CPU_MAX], struct conf_lcore *v, unsigned max, unsigned *n)
{
	uint8_t named[LCORE_MAX] = {0};
	int8_t node[LCORE_MAX] = {0};
	const char *s = text;
	struct item it;

	for (;;) {
		if (!parse_item(&s, &it))
			return -EINVAL;
		for (unsigned i = 0; i < LCORE_MAX; i++) {
			if (!it.lcores[i])
				continue;
			named[i] = 1;
			if (cpu_node)
				node[i] = it.alone ? cpu_node[i] : node_of(&it, cpu_node);
		}
		if (*s != ',')
			break;
		s++;
	}
	if (*s != '\0')
		return -EINVAL;
	*n = 0;
	for (unsigned i = 0; i < LCORE_MAX; i++) {
		if (!named[i])
			continue;
		if (*n < max)
			v[*n] = (struct conf_lcore){.id = i, .node = node[i]};
		++*n;
	}
	return 0;
}

/* What an item says of the lcore: all its CPUs, or the one of the lcore's own number. */
static void item_cpus(const struct item *it, unsigned id, uint8_t *cpus)
{
	memset(cpus, 0, CPU_MAX);
	if (it->alone)
		cpus[id] = 1;
	else
		memcpy(cpus, it->cpus, CPU_MAX);
}

int conf_lcore_cpus(const char *text, unsigned id, uint8_t cpus[CPU_MAX])
{
	const char *s = text;
	int ret = -ENOENT;
	struct item it;

	for (;; s++) {
		if (!parse_item(&s, &it))
			return -EINVAL;
		if (id < LCORE_MAX && it.lcores[id]) {
			item_cpus(&it, id, cpus);
			ret = 0;
		}
		if (*s != ',')
			break;
	}
	return *s == '\0' ? ret : -EINVAL;
}

int conf_lcores_count(const char *text, unsigned *n)
{
	return conf_lcores(text, NULL, NULL, 0, n);
}
