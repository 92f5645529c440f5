/* SPDX-License-Identifier: MIT */
#pragma once

/* Attributes of a message, by type. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct nlattr;
struct nlmsghdr;

#define NL_ATTRS 64

struct nl_attrs {
	const struct nlattr *of[NL_ATTRS];
};

/* Of the message behind its `head` bytes. */
void nl_attrs_read(const struct nlmsghdr *h, size_t head, struct nl_attrs *v);
/* One of them: libmnl's callback, data is the struct nl_attrs. */
int nl_attr_put(const struct nlattr *a, void *data);
/* An address of this family; false, and nothing written, when it is missing or of another length. */
bool nl_attr_addr(const struct nlattr *a, int family, struct addr *out);
uint32_t nl_attr_u32(const struct nlattr *a, uint32_t none);
