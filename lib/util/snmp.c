/* SPDX-License-Identifier: MIT */
#include "snmp.h"

const char *snmp_name(unsigned i)
{
#define X(name) #name,
	static const char *const names[SNMP_ALL] = {SNMP_LIST(X) SNMP_OLD_LIST(X)};
#undef X

	return i < SNMP_ALL ? names[i] : NULL;
}
