/* SPDX-License-Identifier: MIT */
#pragma once

/* Golden bytes for the suites: tests/vectors/NAME.json through jansson. */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The parsed file; fails the running test when it cannot be read.  Owned by the caller (json_decref). */
json_t *vectors_load(const char *name);

/* Member `key` of obj as bytes from hex: malloc'ed, never NULL; *n is their number.  Fails the test when it is missing.
 */
uint8_t *vectors_hex(const json_t *obj, const char *key, size_t *n);

/* The same for a JSON string. */
uint8_t *vectors_unhex(const json_t *str, size_t *n);
