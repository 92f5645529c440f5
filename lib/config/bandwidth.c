/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "parse.h"

/* A path's rates as people write them: "100M", or up and down, "20M/100M". */

static const struct {
	const char *suffix;
	uint64_t bits;
} units[] = {{"G", 1000000000}, {"M", 1000000}, {"k", 1000}, {"", 1}};

#define N_UNITS (sizeof(units) / sizeof(units[0]))

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits behind the point, whole bits all of them.  0, or -EINVAL. */
static int take_fraction(const char **p, uint64_t unit, uint64_t *bits)
{
	if (!is_digit(**p))
		return -EINVAL;
	for (; is_digit(**p); (*p)++) {
		if (unit % 10 != 0)
			return -EINVAL;
		unit /= 10;
		*bits += (uint64_t)(**p - '0') * unit;
	}
	return 0;
}

/* One rate, up to `end`, which is the text's or a slash. */
static int take_rate(const char *p, const char *end, uint64_t *bits)
{
	const char *unit_at = p < end && !is_digit(end[-1]) ? end - 1 : end;
	char suffix = unit_at < end ? *unit_at : '\0';
	uint64_t unit = 0, n = 0;
	int rc = 0;

	for (unsigned i = 0; i < N_UNITS; i++)
		if (units[i].suffix[0] == suffix)
			unit = units[i].bits;
	if (unit == 0 || p == end || !is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++) {
		n = n * 10 + (uint64_t)(*p - '0');
		if (n > LIMIT_BW_MAX / unit)
			return -EINVAL;
	}
	n *= unit;
	if (*p == '.') {
		p++;
		rc = take_fraction(&p, unit, &n);
	}
	if (rc < 0 || p != unit_at || n < LIMIT_BW_MIN || n > LIMIT_BW_MAX)
		return -EINVAL;
	*bits = n;
	return 0;
}

int conf_bandwidth_put(void *field, const char *text, const char **allowed)
{
	const char *slash = strchr(text, '/'), *end = text + strlen(text);
	struct conf_bandwidth b;

	if (take_rate(text, slash ? slash : end, &b.up) < 0)
		return -EINVAL;
	b.down = b.up;
	if (slash && take_rate(slash + 1, end, &b.down) < 0)
		return -EINVAL;
	*(struct conf_bandwidth *)field = b;
	return 0;
}

/* In the largest unit that says it exactly. */
static void print_rate(char out[24], uint64_t bits)
{
	unsigned i = 0;

	while (bits % units[i].bits != 0)
		i++;
	snprintf(out, 24, "%llu%s", (unsigned long long)(bits / units[i].bits), units[i].suffix);
}

const char *conf_bandwidth_text(const struct conf_bandwidth *b, char buf[CONF_BANDWIDTH_MAX])
{
	char up[24], down[24];

	print_rate(up, b->up);
	print_rate(down, b->down);
	if (b->up == b->down)
		snprintf(buf, CONF_BANDWIDTH_MAX, "%s", up);
	else
		snprintf(buf, CONF_BANDWIDTH_MAX, "%s/%s", up, down);
	return buf;
}

char *conf_bandwidth_get(const void *field)
{
	char buf[CONF_BANDWIDTH_MAX];

	return strdup(conf_bandwidth_text(field, buf));
}

/* ---- in payload ---- */

#define ETH_HEAD      14
#define FAKE_TCP_MORE 12 /* our datagrams' head of 20 instead of UDP's 8 */

unsigned conf_ip_head(const struct conf_tunnel *t)
{
	const struct conf_hostport *udp = t->role == CONF_SERVER ? &t->listen : &t->remote;
	struct addr a;

	if (addr_parse(udp->host, &a) < 0 || (addr_is_any(&a) && !addr_is_v4(&a)))
		return 0;
	return addr_is_v4(&a) ? 28 : 48;
}

uint64_t conf_bandwidth_sent(const struct conf_tunnel *t)
{
	uint64_t bits = t->role == CONF_SERVER ? t->bandwidth.down : t->bandwidth.up;
	unsigned ip = conf_ip_head(t), head = ETH_HEAD + (ip ? ip : 48) + (t->tcp ? FAKE_TCP_MORE : 0);

	return bits / 8 * t->mtu / (t->mtu + head);
}
