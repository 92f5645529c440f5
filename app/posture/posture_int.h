/* SPDX-License-Identifier: MIT */
#pragma once

/* Sanitizers attach to their own process for leaks, and make calls of their own: nothing is kept from them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POSTURE_LOOKED_AT true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POSTURE_LOOKED_AT true
#endif
#endif
#ifndef POSTURE_LOOKED_AT
#define POSTURE_LOOKED_AT false
#endif
