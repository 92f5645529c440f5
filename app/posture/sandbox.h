/* SPDX-License-Identifier: MIT */
#pragma once

/* What is allowed: calls.c.  Each ends with NULL. */
extern const char *const sandbox_calls[], *const sandbox_bpf_calls[], *const sandbox_card_calls[];
/* What ends the process. */
extern const char *const sandbox_deadly[];
