/* SPDX-License-Identifier: MIT */

/*
 * The configuration file, any bytes: a configuration, or one line that says what is wrong with it, whatever room there
 * is for that line.
 */

#include <errno.h>

#include "conf.h"
#include "fuzz.h"

static void check_warnings(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_warnings; i++)
		fuzz_must(c->warnings[i][0] && !strchr(c->warnings[i], '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const char *path = fuzz_file(p, n);
	char why[512] = "", little[20] = "";
	struct conf *c = NULL;
	int rc = conf_load(path, &c, why, sizeof(why));

	if (rc == 0) {
		fuzz_must(c && c->n_tunnels);
		check_warnings(c);
		for (unsigned i = 0; i < c->n_tunnels; i++)
			fuzz_must(c->tunnels[i].key_len && c->tunnels[i].key[c->tunnels[i].key_len] == '\0');
		conf_wipe_keys(c);
		conf_free(c);
	} else {
		fuzz_must(rc < 0 && !c && why[0] && !strchr(why, '\n'), "%d %s", rc, why);
		fuzz_must(strncmp(why, path, strlen(path)) == 0, "%s", why);
		fuzz_must(conf_load(path, &c, little, sizeof(little)) == rc && strlen(little) < sizeof(little));
	}
	return 0;
}
