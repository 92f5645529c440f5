/* SPDX-License-Identifier: MIT */

/* What all commands' answers are made of, and their parameters read with. */

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd_int.h"

/* DPDK takes letters, digits and underscores for keys, and drops a row of another; `name` tells the true one. */
static char key_of(char c)
{
	return isalnum((unsigned char)c) ? c : '_';
}

void tlm_row(struct rte_tel_data *d, const char *name, struct rte_tel_data *row)
{
	char key[RTE_TEL_MAX_STRING_LEN];
	size_t n = 0;

	for (; name[n] && n < sizeof(key) - 1; n++)
		key[n] = key_of(name[n]);
	key[n] = '\0';
	if (row && rte_tel_data_add_dict_container(d, key, row, 0))
		rte_tel_data_free(row);
}

bool tlm_same_key(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (key_of(*a) != key_of(*b))
			return false;
	return *a == *b;
}

int tlm_sorry(struct rte_tel_data *d, const char *fmt, ...)
{
	char why[RTE_TEL_MAX_STRING_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	for (char *p = why; *p; p++) /* what somebody sent may be anything */
		if (!isprint((unsigned char)*p) || *p == '\\' || *p == '"')
			*p = '?';
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "error", why);
	return 0;
}

int tlm_tunnel(const struct tlm_src *src, const char *params, size_t n)
{
	for (unsigned t = 0; n && t < src->conf->n_tunnels; t++)
		if (strlen(src->conf->tunnels[t].name) == n && !strncmp(src->conf->tunnels[t].name, params, n))
			return (int)t;
	return -1;
}

bool tlm_number(const char **text, char end, uint64_t *out)
{
	const char *p = *text;
	uint64_t n = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	if (p == *text || (*p && *p != end))
		return false;
	*text = *p ? p + 1 : p;
	*out = n;
	return true;
}
