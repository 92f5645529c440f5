/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/*
 * What libconfig must not see, for it copies all text, and frees it as it is: passphrases.  In the text that it is
 * given each is replaced by its place in a buffer of ours, "#17".  Escapes are read as libconfig reads them.
 */

int conf_secret_open(struct conf_reader *r, size_t bytes)
{
	r->secrets = malloc(bytes + 1);
	r->secrets_size = bytes + 1;
	r->secrets_n = 0;
	return r->secrets ? 0 : -1;
}

void conf_secret_close(struct conf_reader *r)
{
	if (r->secrets)
		explicit_bzero(r->secrets, r->secrets_size);
	free(r->secrets);
	r->secrets = NULL;
}

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* One character of a string: its bytes in the file; *c is what it means. */
static size_t one(const char *p, char *c)
{
	static const char from[] = "\"\\fnrt", to[] = "\"\\\f\n\r\t";
	const char *at;

	*c = p[0];
	if (p[0] != '\\')
		return 1;
	at = p[1] ? strchr(from, p[1]) : NULL;
	if (at) {
		*c = to[at - from];
		return 2;
	}
	if ((p[1] | 0x20) != 'x' || hex(p[2]) < 0 || hex(p[3]) < 0)
		return 1;
	*c = (char)(hex(p[2]) << 4 | hex(p[3]));
	return 4;
}

size_t conf_secret_put(struct conf_reader *r, const char *p, size_t n, bool more)
{
	const char *end = p + n;
	size_t at;

	if (more)
		r->secrets_n--; /* the end of the string that this one goes on */
	at = r->secrets_n;
	while (p < end)
		p += one(p, &r->secrets[r->secrets_n++]);
	r->secrets[r->secrets_n++] = '\0';
	return at;
}

const char *conf_secret_get(const struct conf_reader *r, const char *text)
{
	return text[0] == '#' ? r->secrets + strtoul(text + 1, NULL, 10) : text;
}
