/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parse.h"

/*
 * The file as libconfig 1.5 may see it.  Left alone, that library cuts an integer of more than 32 bits down silently,
 * ends a string at \x00, and exits the process when @include names a folder.  So integers are handed over with the
 * suffix L, which it reads in 64 bits, and the rest is refused here.  It also leaks a string that its grammar does not
 * want, which may be a passphrase: so strings are taken only where a value may stand.  And it copies the whole text,
 * and frees it as it is: so passphrases are not in it (secret.c).
 */

#define FILE_MAX (1u << 20)
#define NEST_MAX 32

struct scan {
	const char *p;
	char *out;
	unsigned line;
	bool secret;	     /* in the value of a passphrase */
	char last;	     /* first byte of the token before */
	char open[NEST_MAX]; /* brackets around */
	unsigned depth;
};

static void take(struct scan *s)
{
	s->line += *s->p == '\n';
	*s->out++ = *s->p++;
}

static void take_n(struct scan *s, size_t n)
{
	while (n--)
		take(s);
}

/* A passphrase, which has just been taken over to `begin`, is put away; its lines stay, for the numbers of the others.
 */
static void hide(struct conf_reader *r, struct scan *s, char *begin, unsigned line)
{
	bool more = s->last == '"';
	size_t at = conf_secret_put(r, begin + 1, (size_t)(s->out - begin) - 2, more);

	explicit_bzero(begin, (size_t)(s->out - begin));
	s->out = begin;
	if (more)
		s->out += sprintf(s->out, "\"\"");
	else
		s->out += sprintf(s->out, "\"#%zu\"", at);
	for (; line < s->line; line++)
		*s->out++ = '\n';
}

static int take_string(struct conf_reader *r, struct scan *s)
{
	unsigned line = s->line;
	char *begin = s->out;

	take(s);
	while (*s->p != '\0' && *s->p != '"') {
		if (s->p[0] == '\\' && (s->p[1] | 0x20) == 'x' && s->p[2] == '0' && s->p[3] == '0')
			return conf_fail(r, s->line, "syntax error: \\x00 would end the string");
		if (s->p[0] == '\\' && s->p[1] != '\0')
			take(s);
		take(s);
	}
	if (*s->p == '\0')
		return conf_fail(r, line, "syntax error: the string that begins here has no end");
	take(s);
	if (s->secret)
		hide(r, s, begin, line);
	return 0;
}

/* A name, or true and false. */
static void take_word(struct scan *s)
{
	static const char in_name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*0123456789_-";
	const size_t n = strspn(s->p, in_name);

	s->secret = n == strlen(CONF_SECRET_NAME) && memcmp(s->p, CONF_SECRET_NAME, n) == 0;
	take_n(s, n);
}

/* After "=", ":", an opening bracket, another string, and a comma in a list; a comma elsewhere ends a setting. */
static bool string_fits(const struct scan *s)
{
	if (s->last == ',')
		return s->depth > 0 && s->open[s->depth - 1] != '{';
	return s->last != '\0' && strchr("=:[(\"", s->last) != NULL;
}

static int take_bracket(struct conf_reader *r, struct scan *s)
{
	if (strchr("}])", *s->p))
		s->depth -= s->depth > 0;
	else if (s->depth < NEST_MAX)
		s->open[s->depth++] = *s->p;
	else
		return conf_fail(r, s->line, "syntax error: more than %d brackets within each other", NEST_MAX);
	take(s);
	return 0;
}

static int take_comment(struct conf_reader *r, struct scan *s)
{
	const char *end = strstr(s->p + 2, "*/");

	if (!end)
		return conf_fail(r, s->line, "syntax error: the comment that begins here has no end");
	take_n(s, (size_t)(end + 2 - s->p));
	return 0;
}

