/* SPDX-License-Identifier: MIT */
#include "tcp_size.h"

#include "tcp.h"

size_t tcp_size(void)
{
	return sizeof(struct tcp);
}
