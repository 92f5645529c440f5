/* SPDX-License-Identifier: MIT */

/* Has to fail (meson.build says so), by what the fixture finds in its end and by nothing else. */

#include <criterion/criterion.h>

static void down(void)
{
	cr_expect(false, "this is to be seen");
}

Test(fini, counts, .fini = down)
{
	cr_assert(true);
}
