/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

/* The eal.file_prefix that a configuration file names, for the caller to free; NULL, and why in one line. */
char *prefix_of(const char *path, char *why, size_t why_n);