static int take_number(struct conf_reader *r, struct scan *s)
{
	bool hex = s->p[0] == '0' && (s->p[1] | 0x20) == 'x';
	const char *digits = s->p + (hex ? 2 : 0);
	size_t len = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789"), zeros = strspn(digits, "0");
	char next = digits[len];

	if (!hex && (next == '.' || next == 'e' || next == 'E')) {
		take_n(s, strspn(s->p, "0123456789.eE+-"));
		return 0;
	}
	if (zeros < len && len - zeros > (hex ? 15 : 18))
		return conf_fail(r, s->line, "syntax error: %.*s... has too many digits", (int)(digits - s->p) + 18,
				 s->p);
	take_n(s, (size_t)(digits - s->p) + len);
	if (next == 'L')
		take_n(s, strspn(s->p, "L"));
	else
		*s->out++ = 'L';
	return 0;
}

static int take_token(struct conf_reader *r, struct scan *s)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*";

	if (*s->p == '"')
		return string_fits(s) ? take_string(r, s)
				      : conf_fail(r, s->line,
						  "syntax error: a string where no value belongs (is the one before it "
						  "closed?)");
	if (*s->p == '@')
		return conf_fail(r, s->line,
				 "syntax error: @include is not supported: one file (keys may lie in key_file)");
	if (strchr("{}[]()", *s->p))
		return take_bracket(r, s);
	if (*s->p >= '0' && *s->p <= '9')
		return take_number(r, s);
	if (strchr(letters, *s->p))
		take_word(s);
	else
		take(s);
	return 0;
}

static int take_all(struct conf_reader *r, struct scan *s)
{
	int rc = 0;

	while (*s->p != '\0' && rc == 0) {
		char first = *s->p;

		if (strchr(" \t\n\r\f", first)) {
			take(s);
		} else if (first == '#' || (first == '/' && s->p[1] == '/')) {
			take_n(s, strcspn(s->p, "\n"));
		} else if (first == '/' && s->p[1] == '*') {
			rc = take_comment(r, s);
		} else {
			rc = take_token(r, s);
			s->last = first;
		}
	}
	*s->out = '\0';
	return rc;
}

static int file_fail(struct conf_reader *r, int err)
{
	snprintf(r->why, r->why_n, "%s: %s", r->path, strerror(err));
	return -err;
}

char *conf_file_read(struct conf_reader *r, size_t *out_n, int *rc)
{
	int fd = open(r->path, O_RDONLY | O_CLOEXEC), err = 0;
	struct stat st;
	ssize_t got = 1;
	char *buf = NULL;
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err = errno;
		goto out;
	}
	r->world_readable = S_ISREG(st.st_mode) && (st.st_mode & S_IROTH);
	buf = malloc(FILE_MAX + 1);
	if (!buf) {
		err = ENOMEM;
		goto out;
	}
	while (n <= FILE_MAX && (got = read(fd, buf + n, FILE_MAX + 1 - n)) > 0)
		n += (size_t)got;
	if (got < 0)
		err = errno;
	else if (n > FILE_MAX)
		err = EFBIG;
	else
		buf[n] = '\0';
out:
	if (fd >= 0)
		close(fd);
	*out_n = n;
	if (err == 0)
		return buf;
	if (buf)
		conf_text_free(buf, n);
	*rc = file_fail(r, err);
	return NULL;
}

int conf_text_load(struct conf_reader *r, char **text, size_t *n)
{
	struct scan s = {.line = 1};
	size_t raw_n;
	char *safe;
	int rc = 0;
	char *raw = conf_file_read(r, &raw_n, &rc);

	if (!raw)
		return rc;
	/* At worst three bytes become eleven: an empty passphrase in a list, {"",} to {"#1048575",}. */
	safe = malloc(4 * raw_n + 1);
	if (!safe || conf_secret_open(r, raw_n) < 0) {
		free(safe);
		rc = file_fail(r, ENOMEM);
		goto out;
	}
	s.p = raw;
	s.out = safe;
	rc = take_all(r, &s);
	if (rc == 0 && s.p != raw + raw_n)
		rc = conf_fail(r, s.line, "syntax error: a byte of value 0");
	if (rc < 0) {
		conf_text_free(safe, (size_t)(s.out - safe));
		goto out;
	}
	*text = safe;
	*n = (size_t)(s.out - safe);
out:
	conf_text_free(raw, raw_n);
	return rc;
}

void conf_text_free(char *text, size_t n)
{
	explicit_bzero(text, n);
	free(text);
}
