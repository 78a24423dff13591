/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/turn.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "kvshm/engines/llama/program/completion.h"

#define LOOK_MS 50

void turn_init(struct turn *t)
{
	pthread_condattr_t a;

	*t = (struct turn){ .client_fd = -1 };
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&t->given, &a);
	pthread_condattr_destroy(&a);
}

void turn_fini(struct turn *t)
{
	pthread_cond_destroy(&t->given);
	pthread_mutex_destroy(&t->lock);
}

static bool fd_is_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void wait_a_little(struct turn *t)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOOK_MS * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&t->given, &t->lock, &until);
}

/* Under the lock. */
static int wait_for_turn(struct turn *t, int fd)
{
	int ret = 0;

	if (t->nr_waiting == TURN_WAITING_MAX)
		return -EBUSY;
	t->nr_waiting++;
	while (t->is_taken && !t->is_over && !fd_is_gone(fd))
		wait_a_little(t);
	t->nr_waiting--;
	if (t->is_taken || t->is_over)
		ret = -ECANCELED;
	return ret;
}

int turn_take(struct turn *t, int fd)
{
	int ret;

	pthread_mutex_lock(&t->lock);
	ret = wait_for_turn(t, fd);
	if (!ret) {
		t->is_taken = true;
		t->client_fd = fd;
	}
	pthread_mutex_unlock(&t->lock);
	return ret;
}

void turn_give(struct turn *t)
{
	pthread_mutex_lock(&t->lock);
	t->is_taken = false;
	t->client_fd = -1;
	pthread_cond_signal(&t->given);
	pthread_mutex_unlock(&t->lock);
}

bool turn_is_lost(struct turn *t)
{
	double now = completion_now_ms();
	bool is_over;

	if (now - t->looked_ms < LOOK_MS)
		return false;
	t->looked_ms = now;
	pthread_mutex_lock(&t->lock);
	is_over = t->is_over;
	pthread_mutex_unlock(&t->lock);
	return is_over || fd_is_gone(t->client_fd);
}

void turn_end(struct turn *t)
{
	pthread_mutex_lock(&t->lock);
	t->is_over = true;
	pthread_cond_broadcast(&t->given);
	pthread_mutex_unlock(&t->lock);
}
