/* SPDX-License-Identifier: MIT */

/*
 * kcptun's JSON file, any bytes, as either role's or by its keys: a configuration file, which ours reads without a
 * syntax error, or one line that says why not.
 *
 *	role(1) file
 */

#include <stdio.h>

#include "conf.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const enum conf_role roles[] = {CONF_SERVER, CONF_CLIENT};
	struct fuzz_in in = {p, n};
	unsigned role = fuzz_u8(&in);
	const char *path = fuzz_file(in.p, in.n);
	char why[512] = "", *text = NULL;
	struct conf *c = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int rc = conf_import(f, path, role % 3 < 2 ? &roles[role % 3] : NULL, why, sizeof(why));

	fclose(f);
	if (rc == 0) {
		fuzz_must(len && strlen(text) == len);
		rc = conf_load(fuzz_file((uint8_t *)text, len), &c, why, sizeof(why));
		fuzz_must(rc == 0 || !strstr(why, "syntax error"), "%s\n%s", why, text);
		conf_free(c);
	} else {
		fuzz_must(why[0] && !strchr(why, '\n'), "%s", why);
	}
	free(text);
	return 0;
}
