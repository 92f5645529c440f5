/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "again.h"

#define MARK "KCPGATE_AGAIN"
#define KEY  "KCPTUN_KEY"

static char **words; /* argv, and behind it NULL */
static char *key;    /* the environment's, which is wiped when it was read */
static bool second;

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void again_forget(void)
{
	for (char **w = words; w && *w; w++)
		wipe(*w);
	free(words);
	wipe(key);
	words = NULL;
	key = NULL;
}

/* false: not all of it. */
static bool keep(char **argv)
{
	size_t n = 0;

	while (argv[n])
		n++;
	words = calloc(n + 1, sizeof(*words));
	for (size_t i = 0; words && i < n; i++) {
		words[i] = strdup(argv[i]);
		if (!words[i])
			return false;
	}
	if (getenv(KEY))
		key = strdup(getenv(KEY));
	return words && (key || !getenv(KEY));
}

void again_keep(char **argv)
{
	second = getenv(MARK) != NULL;
	unsetenv(MARK);
	if (!second && !keep(argv))
		again_forget();
}

bool again_is(void)
{
	return second;
}

int again_start(void)
{
	if (second)
		return -EALREADY;
	if (!words || setenv(MARK, "1", 1) || (key && setenv(KEY, key, 1)))
		return -ENOMEM;
	close_range(STDERR_FILENO + 1, ~0u, 0); /* EAL's among them, some of which would hold pages */
	execv("/proc/self/exe", words);
	return -errno;
}
