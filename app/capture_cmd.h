/* SPDX-License-Identifier: MIT */
#pragma once

/* `kcpgate capture`; argv[0] is "capture".  The exit status. */
int app_capture(int argc, char **argv);
