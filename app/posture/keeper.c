/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "posture.h"

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turn; /* somebody has to look: the thread for work, or who gave it for its end */
	bool runs, end;
	void (*fn)(void *arg); /* NULL: nothing to do */
	void *arg;
} keeper = {.lock = PTHREAD_MUTEX_INITIALIZER, .turn = PTHREAD_COND_INITIALIZER};

static void *keeper_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&keeper.lock);
	while (!keeper.end) {
		if (keeper.fn) {
			keeper.fn(keeper.arg);
			keeper.fn = NULL;
			pthread_cond_broadcast(&keeper.turn);
		} else {
			pthread_cond_wait(&keeper.turn, &keeper.lock);
		}
	}
	pthread_mutex_unlock(&keeper.lock);
	return NULL;
}

int posture_keeper_start(void)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a system call that is refused (app/posture) */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&keeper.thread, NULL, keeper_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	keeper.runs = err == 0;
	return err;
}

void posture_keeper_run(void (*fn)(void *arg), void *arg)
{
	if (!keeper.runs) {
		fn(arg);
		return;
	}
	pthread_mutex_lock(&keeper.lock);
	keeper.fn = fn;
	keeper.arg = arg;
	pthread_cond_broadcast(&keeper.turn);
	while (keeper.fn)
		pthread_cond_wait(&keeper.turn, &keeper.lock);
	pthread_mutex_unlock(&keeper.lock);
}

void posture_keeper_end(void)
{
	if (!keeper.runs)
		return;
	pthread_mutex_lock(&keeper.lock);
	keeper.end = true;
	pthread_cond_broadcast(&keeper.turn);
	pthread_mutex_unlock(&keeper.lock);
	pthread_join(keeper.thread, NULL);
	keeper.runs = keeper.end = false;
}
