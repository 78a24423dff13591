/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/listen.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "utils/commands.h"

#define BATCH 512u
#define STEP_NS 5000000u
#define LOOK_NS 1000000000ull		/* is the daemon still the same? */

static uint32_t is_ended;

static void on_signal(int sig)
{
	(void)sig;
	WRITE_ONCE(is_ended, 1);
}

/* The same daemon, and alive? */
static bool is_there(const struct listen *l, const struct event_ring *r, const struct statpage *page)
{
	struct event_ring *now;
	bool is_same;

	if (target_state(page) == TARGET_DEAD || target_events(&l->target, &now) < 0)
		return false;
	is_same = events_start(now) == events_start(r);
	events_close(now);
	return is_same;
}

static void say_begin(const struct listen *l)
{
	if (l->is_quiet)
		return;
	if (l->seconds > 0)
		fprintf(stderr, "%s: listening for %g s\n", l->command, l->seconds);
	else
		fprintf(stderr, "%s: listening until Ctrl-C\n", l->command);
}

/* All that happened until now.  Return: 0, -errno. */
static int take_events(struct listen *l, const struct event_ring *r, uint64_t *next, struct hear *h)
{
	struct kvshm_event e[BATCH];
	unsigned nr;
	int ret = 0;

	while (ret == 0 && (nr = events_read(r, next, e, BATCH, &l->lost))) {
		for (unsigned i = 0; ret == 0 && i < nr; i++)
			ret = hear_event(h, &e[i]);
		l->events += nr;
	}
	return ret;
}

static int follow(struct listen *l, const struct event_ring *r, const struct statpage *page, struct hear *h)
{
	const uint64_t begin = clock_ns(), end = l->seconds > 0 ? begin + (uint64_t)(l->seconds * 1e9) : UINT64_MAX;
	uint64_t next = l->with_held ? events_oldest(r) : events_next(r), now, look = begin;
	int ret = 0;

	/* Who reads this knows that whatever he does from now on is heard. */
	say_begin(l);
	do {
		now = clock_ns();
		if (now - look > LOOK_NS) {
			look = now;
			l->is_daemon_gone = !is_there(l, r, page);
		}
		ret = take_events(l, r, &next, h);
		if (ret == 0 && !READ_ONCE(is_ended) && !l->is_daemon_gone)
			nanosleep(&(struct timespec){ .tv_nsec = STEP_NS }, NULL);
	} while (ret == 0 && !READ_ONCE(is_ended) && !l->is_daemon_gone && now < end);
	/* What was there when the signal came is heard, too. */
	if (ret == 0)
		ret = take_events(l, r, &next, h);
	return ret < 0 ? ret : hear_end(h);
}

static int failed(const struct listen *l, int err)
{
	if (err == -ENOENT)
		fprintf(stderr, "%s: this daemon has no ring of events\n", l->command);
	else
		fprintf(stderr, "%s: %s\n", l->command, err == -EBADMSG ? "the ring of events is damaged" :
			err == -EPROTONOSUPPORT ? "the ring of events is of another version" : strerror(-err));
	return err == -EACCES ? EXIT_PERMISSION : err == -EPROTONOSUPPORT ? EXIT_ABI : EXIT_DEAD;
}

static void say_end(const struct listen *l)
{
	if (l->is_daemon_gone)
		fprintf(stderr, "%s: the daemon has ended\n", l->command);
	if (l->lost)
		fprintf(stderr, "%s: %llu events were lost: too slow\n", l->command, (unsigned long long)l->lost);
}

int listen_run(struct listen *l, int (*on_request)(void *arg, const struct heard_request *q), void *arg)
{
	const struct sigaction sa = { .sa_handler = on_signal };
	struct event_ring *r = NULL;
	struct statpage *page;
	struct hear *h = NULL;
	int err, status = target_open(&l->target, &page);

	if (status)
		return status;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	err = target_events(&l->target, &r);
	if (err == 0)
		err = hear_create(on_request, arg, &h);
	if (err == 0) {
		err = follow(l, r, page, h);
		say_end(l);
	}
	hear_destroy(h);
	events_close(r);
	statpage_destroy(page);
	return err < 0 ? failed(l, err) : EXIT_FINE;
}
