/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* From now on EAL loads no drivers but those that its arguments name (-d).  False: it cannot be kept from it. */
bool plugins_only_named(void);
