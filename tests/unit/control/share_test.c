/* SPDX-License-Identifier: MIT */

/* Who pays when a tunnel's chunks run short, and who does not. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "fake.h"

#define CHUNKS 256

static uint8_t bytes[65536];

/* 0: takes everything it is given; 1: takes nothing. */
static int fd[3];

/* The n-th connection, with as much for it as there is: until `refused`, or until its socket is full. */
static void fill(unsigned i, bool refused)
{
	struct stream *s = &streams[i];
	uint64_t end = lab_ms() + 60000;

	while (lab_ms() < end) {
		uint32_t k = says(s, bytes, sizeof(bytes));

		lab_turn(&lab, 0);
		work();
		if (refused ? k < sizeof(bytes) : chan_used(&s->c->down) > 2 * sizeof(bytes))
			return;
	}
	cr_assert_fail("never full");
}

/* Two receivers that take nothing; others want chunks: the one that has been at it for longer pays, then it is enough.
 */
Test(share, longest_blocked, .init = setup)
{
	begin(1, CHUNKS);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	hold = true;
	lab_start(&lab);
	for (unsigned i = 0; i < 3; i++) {
		fd[i] = lab_connect(PORT);
		until(n_streams == i + 1);
	}
	fill(0, false);
	fill(1, true);
	cr_assert_eq(ctl_stats(lab.ctl)->evicted, 0);
	cr_assert(lab_until(&lab, 60000, ({
		/* Somebody else's bytes, for which there is no chunk. */
		if (!streams[0].closed)
			says(&streams[2], "x", 1);
		work();
		(streams[0].seen & CHAN_EV_RESET) != 0;
	})));
	cr_assert_eq(streams[0].c->err, CHAN_ERR_DOWN);
	cr_assert(lab_logged(&lab, "its share of memory for bytes under way is used up"));
	cr_assert_gt(says(&streams[2], "y", 1), 0);
	for (unsigned i = 0; i < 3; i++)
		close(fd[i]);
	finish();
}

/* Nobody wants for anything: a receiver that takes nothing holds what it has for as long as it likes. */
Test(share, blocked_but_nobody_minds, .init = setup)
{
	begin(1, CHUNKS);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	hold = true;
	lab_start(&lab);
	fd[0] = lab_connect(PORT);
	until(n_streams == 1);
	fill(0, false);
	(void)lab_until(&lab, 8000, (work(), false));
	cr_assert_eq(ctl_stats(lab.ctl)->evicted, 0);
	cr_assert_not(streams[0].seen & CHAN_EV_RESET);
	close(fd[0]);
	finish();
}

/* The stream has ended, and what it left is still to be taken: it pays as soon as little is left, the living does not.
 */
Test(share, ended_pays_first, .init = setup)
{
	begin(1, CHUNKS);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	hold = true;
	lab_start(&lab);
	for (unsigned i = 0; i < 2; i++) {
		fd[i] = lab_connect(PORT);
		until(n_streams == i + 1);
	}
	fill(0, false);
	fill(1, true);
	closes(&streams[1], false);
	cr_assert(lab_until(&lab, 60000, (work(), streams[1].gone)));
	cr_assert_eq(ctl_stats(lab.ctl)->evicted, 1);
	cr_assert_not(streams[0].seen & CHAN_EV_RESET, "its older, but living, neighbour");
	close(fd[0]);
	close(fd[1]);
	finish();
}
