/* SPDX-License-Identifier: MIT */
#include "drop.h"

#define X(name, str, why) {str, why},
static const char *const drops[DROP_COUNT][2] = {{"?", "?"}, DROP_LIST(X)};
#undef X

const char *drop_name(unsigned verdict)
{
	return verdict > VERDICT_DROP && verdict < VERDICT_MAX ? drops[verdict - VERDICT_DROP][0] : "?";
}

const char *drop_why(unsigned verdict)
{
	return verdict > VERDICT_DROP && verdict < VERDICT_MAX ? drops[verdict - VERDICT_DROP][1] : "?";
}
