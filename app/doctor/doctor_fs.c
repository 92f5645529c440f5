/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor_int.h"
#include "sysfile.h"

#define PATH 600

static const char *path_of(const struct doctor *d, char *path, const char *fmt, va_list ap)
{
	int n = snprintf(path, PATH, "%s", d->root);

	vsnprintf(path + n, PATH - (size_t)n, fmt, ap);
	return path;
}

#define PATH_OF(d, path, fmt)               \
	do {                                \
		va_list ap_;                \
		va_start(ap_, fmt);         \
		path_of(d, path, fmt, ap_); \
		va_end(ap_);                \
	} while (0)

bool doctor_read(const struct doctor *d, char *buf, size_t n, const char *fmt, ...)
{
	char path[PATH];

	PATH_OF(d, path, fmt);
	return sysfile_line(path, buf, n);
}

bool doctor_number(const struct doctor *d, long long *v, const char *fmt, ...)
{
	char path[PATH];

	PATH_OF(d, path, fmt);
	return sysfile_number(path, v);
}

bool doctor_exists(const struct doctor *d, const char *fmt, ...)
{
	char path[PATH];

	PATH_OF(d, path, fmt);
	return access(path, F_OK) == 0;
}

bool doctor_open(const struct doctor *d, const char *fmt, ...)
{
	char path[PATH];

	PATH_OF(d, path, fmt);
	return access(path, R_OK | W_OK) == 0;
}

bool doctor_field(const struct doctor *d, const char *name, const char *key, char *buf, size_t n)
{
	char path[PATH];

	snprintf(path, sizeof(path), "%s%s", d->root, name);
	return sysfile_field(path, key, buf, n);
}

bool doctor_says(const struct doctor *d, const char *name, const char *text)
{
	char path[PATH];

	snprintf(path, sizeof(path), "%s%s", d->root, name);
	return sysfile_says(path, text);
}

bool doctor_cpus(const struct doctor *d, uint8_t cpus[CONF_CPUS_MAX], const char *fmt, ...)
{
	char path[PATH];

	PATH_OF(d, path, fmt);
	return topo_list(path, cpus, CONF_CPUS_MAX);
}

const char *doctor_list(const uint8_t cpus[CONF_CPUS_MAX], char *buf, size_t n)
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < CONF_CPUS_MAX && at < n; i++) {
		unsigned from = i;

		if (!cpus[i])
			continue;
		while (i + 1 < CONF_CPUS_MAX && cpus[i + 1])
			i++;
		at += (size_t)snprintf(buf + at, n - at, i > from ? "%s%u-%u" : "%s%u", at ? "," : "", from, i);
	}
	return buf;
}

unsigned doctor_names(const struct doctor *d, const char *prefix, const char *fmt, ...)
{
	char path[PATH];
	struct dirent *e;
	unsigned n = 0;
	DIR *dir;

	PATH_OF(d, path, fmt);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		n += e->d_name[0] != '.' && !strncmp(e->d_name, prefix, strlen(prefix));
	if (dir)
		closedir(dir);
	return n;
}

bool doctor_cap(const struct doctor *d, unsigned cap)
{
	char hex[32];

	if (!doctor_field(d, "/proc/self/status", "CapEff", hex, sizeof(hex)) || !isxdigit((unsigned char)hex[0]))
		return true;
	return strtoull(hex, NULL, 16) >> cap & 1;
}
