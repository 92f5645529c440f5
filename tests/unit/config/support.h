/* SPDX-License-Identifier: MIT */
#pragma once

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"

/* A file of its own with n bytes and `mode`; the path is the caller's to unlink. */
static inline void file_make(char path[64], const void *bytes, size_t n, mode_t mode)
{
	int fd;

	strcpy(path, "/tmp/kcpgate-conf-XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	cr_assert_eq(fchmod(fd, mode), 0);
	close(fd);
}

/* Loads a text as a file that only its owner can read. */
static inline int load_text(const char *text, struct conf **c, char why[512])
{
	char path[64];
	int rc;

	why[0] = '\0';
	file_make(path, text, strlen(text), 0600);
	rc = conf_load(path, c, why, 512);
	unlink(path);
	return rc;
}

#define PORTS "ports = ( { name = \"wan0\"; device = \"0000:03:00.0\"; } );\n"

/* A file with one server tunnel, or one client tunnel, and these further options. */
static inline struct conf *load_tunnel(bool client, const char *options)
{
	char text[8192], why[512];
	struct conf *c;

	snprintf(text, sizeof(text),
		 PORTS "tunnels = ( { name = \"t\"; role = \"%s\"; listen = \":4000\"; %s %s } );\n",
		 client ? "client" : "server", client ? "remote = \"192.0.2.9:4000\";" : "target = \"127.0.0.1:80\";",
		 options);
	cr_assert_eq(load_text(text, &c, why), 0, "%s: %s", options, why);
	return c;
}
