/* SPDX-License-Identifier: MIT */

/* Makes a manual page at build time: `manual IN OUT` puts the tables of lib/config where IN names them in a line. */

#include <stdio.h>
#include <string.h>

#include "conf.h"

static const struct {
	const char *line;
	int (*print)(FILE *f);
} parts[] = {
	{"@SETTINGS@\n", conf_manual},
	{"@OPTIONS@\n", conf_manual_options},
};

static int put(FILE *out, const char *line)
{
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(line, parts[i].line) == 0)
			return parts[i].print(out);
	return fputs(line, out) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	FILE *in = argc == 3 ? fopen(argv[1], "r") : NULL, *out = in ? fopen(argv[2], "w") : NULL;
	char line[4096];
	int err = !out;

	while (!err && fgets(line, sizeof(line), in))
		err = put(out, line);
	if (!err)
		err = ferror(in);
	if (out && fclose(out))
		err = 1;
	if (in)
		fclose(in);
	if (err)
		fputs("manual: IN cannot be read, or OUT not written\n", stderr);
	return err != 0;
}
