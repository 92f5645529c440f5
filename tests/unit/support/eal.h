/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * EAL for the suites of the rooms that need one: 256 MiB of ordinary memory, no hugepages, no devices but those that a
 * suite asks for, nothing shared with other processes.  Criterion runs each test in a process of its own, so call
 * eal_start from the fixture (`.init`) of those tests that need it.
 */

/*
 * Starts EAL with `lcores` lcores (ids 0..lcores-1, the caller is lcore 0), all of which may run on any CPU that this
 * process may use; extra: more EAL arguments, such as "--vdev=net_null0", ended by NULL, or NULL for none.  A second
 * call in one process does nothing.  Fails the running test when EAL does not start.
 */
void eal_start_args(unsigned lcores, const char *const *extra);

/* The same with one lcore and no further arguments, in the form that a fixture needs. */
void eal_start(void);
