/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

json_t *vectors_load(const char *name)
{
	char path[512];
	json_error_t err;
	json_t *root;

	snprintf(path, sizeof(path), "%s/%s.json", VECTORS_DIR, name);
	root = json_load_file(path, JSON_ALLOW_NUL, &err);
	cr_assert_not_null(root, "%s: line %d: %s", path, err.line, err.text);
	return root;
}

static int nibble(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

uint8_t *vectors_unhex(const json_t *str, size_t *n)
{
	const char *s = json_string_value(str);
	uint8_t *out;

	cr_assert_not_null(s, "not a string");
	*n = strlen(s) / 2;
	out = malloc(*n + 1);
	cr_assert_not_null(out);
	for (size_t i = 0; i < *n; i++)
		out[i] = (uint8_t)(nibble(s[2 * i]) << 4 | nibble(s[2 * i + 1]));
	return out;
}

uint8_t *vectors_hex(const json_t *obj, const char *key, size_t *n)
{
	const json_t *s = json_object_get(obj, key);

	cr_assert_not_null(s, "no member %s", key);
	return vectors_unhex(s, n);
}
