/* SPDX-License-Identifier: MIT */

/*
 * kcptun's command line, any words, as client and as server: a configuration, or one line that says what is wrong; and
 * no passphrase stays in the arguments.
 *
 *	role(1) words, a newline behind each; the word "@" stands for a file with what follows the first empty word
 */

#include <errno.h>
#include <stdio.h>

#include "conf.h"
#include "fuzz.h"

#define WORDS 64

static int iface(void *ctx, const struct conf_tunnel *t, char ifname[16], char *why, size_t why_n)
{
	strcpy(ifname, "eth1");
	return 0;
}

static unsigned mtu(void *ctx, const char *ifname)
{
	return 1492;
}

/* The words of `text`, which is changed; *rest: behind the first empty one. */
static int split(char *text, char **argv, char **rest)
{
	int argc = 1;

	while (*text && *text != '\n' && argc < WORDS) {
		char *end = strchrnul(text, '\n');

		argv[argc++] = text;
		text = *end ? end + 1 : end;
		*end = '\0';
	}
	argv[argc] = NULL;
	*rest = *text == '\n' ? text + 1 : text;
	return argc;
}

/* What is read belongs to nobody else, and ends. */
static bool harmless(const char *word)
{
	return !strstr(word, "/dev") && !strstr(word, "/proc") && !strstr(word, "/sys");
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct conf_host host = {.lcores = "0@(0,1),1@(0,1)", .file_prefix = "fuzz", .iface = iface, .mtu = mtu};
	struct fuzz_in in = {p, n};
	unsigned role = fuzz_u8(&in);
	char *text = malloc(in.n + 1), *argv[WORDS + 1] = {role & 1 ? (char *)"server" : (char *)"client"}, *rest;
	char why[512] = "";
	struct conf *c = NULL;
	int argc, rc;

	if (in.n)
		memcpy(text, in.p, in.n);
	text[in.n] = '\0';
	argc = split(text, argv, &rest);
	host.sockets = role & 2;
	host.key = role & 4 ? "of the environment" : NULL;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "@") == 0)
			argv[i] = (char *)fuzz_file((uint8_t *)rest, strlen(rest));
		else if (!harmless(argv[i]))
			argv[i] = (char *)"";
	}
	rc = conf_args(role & 1 ? CONF_SERVER : CONF_CLIENT, argc, argv, &host, &c, why, sizeof(why));
	if (rc == 0)
		fuzz_must(c && c->n_tunnels == 1);
	else
		fuzz_must(!c && (rc == CONF_ARGS_HELP || rc == CONF_ARGS_VERSION || (why[0] && !strchr(why, '\n'))),
			  "%d: %s", rc, why);
	conf_free(c);
	free(text);
	return 0;
}
