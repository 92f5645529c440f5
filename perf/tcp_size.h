/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

/* Bytes that control keeps of a TCP connection.  By itself: control's names for timers and the sessions' are the same.
 */
size_t tcp_size(void);
