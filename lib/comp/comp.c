/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <isa-l/crc.h>

#include "scratch.h"
#include "upper.h"

struct comp_scratch *comp_scratch_create(void)
{
	return malloc(sizeof(struct comp_scratch));
}

void comp_scratch_destroy(struct comp_scratch *s)
{
	free(s);
}

uint32_t comp_crc(const struct slice *v, unsigned n)
{
	/* ISA-L leaves both inversions of CRC32C to its caller, and takes a pointer to mutable bytes that it only
	 * reads. */
	uint32_t c = ~0u;

	for (unsigned i = 0; i < n; i++) {
		if (v[i].n)
			c = crc32_iscsi((unsigned char *)v[i].p, (int)v[i].n, c);
	}
	upper_clean();
	c = ~c;
	return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}
