/* SPDX-License-Identifier: MIT */
#pragma once

/* A network namespace of the test's own process, which vanishes with it, and what is done in it with commands. */

#include <stddef.h>
#include <stdint.h>

/* A fresh namespace with lo up, and EAL.  Skips the test when the process may not have one. */
void lab_enter(void);

/* Runs a shell command; fails the test when it fails. */
void lab_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* First line of a command's output, without the newline; empty when there is none. */
void lab_read(char *buf, size_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* CLOCK_MONOTONIC. */
uint64_t lab_ms(void);
