/* SPDX-License-Identifier: MIT */

/*
 * Runs a target over inputs that are there: files, and all files of folders, each once.  For compilers without
 * libFuzzer, and for tests: a folder without an input is a fault.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned runs;

static bool run(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = NULL;
	size_t n = 0, cap = 0, got;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	do {
		if (n == cap) {
			cap = cap ? 2 * cap : 65536;
			p = realloc(p, cap);
			fuzz_must(p);
		}
		got = fread(p + n, 1, cap - n, f);
		n += got;
	} while (got);
	fclose(f);
	p = realloc(p, n ? n : 1); /* it ends where the input ends */
	printf("%s\n", path);
	fflush(stdout); /* the last one is the one that failed */
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	runs++;
	return true;
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static bool run_folder(const char *path)
{
	struct dirent **v;
	int n = scandir(path, &v, visible, alphasort);
	bool good = n > 0;
	char name[PATH_MAX];

	if (n <= 0)
		fprintf(stderr, "%s: no input\n", path);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, v[i]->d_name);
		good &= run(name);
		free(v[i]);
	}
	if (n >= 0)
		free(v);
	return good;
}

int main(int argc, char **argv)
{
	bool good = argc > 1;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			good &= run_folder(argv[i]);
		else
			good &= run(argv[i]);
	}
	printf("%u inputs\n", runs);
	return good ? 0 : 1;
}
