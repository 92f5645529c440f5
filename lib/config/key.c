/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parse.h"

/* A relative path starts at the configuration file's folder: a daemon's working directory is anybody's guess. */
static int key_path(const struct conf_reader *r, const char *name, char out[PATH_MAX])
{
	const char *slash = strrchr(r->path, '/');
	int folder = name[0] == '/' || !slash ? 0 : (int)(slash + 1 - r->path);

	return snprintf(out, PATH_MAX, "%.*s%s", folder, r->path, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Reads at most CONF_KEY_MAX bytes and a newline into buf.  Bytes, or -errno. */
static ssize_t key_read(const char *path, char buf[CONF_KEY_MAX + 3], mode_t *mode)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 0, n = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		n = -errno;
		goto out;
	}
	*mode = st.st_mode;
	while (n < CONF_KEY_MAX + 3 && (got = read(fd, buf + n, (size_t)(CONF_KEY_MAX + 3 - n))) > 0)
		n += got;
	if (got < 0)
		n = -errno;
out:
	close(fd);
	return n;
}

static int key_store(struct conf_tunnel *t, const char *buf, size_t n)
{
	t->key = malloc(n + 1);
	if (!t->key)
		return -ENOMEM;
	memcpy(t->key, buf, n);
	t->key[n] = '\0';
	t->key_len = (uint32_t)n;
	return 0;
}

static int key_from_file(struct conf_reader *r, const struct conf_obj *o, struct conf_tunnel *t)
{
	char path[PATH_MAX], buf[CONF_KEY_MAX + 3], quoted[CONF_FOUND_MAX];
	mode_t mode = 0;
	ssize_t n = key_path(r, t->key_file, path);
	int rc;

	conf_quote(t->key_file, quoted);
	if (n == 0)
		n = key_read(path, buf, &mode);
	if (n < 0)
		return conf_obj_fail(r, o, "key_file", "found %s (%s); allowed: a file that can be read", quoted,
				     strerror((int)-n));
	if (n > 0 && buf[n - 1] == '\n')
		n -= n > 1 && buf[n - 2] == '\r' ? 2 : 1;
	if (n < 1 || n > CONF_KEY_MAX) {
		rc = conf_obj_fail(r, o, "key_file", "found %s with %s; allowed: a passphrase of 1 to %d bytes", quoted,
				   n < 1 ? "nothing in it" : "more than that", CONF_KEY_MAX);
	} else {
		rc = key_store(t, buf, (size_t)n);
		if (rc < 0)
			conf_obj_fail(r, o, "key_file", "%s", strerror(-rc));
	}
	if (rc == 0 && (mode & S_IROTH))
		conf_obj_warn(r, o, "key_file", "everybody may read %s", quoted);
	explicit_bzero(buf, sizeof(buf));
	return rc;
}

int conf_key_finish(struct conf_reader *r, const struct conf_obj *o)
{
	struct conf_tunnel *t = o->base;
	unsigned inline_line = conf_obj_line(o, "key");
	bool by_default = !inline_line && !t->key_file;
	int rc = 0;

	if (inline_line && t->key_file)
		return conf_obj_fail(r, o, "key_file", "found together with key; allowed: one of key and key_file");
	if (t->key_file)
		rc = key_from_file(r, o, t);
	else if (by_default)
		rc = key_store(t, CONF_DEFAULT_KEY, strlen(CONF_DEFAULT_KEY));
	t->key_missing = by_default;
	if (rc < 0)
		return rc;
	if (t->key_len == strlen(CONF_DEFAULT_KEY) && memcmp(t->key, CONF_DEFAULT_KEY, t->key_len) == 0)
		conf_obj_warn(r, o, t->key_file ? "key_file" : "key",
			      "%skcptun's default passphrase is public: ANYBODY can use and read this tunnel",
			      by_default ? "not given, and " : "");
	else if (t->key_len == 0)
		conf_obj_warn(r, o, "key", "is empty: ANYBODY can use and read this tunnel");
	else if (inline_line && inline_line < CONF_LINE_ENV && r->world_readable) {
		conf_obj_warn(r, o, "key", "everybody may read this file");
		r->world_readable = false; /* said once */
	}
	return 0;
}
