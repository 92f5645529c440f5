/* SPDX-License-Identifier: MIT */
#pragma once

/* Built with AddressSanitizer or ThreadSanitizer: which watch malloc's memory, attach to their own process for leaks,
 * and make system calls of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif
