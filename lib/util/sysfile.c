/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sysfile.h"

#define LINE \
	4300	/* of a file with fields: the CPUs that a process may have are the longest, TOPO_LIST_MAX and its key */
#define BIT 256 /* of a line that is looked through in bits */

bool sysfile_open(struct sysfile *f, const char *path)
{
	f->at = f->n = 0;
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	return f->fd >= 0;
}

void sysfile_close(struct sysfile *f)
{
	close(f->fd);
}

/* The next byte; -1: there is no more. */
static int next_byte(struct sysfile *f)
{
	ssize_t n;

	if (f->at == f->n) {
		do
			n = read(f->fd, f->buf, sizeof(f->buf));
		while (n < 0 && errno == EINTR);
		f->at = 0;
		f->n = n > 0 ? (size_t)n : 0;
	}
	return f->at < f->n ? (unsigned char)f->buf[f->at++] : -1;
}

bool sysfile_next(struct sysfile *f, char *line, size_t n)
{
	int c = next_byte(f);
	bool any = c >= 0;
	size_t at = 0;

	for (; c >= 0 && c != '\n'; c = next_byte(f))
		if (at + 1 < n)
			line[at++] = (char)c;
	line[at] = '\0';
	return any;
}

bool sysfile_line(const char *path, char *line, size_t n)
{
	struct sysfile f;
	bool ok;

	line[0] = '\0';
	if (!sysfile_open(&f, path))
		return false;
	ok = sysfile_next(&f, line, n);
	sysfile_close(&f);
	return ok;
}

static bool number(const char *text, long long *v)
{
	int base = strncmp(text, "0x", 2) == 0 ? 16 : 10;
	char *end;
	long long got = strtoll(text, &end, base);

	if (end == text)
		return false;
	*v = got;
	return true;
}

bool sysfile_number(const char *path, long long *v)
{
	char line[64];

	return sysfile_line(path, line, sizeof(line)) && number(line, v);
}

/* What stands behind the key, or NULL. */
static const char *behind(const char *line, const char *key)
{
	size_t n = strlen(key), gap;

	if (strncmp(line, key, n) != 0)
		return NULL;
	gap = strspn(line + n, ": \t");
	return gap || !line[n] ? line + n + gap : NULL;
}

bool sysfile_field(const char *path, const char *key, char *buf, size_t n)
{
	const char *value = NULL;
	struct sysfile f;
	char line[LINE];
	size_t len;

	buf[0] = '\0';
	if (!sysfile_open(&f, path))
		return false;
	while (!value && sysfile_next(&f, line, sizeof(line)))
		value = behind(line, key);
	sysfile_close(&f);
	if (!value)
		return false;
	len = strnlen(value, n - 1);
	memcpy(buf, value, len);
	buf[len] = '\0';
	return true;
}

bool sysfile_field_number(const char *path, const char *key, long long *v)
{
	char text[64];

	return sysfile_field(path, key, text, sizeof(text)) && number(text, v);
}

/* Lines may be of any length (modules.dep): the last bytes are kept, as many as the text has. */
bool sysfile_says(const char *path, const char *text)
{
	size_t n = strlen(text), at = 0;
	struct sysfile f;
	char last[BIT];
	int c = 0;

	if (n == 0 || n >= sizeof(last) || !sysfile_open(&f, path))
		return false;
	while ((at < n || memcmp(last, text, n) != 0) && (c = next_byte(&f)) >= 0) {
		if (at == n)
			memmove(last, last + 1, --at);
		last[at++] = (char)c;
	}
	sysfile_close(&f);
	return c >= 0;
}
