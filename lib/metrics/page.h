/* SPDX-License-Identifier: MIT */
#pragma once

/* The status page, in a source that the build makes (page/bundle.py), and its Content-Security-Policy. */

extern const unsigned char metrics_page[];
extern const unsigned long metrics_page_n;
extern const char metrics_page_policy[];
