/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stddef.h>

#include <criterion/criterion.h>

#include "drop.h"
#include "pkt.h"
#include "snmp.h"

Test(drop, every_reason_has_a_name_of_its_own)
{
	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++) {
		cr_assert_str_neq(drop_name(v), "?");
		cr_assert_gt(strlen(drop_why(v)), 5);
		for (const char *s = drop_name(v); *s; s++)
			cr_assert(islower(*s) || isdigit(*s) || *s == '_', "%s", drop_name(v));
		for (unsigned u = VERDICT_DROP + 1; u < v; u++)
			cr_assert_str_neq(drop_name(u), drop_name(v));
	}
	cr_assert_str_eq(drop_name(DROP_FRAME_SHORT), "frame_short");
	cr_assert_str_eq(drop_name(DROP_CRYPT_BAD), "crypt_bad");
	cr_assert_str_eq(drop_name(DROP_NO_MEMORY), "no_memory");
	cr_assert_eq(DROP_NO_MEMORY, VERDICT_MAX - 1);
	cr_assert_leq(VERDICT_MAX, 256, "struct pkt holds a verdict in 8 bits");
}

Test(drop, what_is_no_reason_has_none)
{
	static const unsigned none[] = {VERDICT_OK, VERDICT_PUNT, VERDICT_FRAG, VERDICT_DROP, VERDICT_MAX, 255, ~0u};

	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		cr_assert_str_eq(drop_name(none[i]), "?");
		cr_assert_str_eq(drop_why(none[i]), "?");
	}
}

Test(snmp, names_stand_in_struct_order)
{
	cr_assert_str_eq(snmp_name(0), "BytesSent");
	cr_assert_str_eq(snmp_name(offsetof(struct snmp, KCPInErrors) / 8), "KCPInErrors");
	cr_assert_str_eq(snmp_name(offsetof(struct snmp, EarlyRetransSegs) / 8), "EarlyRetransSegs");
	cr_assert_str_eq(snmp_name(offsetof(struct snmp, OOBPackets) / 8), "OOBPackets");
	cr_assert_eq(offsetof(struct snmp, OOBPackets) / 8, SNMP_COUNT - 1);
	cr_assert_str_eq(snmp_name(SNMP_COUNT), "FECSegs");
	cr_assert_null(snmp_name(SNMP_ALL));
	for (unsigned i = 0; i < SNMP_ALL; i++)
		for (unsigned j = 0; j < i; j++)
			cr_assert_str_neq(snmp_name(i), snmp_name(j));
}
