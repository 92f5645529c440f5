/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recall.h"

static const struct recall_key one = {{1, 2, 3}, {4, 5, 6}, 7}, other = {{1, 2, 3}, {4, 5, 7}, 8};
static char dir[64], path[128];

static void begin(void)
{
	snprintf(dir, sizeof(dir), "/tmp/kcpgate-recall-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/0102030000000000.convs", dir);
}

static void end(void)
{
	unlink(path);
	cr_assert_eq(rmdir(dir), 0, "a file is left: %s", strerror(errno));
}

TestSuite(recall, .init = begin, .fini = end);

static void add_some(struct fresh_book *b)
{
	for (uint32_t i = 0; i < 1000; i++)
		fresh_book_add(b, i * 2654435761u);
}

static unsigned known(const struct fresh_book *b)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < 1000; i++)
		n += fresh_book_has(b, i * 2654435761u);
	return n;
}

/* Of a process that is killed before it closes anything, too. */
Test(recall, outlives_its_process)
{
	struct fresh_book b;
	struct stat st;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (recall_open(&b, dir, &one) != RECALL_MADE)
			_exit(1);
		add_some(&b);
		kill(getpid(), SIGKILL);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status));
	cr_assert_eq(recall_open(&b, dir, &one), RECALL_FOUND);
	cr_assert_eq(known(&b), 1000);
	recall_close(&b);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_geq((uint64_t)st.st_blocks * 512, FRESH_BOOK_BYTES, "it has holes");
}

Test(recall, two_processes_share_it)
{
	struct fresh_book a, b;

	cr_assert_eq(recall_open(&a, dir, &one), RECALL_MADE);
	cr_assert_eq(recall_open(&b, dir, &one), RECALL_FOUND);
	add_some(&a);
	cr_assert_eq(known(&b), 1000);
	recall_close(&a);
	recall_close(&b);
}

/* Who has the file of before still has it. */
Test(recall, that_of_another_key_is_begun_anew)
{
	struct fresh_book a, b;

	cr_assert_eq(recall_open(&a, dir, &one), RECALL_MADE);
	add_some(&a);
	cr_assert_eq(recall_open(&b, dir, &other), RECALL_DAMAGED);
	cr_assert_eq(known(&b), 0);
	cr_assert_eq(known(&a), 1000);
	recall_close(&a);
	recall_close(&b);
}

static void damaged(off_t len, off_t at)
{
	struct fresh_book b;
	int fd;

	unlink(path);
	cr_assert_eq(recall_open(&b, dir, &one), RECALL_MADE);
	add_some(&b);
	recall_close(&b);
	fd = open(path, O_RDWR);
	if (len >= 0)
		cr_assert_eq(ftruncate(fd, len), 0);
	if (at >= 0)
		cr_assert_eq(pwrite(fd, "?", 1, at), 1);
	close(fd);
	cr_assert_eq(recall_open(&b, dir, &one), RECALL_DAMAGED, "length %ld, byte %ld", (long)len, (long)at);
	cr_assert_eq(known(&b), 0);
	recall_close(&b);
	cr_assert_eq(recall_open(&b, dir, &one), RECALL_FOUND);
	recall_close(&b);
}

Test(recall, what_is_damaged_is_begun_anew)
{
	damaged(0, -1);
	damaged(10, -1);
	damaged(100000, -1);
	damaged(10000000, -1);
	damaged(-1, 0);
	damaged(-1, 14);
	damaged(-1, 16);
	damaged(-1, 31);
}

/* Whatever lies in the lines. */
Test(recall, noise_is_no_harm)
{
	struct fresh_book b;

	cr_assert_eq(recall_open(&b, dir, &one), RECALL_MADE);
	memset((void *)b.v, 0xff, FRESH_BOOK_BYTES);
	add_some(&b);
	cr_assert_eq(known(&b), 1000);
	recall_close(&b);
}

Test(recall, a_link_is_not_followed)
{
	struct fresh_book b;

	cr_assert_eq(symlink("/etc/passwd", path), 0);
	cr_assert_eq(recall_open(&b, dir, &one), -ELOOP);
}

Test(recall, without_a_folder)
{
	struct fresh_book b;

	cr_assert_eq(recall_open(&b, "/nonexistent", &one), -ENOENT);
	cr_assert_eq(recall_open(&b, NULL, &one), RECALL_MADE);
	add_some(&b);
	cr_assert_eq(known(&b), 1000);
	recall_close(&b);
}

static void *adder(void *arg)
{
	add_some(arg);
	return NULL;
}

/* More than it holds: the last are there, and as many false answers as promised, which is none of these. */
Test(recall, full_it_forgets_the_oldest)
{
	struct fresh_book b;
	uint32_t n = 2000000, last = 0, first = 0, wrong = 0;

	cr_assert_eq(recall_open(&b, NULL, &one), RECALL_MADE);
	for (uint32_t i = 0; i < n; i++)
		fresh_book_add(&b, i);
	for (uint32_t i = 0; i < 60000; i++) {
		last += fresh_book_has(&b, n - 1 - i);
		first += fresh_book_has(&b, i);
		wrong += fresh_book_has(&b, 0x80000000u + i);
	}
	cr_assert_gt(last, 59900, "%u", last);
	cr_assert_lt(first, 100, "%u", first);
	cr_assert_lt(wrong, 3, "%u", wrong);
	recall_close(&b);
}

Test(recall, threads_lose_nothing)
{
	struct fresh_book b;
	pthread_t t[4];

	cr_assert_eq(recall_open(&b, NULL, &one), RECALL_MADE);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, adder, &b), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	cr_assert_eq(known(&b), 1000);
	recall_close(&b);
}
