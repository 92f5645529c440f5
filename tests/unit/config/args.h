/* SPDX-License-Identifier: MIT */
#pragma once

#include <errno.h>

#include "support.h"

/* Command lines as one text, split at blanks. */

#define ARGS_MAX 128

static int args_iface(void *ctx, const struct conf_tunnel *t, char ifname[16], char *why, size_t why_n)
{
	if (t->remote.host && strcmp(t->remote.host, "nowhere") == 0) {
		snprintf(why, why_n, "there is no way");
		return -ENETUNREACH;
	}
	if (t->remote.host && strcmp(t->remote.host, "later") == 0) {
		snprintf(why, why_n, "there is no way yet");
		return -EAGAIN;
	}
	if (t->remote.host && strcmp(t->remote.host, "a.name") == 0)
		return -EAGAIN;
	strcpy(ifname, t->role == CONF_CLIENT ? "if-client" : "if-server");
	return 0;
}

static unsigned args_mtu(void *ctx, const char *ifname)
{
	return strcmp(ifname, "if-client") == 0 ? 1492 : 1500;
}

static const struct conf_host args_host = {
	.lcores = "0@(0,1),1@(0,1)",
	.file_prefix = "kcpgate-4711",
	.iface = args_iface,
	.mtu = args_mtu,
};

/* file stands for an argument "@". */
static inline int args_try(const char *line, const struct conf_host *host, struct conf **c, const char *file,
			   char why[512])
{
	char *copy = strdup(line), *argv[ARGS_MAX], *save, *word;
	int argc = 0, rc;

	for (word = strtok_r(copy, " ", &save); word && argc < ARGS_MAX - 1; word = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(word, "@") == 0 && file ? (char *)file : word;
	argv[argc] = NULL;
	rc = conf_args(strcmp(argv[0], "server") == 0 ? CONF_SERVER : CONF_CLIENT, argc, argv, host, c, why, 512);
	free(copy);
	return rc;
}

static inline int args_run(const char *line, const struct conf_host *host, struct conf **c, const char *file)
{
	char why[512] = "";
	int rc = args_try(line, host, c, file, why);

	cr_expect_geq(rc, 0, "%s: %s", line, why);
	return rc;
}

static inline struct conf *args_good(const char *line)
{
	struct conf *c;

	cr_assert_eq(args_run(line, &args_host, &c, NULL), 0, "%s", line);
	return c;
}
