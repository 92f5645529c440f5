/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "snmp.h"

const char *snmp_name(unsigned i)
{
#define X(name) #name,
	static const char *const names[SNMP_COUNT] = {SNMP_LIST(X)};
#undef X

	return i < SNMP_COUNT ? names[i] : NULL;
}
